"""The HTML pages. The server renders their first state; the modules under `static/` keep them up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import render_template

from fleet.monitoring import sensors
from fleet.monitoring.observation import ChannelIndex, Observation
from fleet.monitoring.sensors import Document
from fleet.monitoring.stats import compact_number, format_value, types_to_show
from fleet.web.documents import status
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES
from worker.spec import Identity

SERVER_RENDERED_ROWS = 16
"""Rows of the table that are visible before any script runs."""

MAX_COMPARED_SENSORS = 6
"""Sensors on the page that compares them: as many as there are colours `--line-1` and so on in `tokens.css`."""

MAX_TABLE_CHANNELS = 8
"""Channels in a table of sensors of different kinds, as in `table.js`."""

# Labels and fields of an identity, in the order of the page.
IDENTITY_FACTS = {
    "serial number": "serial_number",
    "manufactured": "manufacture_date",
    "installed": "installation_date",
    "kind": "sensor_type",
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
    hidden: bool = False


TARGET_COLUMNS = ("Delivered", "Readings/s", "Backlog", "Oldest waits", "Retries", "Refused")


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One row of the table of targets, as `delivery.js` words it: a figure for each of TARGET_COLUMNS. `pill` and `note_class`
    are CSS classes."""

    name: str
    state: str
    pill: str
    note: str
    note_class: str
    figures: tuple[str, ...]


def target_row(target: Document) -> TargetRow:
    failing, error, at = target["error"] is not None, target["last_error"], target["last_error_at"]
    state, pill = (
        ("failing", "failed") if failing else ("delivers", "healthy") if target["healthy"] else ("late", "unready")
    )
    text = (error or "").removeprefix(f"{target['name']}: ")
    moment = f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}" if at else ""
    note = text if failing else f"last error at {moment}: {text}" if error else ""
    return TargetRow(
        target["name"],
        state,
        pill,
        note,
        "bad" if failing else "",
        (
            f"{target['delivered']:,}",
            compact_number(target["rate"]),
            f"{target['backlog']:,}",
            format_age(target["backlog_age_seconds"]) if target["backlog"] else "–",
            f"{target['retries']:,}",
            f"{target['refused']:,}",
        ),
    )


AGE_UNITS = ((172_800, 86_400, "d"), (7_200, 3_600, "h"), (120, 60, "min"))


def format_age(seconds: float) -> str:
    """Format a time that has passed in one unit: 90 s, 15 min, 3 h, 4 d."""
    for least, unit, name in AGE_UNITS:
        if seconds >= least:
            return f"{int(seconds / unit)} {name}"
    return f"{int(seconds)} s"


def overview_page(observation: Observation) -> str:
    metrics = status.metricz(observation, None)
    first_rows = status.workers(observation, None, 0, SERVER_RENDERED_ROWS)
    return render_template(
        "overview.html",
        roster=observation.roster,
        health=status.healthz(observation),
        tiles=tiles(metrics),
        target_columns=TARGET_COLUMNS,
        targets=[target_row(target) for target in status.delivery_targets(observation)],
        kinds=ANOMALY_TYPES,
        legend=types_in_legend(observation),
        sizes=SIZE_MEANINGS,
        channels=observation.channels.channels,
        channel_names=list(dict.fromkeys(channel.name for channel in observation.channels.channels)),
        by_kind=sensors.sensors_by_kind(observation.members),
        columns=columns(observation),
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
        readable=readable,
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
        readable=readable,
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


def shared_keys(index: ChannelIndex) -> frozenset[str]:
    """Return the keys of the channels that a table of all sensors shows: all if there is room, else those that sensors of
    several kinds have."""
    keys = [channel.key for channel in index.channels]
    if len(keys) > MAX_TABLE_CHANNELS and len(index.sets) > 1:
        keys = [key for key in keys if sum(key in each for each in index.sets) > 1][:MAX_TABLE_CHANNELS]
    return frozenset(keys)


def readable(name: str) -> str:
    """Return the name of a channel or an attribute as a label: `rotor_speed` is `Rotor speed`."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def identity_facts(identity: Identity) -> list[tuple[str, str]]:
    """Return (label, value with unit) of the known facts and of the attributes of its kind, long ones last."""
    values: list[tuple[str, object]] = [(label, getattr(identity, field)) for label, field in IDENTITY_FACTS.items()]
    values += [(name.replace("_", " "), value) for name, value in identity.attributes]
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


def columns(observation: Observation) -> tuple[TableColumn, ...]:
    """Return the columns of the table. If sensors differ in their kind there is one for it. If they have more channels than
    a table has room for, each sensor's first channel has a column, and those that only some sensors have are hidden until
    `table.js` shows sensors of one kind."""
    index = observation.channels
    shown = shared_keys(index)
    several = len(index.sets) > 1
    return (
        TableColumn("id", "Sensor", "id"),
        TableColumn("state", "State", "state"),
        TableColumn("place", "Place", "place"),
        TableColumn("firmware", "Firmware", "firmware"),
        *([TableColumn("kind", "Kind", "kind")] if len(sensors.sensors_by_kind(observation.members)) > 1 else []),
        *(
            [TableColumn("main", "First channel", "number main", hidden=len(shown) == len(index.channels))]
            if several
            else []
        ),
        *(
            TableColumn(
                f"channel:{channel.key}",
                readable(channel.name),
                "number channel",
                channel.unit,
                hidden=channel.key not in shown,
            )
            for channel in index.channels
        ),
        TableColumn("anomaly", "Anomaly", "anomaly"),
        TableColumn("readings", "Readings", "number count"),
        TableColumn("anomalies", "Anomalous", "number count wider"),
        TableColumn("lag", "Lag", "number lag", "s"),
        TableColumn("restarts", "Restarts", "number few"),
        TableColumn("errors", "Errors", "number few"),
    )
