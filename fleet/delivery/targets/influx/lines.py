"""Readings, episodes and epochs as lines of InfluxDB's line protocol.

A reading is a point: `MEASUREMENT,TAGS FIELDS TIME`. Its tags are the identity of the sensor and the generation of the database,
its fields are all else, each with the type of its column: a float that is whole remains a float, an integer ends with `i`. A
server keeps one point for the same tags and time, so a reading that arrives twice is there once.

Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleet.delivery.batch import Batch, Value
from fleet.delivery.columns import content_columns, parse_timestamp, typed_readings
from fleet.delivery.compare.delivered import UNKNOWN_TIME_US, unix_microseconds
from fleet.delivery.json_documents import history_documents
from fleet.delivery.target import BatchRejected, TargetMisconfigured
from fleet.escaping import repr_short
from worker.readings.clock_errors import CLOCK_ERROR_NAMES
from worker.storage.schema import IDENTITY_COLUMNS

DEFAULT_MEASUREMENT = "sensor_readings"
PRECISIONS = {"ns": 1, "us": 1_000, "ms": 1_000_000}
"""The nanoseconds in a unit of time."""

TAG_COLUMNS = tuple(IDENTITY_COLUMNS)
GENERATION_TAG = "generation"
HISTORY_TAGS = ("sensor_id", GENERATION_TAG, "type", "channel")

UTC_SUFFIX = "+00:00"
UTC_LENGTH = len("2026-01-01T00:00:00.000000+00:00")

TIME_MARKS = 999
"""The nanoseconds that tell readings apart whose recorded times are no keys."""

MEASUREMENT_ESCAPES = str.maketrans({",": "\\,", " ": "\\ "})
KEY_ESCAPES = str.maketrans({",": "\\,", "=": "\\=", " ": "\\ "})
TEXT_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})

Texts = list[str]


@dataclass(frozen=True, slots=True)
class LineFormat:
    """The measurement of readings, and the precision of times: a key of PRECISIONS."""

    measurement: str = DEFAULT_MEASUREMENT
    precision: str = "ns"


@dataclass(frozen=True, slots=True)
class ReadingLines:
    """The readings of a batch. `lines` are those with `ids`; `rejected` has the reasons for all others, by id."""

    ids: Sequence[int]
    lines: Sequence[str]
    rejected: Mapping[int, str]


def reading_lines(batch: Batch, line_format: LineFormat) -> ReadingLines:
    """Return the readings as lines, without those that line protocol cannot represent.

    TargetMisconfigured if two readings of a sensor have the same time in this precision: one would replace the other.
    """
    readings = typed_readings(batch, nul=False)
    columns, rejected = readings.columns, dict(readings.rejected)
    ids: Any = columns["source_id"]
    if not ids:
        return ReadingLines((), (), rejected)
    beginnings, errors = tag_sets(batch.source.key, columns, line_format.measurement)
    fields, field_errors = field_sets({name: columns[name] for name in field_columns(batch)})
    times, time_errors = point_times(columns, line_format, foreign=batch.source.foreign)
    bad = time_errors | field_errors | errors
    rejected |= {ids[index]: reason for index, reason in bad.items()}
    parts = zip(beginnings, fields, columns["seq"], times.tolist(), strict=True)
    lines = [f"{beginning} {rest}seq={seq!s}i {time}" for beginning, rest, seq, time in parts]
    good = [index for index in range(len(ids)) if index not in bad] if bad else range(len(ids))
    check_times(columns["sensor_id"], times, good, line_format)
    return ReadingLines([ids[index] for index in good], [lines[index] for index in good], rejected)


def history_lines(batch: Batch, line_format: LineFormat) -> list[str]:
    """Return the episodes and epochs as lines. A later one replaces an earlier one that begins at the same time.

    BatchRejected if one has no time.
    """
    lines = []
    for measurement, table in (("anomaly_episodes", batch.episodes), ("epochs", batch.epochs)):
        for document in history_documents(measurement, table, batch):
            us = unix_microseconds(parse_timestamp(str(document["start_time"])))
            if us == UNKNOWN_TIME_US:
                raise BatchRejected(
                    f"{measurement}: start_time is {repr_short(document['start_time'])}, which is no time"
                )
            tags = {name: document[name] for name in HISTORY_TAGS if name in document}
            rest = [f"{key(name)}={field_value(value)}" for name, value in document.items() if has_field(name, value)]
            time = us * 1000 // PRECISIONS[line_format.precision]
            lines.append(f"{measurement}{tag_set(tags)} {','.join(rest)} {time}")
    return lines


def has_field(name: str, value: Value) -> bool:
    return name not in HISTORY_TAGS and value is not None


# Tags


def tag_sets(generation: str, columns: Mapping[str, Sequence[Value]], measurement: str) -> tuple[Texts, dict[int, str]]:
    """Return what each line begins with, and the errors by index. Most batches have few sensors."""
    begin = measurement.translate(MEASUREMENT_ESCAPES)
    known: dict[tuple[Value, ...], str] = {}
    wrong: dict[tuple[Value, ...], str] = {}
    identities = list(zip(*(columns[name] for name in TAG_COLUMNS), strict=True))
    for identity in set(identities):
        tags = {**dict(zip(TAG_COLUMNS, identity, strict=True)), GENERATION_TAG: generation}
        reasons = [f"{name}: {reason}" for name, value in tags.items() if (reason := tag_error(value))]
        if reasons:
            wrong[identity] = reasons[0]
        known[identity] = "" if reasons else begin + tag_set(tags)
    errors = {index: wrong[identity] for index, identity in enumerate(identities) if identity in wrong} if wrong else {}
    return [known[identity] for identity in identities], errors


def tag_set(tags: Mapping[str, Value]) -> str:
    """Return tags in the order of their names, each after a comma; a tag without a value is left out."""
    return "".join(
        f",{key(name)}={key(str(value))}" for name, value in sorted(tags.items()) if value is not None and value != ""
    )


def tag_error(value: Value) -> str:
    """Return why a value cannot be a tag, empty if it can."""
    if not isinstance(value, str):
        return ""
    if value.endswith("\\"):
        return f"{repr_short(value)} ends with a backslash, which no tag can"
    return f"{repr_short(value)} has a line break, which no tag can have" if "\n" in value or "\r" in value else ""


def key(name: str) -> str:
    """Return the name of a tag or field, or the value of a tag, with its escapes."""
    return name.translate(KEY_ESCAPES)


# Fields


def field_columns(batch: Batch) -> list[str]:
    return [name for name in content_columns(batch.source) if name not in (*TAG_COLUMNS, "timestamp", "seq")]


def field_sets(columns: Mapping[str, Sequence[Value]]) -> tuple[Texts, dict[int, str]]:
    """Return the fields of each line, with a comma after each, and the errors by index."""
    errors: dict[int, str] = {}
    texts: list[Texts] = []
    for name, values in columns.items():
        types = set(map(type, values)) - {type(None)}
        if not types:
            continue
        if types == {float} and not math.isfinite(sum(value for value in values if isinstance(value, float))):
            errors |= {
                index: f"{name} is {value}, for which line protocol has no number"
                for index, value in enumerate(values)
                if isinstance(value, float) and not math.isfinite(value)
            }
        texts.append(column_texts(name, values, FIELD_TYPES[types.pop()]))
    return list(map("".join, zip([""] * len(next(iter(columns.values()))), *texts, strict=True))), errors


def column_texts(name: str, values: Sequence[Any], to_text: Callable[[Any], str]) -> Texts:
    begin = f"{key(name)}="
    return ["" if value is None else f"{begin}{to_text(value)}," for value in values]


def field_value(value: Value) -> str:
    return FIELD_TYPES[type(value)](value)


def quoted(value: str) -> str:
    return f'"{value.translate(TEXT_ESCAPES)}"'


FIELD_TYPES: dict[type, Callable[[Any], str]] = {float: repr, int: "{}i".format, str: quoted}


# Times


def point_times(
    columns: Mapping[str, Sequence[Any]], line_format: LineFormat, *, foreign: bool
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], dict[int, str]]:
    """Return the times in the unit of the precision, and the errors by index.

    The nanoseconds are 0 for a reading of a fleet whose clock is right: no other such reading of its sensor has its time. For
    any other reading they follow from its number, so that it replaces none.
    """
    microseconds, errors = unix_times(columns["timestamp"])
    times = microseconds * 1000
    if line_format.precision == "ns":
        wrong = [foreign or kind in CLOCK_ERROR_NAMES for kind in columns["anomaly_type"]]
        if any(wrong):
            times += np.where(wrong, 1 + np.array(columns["seq"], dtype=np.int64) % TIME_MARKS, 0)
    return times // PRECISIONS[line_format.precision], errors


def unix_times(timestamps: Sequence[str]) -> tuple[np.ndarray[Any, np.dtype[np.int64]], dict[int, str]]:
    """Return times in microseconds since 1970, and the errors by index."""
    if all(len(text) == UTC_LENGTH and text.endswith(UTC_SUFFIX) for text in timestamps):
        try:
            texts = [text[: -len(UTC_SUFFIX)] for text in timestamps]
            return np.array(texts, dtype="datetime64[us]").astype(np.int64), {}
        except ValueError:  # one of them is no time after all
            pass
    times, errors = np.zeros(len(timestamps), dtype=np.int64), dict[int, str]()
    for index, text in enumerate(timestamps):
        us = unix_microseconds(parse_timestamp(text))
        if us == UNKNOWN_TIME_US:
            errors[index] = f"timestamp: {repr_short(text)} is no time"
        else:
            times[index] = us
    return times, errors


def check_times(
    sensors: Sequence[Value], times: np.ndarray[Any, Any], good: Sequence[int], line_format: LineFormat
) -> None:
    """TargetMisconfigured if two readings of a sensor have the same time."""
    if line_format.precision == "ns":
        return
    seen: set[tuple[Value, int]] = set()
    numbers = times.tolist()
    for index in good:
        point = sensors[index], numbers[index]
        if point in seen:
            raise TargetMisconfigured(
                f"precision={line_format.precision} is too coarse: two readings of {sensors[index]!s} have the same time, and a "
                "server would keep one of them: use precision=ns"
            )
        seen.add(point)
