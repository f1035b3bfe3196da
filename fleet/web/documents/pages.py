"""The HTML pages. The server renders their first state; the modules under `static/` keep them up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import render_template

from fleet.monitoring import sensors
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import Document
from fleet.monitoring.stats import compact_number, format_value, types_to_show
from fleet.web.documents import status
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES
from worker.spec import Identity

SERVER_RENDERED_ROWS = 16
"""Rows of the table that are visible before any script runs."""

MAX_COMPARED_SENSORS = 6
"""Sensors on the page that compares them: as many as there are colours `--line-1` and so on in `tokens.css`."""

# Labels and fields of an identity, in the order of the page.
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
LONG_FACT_CHARS = 9  # a longer fact takes a line of its own, after the short ones
SIZE_MEANINGS = " · ".join(f"{each.name}: {each.size.meaning}" for each in ANOMALY_CLASSES if each.size)
FACT_UNITS = {"latitude": "°", "longitude": "°", "height": " m", "orientation": "°"}


@dataclass(frozen=True, slots=True)
class Tile:
    """One key figure. `tiles.js` finds its element by `name`."""

    name: str
    label: str
    figure: str
    unit: str
    note: str


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column of the table. `kind` is the CSS class of its cells, which sets the width."""

    name: str
    label: str
    kind: str
    unit: str = ""


def overview_page(observation: Observation) -> str:
    metrics = status.metricz(observation, None)
    first_rows = status.workers(observation, None, 0, SERVER_RENDERED_ROWS)
    return render_template(
        "overview.html",
        roster=observation.roster,
        health=status.healthz(observation),
        tiles=tiles(metrics),
        kinds=ANOMALY_TYPES,
        legend=types_in_legend(observation),
        sizes=SIZE_MEANINGS,
        channels=observation.channels.units,
        columns=columns(observation.channels.units),
        entries=first_rows["workers"],
        format_value=format_value,
    )


def sensor_page(observation: Observation, number: int) -> str:
    member = observation.members[number]
    return render_template(
        "sensor.html",
        entry=sensors.sensor(observation, number),
        identity=member.identity,
        facts=identity_facts(member.identity),
        long_fact=LONG_FACT_CHARS,
        channels=member.channels,
        kinds=ANOMALY_TYPES,
        legend=types_in_legend(observation),
        sizes=SIZE_MEANINGS,
    )


def compare_page(observation: Observation, wanted: Sequence[str], place: str) -> str:
    """Return the page with the readings of several sensors over each other: those with the ids `wanted`, then those at
    `place`, the first few if there are more. It says which ids the fleet does not have."""
    members = observation.members
    found = [number for number, member in enumerate(members) if place and is_at(member.identity.location, place)]
    known = [observation.index[sensor_id] for sensor_id in wanted if sensor_id in observation.index]
    numbers = list(dict.fromkeys([*known, *found]))
    shown = [members[number] for number in numbers[:MAX_COMPARED_SENSORS]]
    remarks = [
        f"no sensor {sensor_id[:100]} in this fleet" for sensor_id in wanted if sensor_id not in observation.index
    ]
    if place and not found:
        remarks.append(f"no sensor at {place[:100]}")
    if len(numbers) > len(shown):
        remarks.append(f"the first {len(shown)} of {len(numbers):,} sensors")
    return render_template(
        "compare.html",
        members=shown,
        remarks=remarks,
        most=MAX_COMPARED_SENSORS,
        channels=list(dict.fromkeys(channel for member in shown for channel in member.channels)),
    )


def is_at(location: str | None, place: str) -> bool:
    """Whether a location such as `Denver, CO, USA` is `place`: the city, or the whole text."""
    text = (location or "").casefold()
    return place.casefold() in (text.partition(",")[0].strip(), text)


def types_in_legend(observation: Observation) -> list[str]:
    counts = observation.all_rows["anomalies"].sum(axis=0).tolist()
    return [*types_to_show(dict(zip(ANOMALY_TYPES, counts, strict=True)))]


def no_fleet_page(reason: str) -> str:
    """Return the page for a directory in which no fleet has started."""
    advice, command = "Start one with", "fleet up --replicas 100"
    return render_template(
        "not_found.html", heading="No fleet is running here", reason=reason, advice=advice, command=command
    )


def no_sensor_page(sensor_id: str) -> str:
    """Return the page for an id that is not in the fleet."""
    reason = f"This fleet has no sensor with the id {sensor_id[:100]}"
    return render_template("not_found.html", heading="No such sensor", reason=reason, advice="", command=None)


def identity_facts(identity: Identity) -> list[tuple[str, str]]:
    """Return (label, value with unit) of the known facts, long ones last."""
    values = [(label, getattr(identity, field)) for label, field in IDENTITY_FACTS.items()]
    facts = [(label, f"{value}{FACT_UNITS.get(label, '')}") for label, value in values if value is not None]
    return sorted(facts, key=lambda fact: len(fact[1]) > LONG_FACT_CHARS)


def tiles(metrics: Document) -> tuple[Tile, ...]:
    """Return the key figures, worded as `tiles.js` words their updates."""
    workers = metrics["workers"]
    rate, target = compact_number(metrics["readings_per_second"]), compact_number(metrics["readings_per_second_asked"])
    share = f"{metrics['anomaly_rate']:.2%} of readings"
    return (
        Tile("healthy", "Sensors healthy", f"{workers['healthy']:,}", f"of {workers['total']:,}", "all states"),
        Tile("pace", "Throughput", rate, "readings/s", f"of {target} asked for"),
        Tile("lag", "Lag", f"{metrics['lag_seconds']:.2f}", "s", "worst sensor"),
        Tile("anomalies", "Anomalies", "–", "readings/s", share),
        Tile("errors", "Errors", f"{metrics['error_count']:,}", "", f"{metrics['restarts']:,} restarts"),
        Tile("memory", "Memory", "–", "", "all processes"),
    )


def columns(channels: Sequence[tuple[str, str]]) -> tuple[TableColumn, ...]:
    """Return the columns of the table, in the order of the cells in `table.js`."""
    return (
        TableColumn("id", "Sensor", "id"),
        TableColumn("state", "State", "state"),
        TableColumn("place", "Place", "place"),
        TableColumn("firmware", "Firmware", "firmware"),
        *(TableColumn(f"channel:{name}", name.capitalize(), "number channel", unit) for name, unit in channels),
        TableColumn("anomaly", "Anomaly", "anomaly"),
        TableColumn("readings", "Readings", "number count"),
        TableColumn("anomalies", "Anomalous", "number count wider"),
        TableColumn("lag", "Lag", "number lag", "s"),
        TableColumn("restarts", "Restarts", "number few"),
        TableColumn("errors", "Errors", "number few"),
    )
