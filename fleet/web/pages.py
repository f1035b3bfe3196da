"""The pages for people, rendered once on the server and kept up to date by `static/overview.js`."""

from __future__ import annotations

from dataclasses import dataclass

from flask import render_template

from fleet.web import reports
from fleet.web.health import SHOWN
from fleet.web.observation import Observation
from fleet.web.sensors import Document

# As many as a person scrolls through; the list has all of them.
MOST_ENTRIES = 200

# What the page calls a state that programs know by another name.
MOODS = ("healthy", "anomaly", "starting", "restarting", "unready", "hung", "failed", "done")


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure. `name` is what the script finds it by."""

    name: str
    label: str
    figure: str
    note: str


def overview(observation: Observation) -> str:
    metrics = reports.metricz(observation, None)
    listed = reports.workers(observation, None, 0, MOST_ENTRIES)
    return render_template(
        "overview.html",
        roster=observation.roster,
        verdict=reports.healthz(observation),
        tiles=tiles(metrics),
        cells=cells(reports.grid(observation)),
        moods=MOODS,
        channels=channels(observation),
        listed=listed["workers"],
        total=listed["total"],
        shown=written,
    )


def nothing(reason: str) -> str:
    """The page where no fleet has started."""
    return render_template("nothing.html", reason=reason)


def tiles(metrics: Document) -> tuple[Tile, ...]:
    """The key figures, in the words that `overview.js` goes on with."""
    workers = metrics["workers"]
    return (
        Tile("healthy", "Workers healthy", f"{workers['healthy']:,}", f"of {workers['total']:,}"),
        Tile(
            "pace",
            "Readings / s",
            compact(metrics["readings_per_second"]),
            f"of {compact(metrics['readings_per_second_asked'])} asked for",
        ),
        Tile("readings", "Readings", compact(metrics["total_readings"]), "in this run"),
        Tile(
            "anomalies",
            "Anomalies",
            compact(metrics["total_anomalies"]),
            f"{metrics['anomaly_rate']:.2%} of readings",
        ),
        Tile("errors", "Errors", f"{metrics['error_count']:,}", f"{metrics['restarts']:,} restarts"),
        Tile("lag", "Lag", f"{metrics['lag_seconds']:.2f} s", "worst sensor"),
    )


def compact(number: float) -> str:
    """Four digits that can be read from afar: 999, 1,234, 12.3k, 4.56M."""
    if number >= 10_000_000:
        return f"{number / 1e6:.1f}M"
    if number >= 1_000_000:
        return f"{number / 1e6:.2f}M"
    if number >= 10_000:
        return f"{number / 1e3:.1f}k"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


def cells(grid: Document) -> list[str]:
    """The class of each cell of the health grid."""
    classes = grid["legend"]
    return ["anomaly" if letter.isupper() else classes[letter] for letter in grid["cells"]]


def channels(observation: Observation) -> list[tuple[str, str]]:
    """(name, unit) of the columns: every channel that one of the listed sensors has, in the order they come."""
    found: dict[tuple[str, str], None] = {}
    for member in observation.members[:MOST_ENTRIES]:
        found.update(dict.fromkeys(member.channels))
    return list(found)


def written(number: float | None) -> str:
    """A value in a table, to about four digits, so that the points of a column stand below each other."""
    if number is None:
        return "–"
    size = abs(number)
    return f"{number:,.{0 if size >= 1000 else 2 if size >= 10 else 3}f}"


assert set(MOODS) - {"anomaly"} <= set(SHOWN)
