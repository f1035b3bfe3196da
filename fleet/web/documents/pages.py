"""The pages for people, rendered once on the server and kept up to date by the modules under `static/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import render_template

from fleet.monitoring import sensors
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document
from fleet.web.documents import reports
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES
from worker.spec import Identity

# What is to be seen before any script runs; the table goes on with all of them.
SERVER_RENDERED_ROWS = 16

# What a page says of an identity, and what it calls it.
IDENTITY_FACTS = {
    "serial number": "serial_number",
    "manufactured": "manufacture_date",
    "installed": "installation_date",
    "type": "sensor_type",
    "deployment": "deployment_type",
    "latitude": "latitude",
    "longitude": "longitude",
    "height": "height_meters",
    "orientation": "orientation_degrees",
    "time zone": "timezone",
    "instance": "instance_id",
}
LONG_FACT_CHARS = 12  # characters; such a fact has a line of its own
SIZE_MEANINGS = " · ".join(f"{each.name}: {each.size.meaning}" for each in ANOMALY_CLASSES if each.size)
FACT_UNITS = {"latitude": "°", "longitude": "°", "height": " m", "orientation": "°"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure. `name` is what the script finds it by."""

    name: str
    label: str
    figure: str
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of the table. `kind` is the class of its cells, which says how wide it is."""

    name: str
    label: str
    kind: str
    unit: str = ""


def overview_page(observation: Observation) -> str:
    metrics = reports.metricz(observation, None)
    listed = reports.workers(observation, None, 0, SERVER_RENDERED_ROWS)
    return render_template(
        "overview.html",
        roster=observation.roster,
        verdict=reports.healthz(observation),
        tiles=tiles(metrics),
        kinds=ANOMALY_TYPES,
        sizes=SIZE_MEANINGS,
        channels=observation.channels.units,
        columns=columns(observation.channels.units),
        listed=listed["workers"],
        shown=format_value,
    )


def sensor_page(observation: Observation, number: int) -> str:
    member = observation.members[number]
    return render_template(
        "sensor.html",
        entry=sensors.sensor(observation, number),
        identity=member.identity,
        facts=identity_facts(member.identity),
        channels=member.channels,
        kinds=ANOMALY_TYPES,
        sizes=SIZE_MEANINGS,
    )


def no_fleet_page(reason: str) -> str:
    """The page where no fleet has started."""
    advice, command = "Start one with", "fleet up --replicas 100"
    return render_template(
        "nothing.html", heading="No fleet is running here", reason=reason, advice=advice, command=command
    )


def no_sensor_page(sensor_id: str) -> str:
    """The page of a sensor that is not in the fleet."""
    reason = f"Nobody of that name is in this fleet: {sensor_id[:100]}"
    return render_template("nothing.html", heading="No such sensor", reason=reason, advice="", command=None)


def identity_facts(identity: Identity) -> list[tuple[str, str]]:
    found = [(label, getattr(identity, field)) for label, field in IDENTITY_FACTS.items()]
    told = [(label, f"{value}{FACT_UNITS.get(label, '')}") for label, value in found if value is not None]
    return sorted(told, key=lambda fact: len(fact[1]) > LONG_FACT_CHARS)


def tiles(metrics: Document) -> tuple[Tile, ...]:
    """The key figures, in the words that `tiles.js` goes on with."""
    workers = metrics["workers"]
    pace, asked = compact_number(metrics["readings_per_second"]), compact_number(metrics["readings_per_second_asked"])
    share = f"{metrics['anomaly_rate']:.2%} of readings"
    return (
        Tile("healthy", "Workers healthy", f"{workers['healthy']:,}", f"of {workers['total']:,}", "all states"),
        Tile("pace", "Throughput", pace, "readings/s", f"of {asked} asked for"),
        Tile("lag", "Lag", f"{metrics['lag_seconds']:.2f}", "s", "worst sensor"),
        Tile("anomalies", "Anomalies", "–", "readings/s", share),
        Tile("errors", "Errors", f"{metrics['error_count']:,}", "", f"{metrics['restarts']:,} restarts"),
        Tile("memory", "Memory", "–", "", "all processes"),
    )


def columns(measured: Sequence[tuple[str, str]]) -> tuple[TableColumn, ...]:
    """The columns of the table, in the order in which `rows.js` writes them."""
    return (
        TableColumn("id", "Sensor", "id"),
        TableColumn("state", "State", "state"),
        TableColumn("place", "Place", "place"),
        TableColumn("firmware", "Firmware", "firmware"),
        *(TableColumn(f"channel:{name}", name.capitalize(), "number channel", unit) for name, unit in measured),
        TableColumn("anomaly", "Anomaly", "anomaly"),
        TableColumn("readings", "Readings", "number count"),
        TableColumn("anomalies", "Anomalous", "number count"),
        TableColumn("lag", "Lag", "number lag", "s"),
        TableColumn("restarts", "Restarts", "number few"),
        TableColumn("errors", "Errors", "number few"),
    )


def compact_number(number: float) -> str:
    """Four digits that can be read from afar: 999, 1,234, 12.3k, 4.56M."""
    if number >= 10_000_000:
        return f"{number / 1e6:.1f}M"
    if number >= 1_000_000:
        return f"{number / 1e6:.2f}M"
    if number >= 10_000:
        return f"{number / 1e3:.1f}k"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


def format_value(number: float | None) -> str:
    """A value in a table, to about four digits, so that the points of a column stand below each other."""
    if number is None:
        return "–"
    size = abs(number)
    return f"{number:,.{0 if size >= 1000 else 2 if size >= 10 else 3}f}"
