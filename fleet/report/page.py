"""The page of a report: one file without references to others, which follows the theme of its reader and can be printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fleet.escaping import escape
from fleet.history.source import epoch_parts
from fleet.plots.palette import STYLES
from fleet.plots.points import read_points
from fleet.plots.selection import choose
from fleet.report.content import Example, Report, anomaly_rows, format_span, iso_minutes
from fleet.report.redaction import without_secrets
from fleet.verify.findings import FINDING_TITLES
from worker.readings.anomalies import ANOMALY_TYPES, anomaly_class
from worker.readings.generator import MISSING_DATA_INDEX

TEMPLATES = Path(__file__).resolve().parent / "templates"
WIDE_INCHES, NARROW_INCHES = 10.5, 5.0
WIDE_POINTS, NARROW_POINTS = 1000, 600
MIN_AROUND = 20
MISSING_DATA = ANOMALY_TYPES[MISSING_DATA_INDEX]
MAX_FINDINGS = 20


def format_percent(share: float) -> str:
    """Return a share as percent, with three digits or so."""
    percent = 100 * share
    return "0 %" if not percent else f"{percent:.{0 if percent >= 99.95 else 1 if percent >= 10 else 2}f} %"


FILTERS: dict[str, Callable[..., str]] = {
    "number": lambda value: f"{value:,}",
    "percent": format_percent,
    "spaces": lambda text: str(text).replace("_", " "),
    "plain": lambda text: escape(str(text)),
    "secretless": without_secrets,
    "time": iso_minutes,
    "span": format_span,
}
"""What the template calls its values through."""


def render(report: Report, *, plots: bool = True) -> str:
    """Return the page. `plots` needs matplotlib: UserError if it is missing."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("report.html").render(
        report=report,
        tokens=(STYLES / "tokens.css").read_text(encoding="utf-8"),
        styles=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        made_at=(report.made_at + timedelta(seconds=0.5)).isoformat(timespec="seconds")[:19].replace("T", " "),
        types=types_of(report),
        findings=finding_rows(report),
        finding_titles=FINDING_TITLES,
        anomaly_rows=anomaly_rows,
        sensor_plots=list(sensor_plots(report)) if plots else None,
        examples=list(example_plots(report)) if plots else None,
    )


def types_of(report: Report) -> list[str]:
    """Return the types of anomaly that are enabled or have occurred, the most frequent first."""
    shown = [name for name in ANOMALY_TYPES if report.whole.anomalous[name] or enabled(report, name)]
    return sorted(shown, key=lambda name: -report.whole.anomalous[name])


def enabled(report: Report, name: str) -> bool:
    return any(spec.kind == name for kind in report.kinds for spec in kind.settings.anomalies)


def finding_rows(report: Report) -> list[tuple[str, str, str]]:
    """Return (title, sensor and readings, detail) of the first findings."""
    rows = []
    for finding in report.verdict.findings[:MAX_FINDINGS] if report.verdict else ():
        readings = "" if finding.first_seq is None else f" {finding.first_seq:,}"
        if finding.last_seq not in (None, finding.first_seq):
            readings += f" to {finding.last_seq:,}"
        place = f"{finding.sensor_id or finding.database}{readings}"
        rows.append((FINDING_TITLES[finding.kind], place, finding.detail))
    return rows


def sensor_plots(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield (title, facts, SVG) of the first sensor of each kind over the whole time."""
    from fleet.plots.figure import Layout, draw_figure
    from fleet.plots.files import inline_svg

    for history in choose(report.data, report.histories, ()):
        points = read_points(history, history.first, history.end, WIDE_POINTS)
        figure = draw_figure([points], Layout(WIDE_INCHES, report.start_us, report.end_us), titles=False)
        identity = points.identity
        facts = [
            (identity.sensor_type or "").replace("_", " "),
            identity.location,
            identity.manufacturer,
            identity.model,
        ]
        text = " · ".join(filter(None, (*facts, identity.firmware_version)))
        yield points.sensor_id, text, inline_svg(figure, f"Readings of {points.sensor_id}")


def example_plots(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield (type, facts, SVG) of an episode of each type that has occurred, the most frequent type first."""
    for kind in sorted(report.examples, key=lambda name: -report.episodes[name]):
        if kind in ANOMALY_TYPES:
            yield kind, *example_plot(report.examples[kind])


def example_plot(example: Example) -> tuple[str, str]:
    """Return what is to be said about an episode, and its SVG: it, and as much time before and after it."""
    from fleet.plots.figure import Layout, draw_figure
    from fleet.plots.files import inline_svg

    history, episode = example.history, example.episode
    length = episode.last_seq - episode.first_seq + 1
    around = max(length, MIN_AROUND)
    (part,) = epoch_parts(history.epochs, episode.first_seq, episode.first_seq + 1)
    later = [epoch.schedule.first_seq for epoch in history.epochs if epoch.schedule.first_seq > episode.first_seq]
    first = max(history.first, episode.first_seq - around, part.epoch.schedule.first_seq)
    end = min(history.end, episode.last_seq + 1 + around, *later)
    names: Sequence[str] = episode.channel.split(",") if episode.channel else ()
    channel = next(iter(names), part.epoch.settings.channels[0].name)
    points = read_points(history, first, end, NARROW_POINTS, [channel])
    layout = Layout(NARROW_INCHES, int(points.times_us[0]), int(points.times_us[-1]))
    svg = inline_svg(draw_figure([points], layout, titles=False, legend=False), f"An episode of {episode.type}")
    more = f" and {len(names) - 1} more channel{'s' if len(names) > 2 else ''}" if len(names) > 1 else ""
    start = iso_minutes(part.epoch.schedule.time(episode.first_seq))
    count = f"{length:,} reading{'s' if length > 1 else ''}"
    facts = [history.sensor_id, f"{channel.replace('_', ' ')}{more}", start, count]
    if anomaly_class(episode.type).channels == "none" and episode.type != MISSING_DATA:
        facts.append("only the recorded times are wrong")
    return " · ".join(facts), svg
