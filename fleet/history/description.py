"""The descriptions of an export: `datapackage.json` (https://specs.frictionlessdata.io/data-package/), the schema of each table,
and a `README`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fleet.history.formats.file_format import TimeFormat, whole_file
from fleet.history.formats.registry import FileFormat
from fleet.history.rows import RowOptions
from fleet.history.selection import HistoryPart
from fleet.history.stages import COUNT_COLUMN
from fleet.history.table import ReadingColumnType, ReadingSchema

DATA_PACKAGE = "datapackage.json"

FIELD_TYPES = {"REAL": "number", "INTEGER": "integer", "TEXT": "string"}

MEANINGS = {
    "timestamp": "when the reading was taken, UTC",
    "sensor_id": "the sensor",
    "status_code": "1 for an anomalous reading, 0 for a healthy one",
    "anomaly_flag": "1 for an anomalous reading, 0 for a healthy one",
    "anomaly_type": "the type of the anomaly, empty for a healthy reading",
    "original_timezone": "the time zone at the sensor's place",
    "seq": "the number of the scheduled reading of the sensor, from 0 on",
    COUNT_COLUMN: "how many readings became this one",
    "first_seq": "the number of its first reading",
    "last_seq": "the number of its last reading",
    "end_seq": "the number of the reading after its last one",
    "start_time": "when its first reading was due, UTC",
    "end_time": "when its last reading was due, UTC",
    "rate": "readings per second",
    "channels": "the channels and their units, as JSON",
    "channel": "the channels that it affects, all if it is empty",
    "parameters": "the size of the anomaly, as JSON",
    "identity": "the identity of the sensor, as JSON",
    "settings": "the settings of the sensor, as JSON",
    "seed": "the seed of the fleet",
    "run": "the run of the fleet that began it",
    "reason": "why it began",
}

MISSING_TEXTS = {
    "omit": "Readings that are missing have no row.",
    "null": "A reading that is missing has a row, due when it was due, without values; its anomaly_type is missing_data.",
    "held": "A reading that is missing has a row with the values of the one before; its anomaly_type is missing_data.",
}
TIME_TEXTS = {
    "text": "text, as 2026-01-01T00:00:00.000000+00:00",
    "timestamp": "the type of the format for times, in UTC; text in CSV and JSON",
    "s": "seconds since 1970-01-01T00:00:00Z, with a fraction",
    "ms": "whole milliseconds since 1970-01-01T00:00:00Z, rounded down",
    "us": "microseconds since 1970-01-01T00:00:00Z",
}


class FileDescription(NamedTuple):
    """A file of an export: its path in the folder, the name of its table, what it has, its columns, and its number of rows."""

    path: str
    table: str
    title: str
    schema: ReadingSchema
    rows: int


class Origin(NamedTuple):
    """Where readings come from, and when the first and the last were due."""

    source: str
    first: str
    last: str


def write_descriptions(
    folder: Path,
    files: Sequence[FileDescription],
    parts: Sequence[HistoryPart],
    file_format: FileFormat,
    times: TimeFormat,
    rows: RowOptions,
    origin: Origin,
) -> None:
    """Write the descriptions of files into their folder."""
    units = channel_units(parts)
    for name, schema in {each.table: each.schema for each in files}.items():
        write_json(folder / f"{name}.schema.json", table_schema(name, schema, times, units))
    resources = [resource(each, file_format) for each in files]
    package = {
        "profile": "tabular-data-package" if file_format.name == "csv" else "data-package",
        "name": "sensor-readings",
        "title": "Readings of simulated sensors",
        "description": f"Readings of {len(parts)} simulated sensors, due from {origin.first} to {origin.last}.",
        "resources": resources,
    }
    write_json(folder / DATA_PACKAGE, package)
    with whole_file(folder / "README.md") as file:
        file.write(readme(files, parts, file_format, times, rows, origin).encode())


def channel_units(parts: Iterable[HistoryPart]) -> dict[str, str]:
    """Return the units of channels; of those that have several, all."""
    units: dict[str, dict[str, None]] = {}
    for part in parts:
        for epoch in part.history.epochs:
            for channel in epoch.settings.channels:
                units.setdefault(channel.name, {})[channel.unit] = None
                units.setdefault(f"{part.history.sensor_id}.{channel.name}", {})[channel.unit] = None
    return {name: " or ".join(unit for unit in some if unit) for name, some in units.items()}


def table_schema(name: str, schema: ReadingSchema, times: TimeFormat, units: dict[str, str]) -> dict[str, Any]:
    """Return a Table Schema (https://specs.frictionlessdata.io/table-schema/)."""
    fields = [field(column, kind, times, units) for column, kind in schema.items()]
    result: dict[str, Any] = {"fields": fields, "missingValues": [""]}
    if name == "identities":
        result["primaryKey"] = ["sensor_id"]
    return result


def field(name: str, kind: ReadingColumnType, times: TimeFormat, units: dict[str, str]) -> dict[str, Any]:
    if kind == "TIME":
        kinds = {"s": "number", "ms": "integer", "us": "integer"}
        typed = {"type": kinds[times]} if times in kinds else {"type": "datetime", "format": "any"}
        return {"name": name, **typed, "description": f"{MEANINGS.get(name, 'a time')}; {TIME_TEXTS[times]}"}
    result: dict[str, Any] = {"name": name, "type": FIELD_TYPES[kind]}
    if meaning := MEANINGS.get(name.rpartition(".")[2]):
        result["description"] = meaning
    if unit := units.get(name):
        result["unit"] = unit
    return result


def resource(described: FileDescription, file_format: FileFormat) -> dict[str, Any]:
    name = described.path.removesuffix(file_format.suffix).lower()
    return {
        "profile": "tabular-data-resource" if file_format.name == "csv" else "data-resource",
        "name": "".join(letter if letter.isalnum() or letter in "-._/" else "-" for letter in name),
        "path": described.path,
        "title": described.title,
        "format": file_format.suffix.removeprefix("."),
        "mediatype": file_format.media_type,
        **({"encoding": "utf-8"} if file_format.name in ("csv", "jsonl") else {}),
        "schema": f"{described.table}.schema.json",
        "rows": described.rows,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as file:
        file.write((json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def readme(
    files: Sequence[FileDescription],
    parts: Sequence[HistoryPart],
    file_format: FileFormat,
    times: TimeFormat,
    rows: RowOptions,
    origin: Origin,
) -> str:
    """Return what a person should know who finds the folder."""
    of_readings = [each for each in files if each.table == "readings"]
    count = sum(each.rows for each in of_readings)
    lines = [
        "# Readings of simulated sensors",
        "",
        f"{count:,} rows of {len(parts)} sensors, due from {origin.first} to {origin.last}.",
        f"Exported from {origin.source} by `fleet export`.",
        "The anomalies in them are labelled: `anomaly_type` of a reading, and an interval each in the episodes.",
        "",
        f"- Times are {TIME_TEXTS[times]}.",
        f"- {MISSING_TEXTS[rows.missing]}",
    ]
    if rows.every_us is not None:
        lines.append(
            f"- A row is made of the readings of {rows.every_us / 1e6:g} seconds, its time is the beginning: the {rows.aggregate} "
            "of numbers, the last of other values, the type of the first anomaly."
        )
    if file_format.name == "csv":
        lines.append("- NULL is an empty field.")
    lines += ["", "| file | rows | content |", "| --- | --- | --- |"]
    if len(of_readings) > 1:
        lines.append(f"| `readings/*{file_format.suffix}` | {count:,} | the readings, in {len(of_readings)} files |")
    listed = files if len(of_readings) == 1 else [each for each in files if each.table != "readings"]
    lines += [f"| `{each.path}` | {each.rows:,} | {each.title} |" for each in listed]
    lines += [
        "",
        f"`{DATA_PACKAGE}` describes the files for programs (Frictionless Data Package),",
        "and `*.schema.json` their columns with types and units.",
    ]
    return "\n".join(lines) + "\n"
