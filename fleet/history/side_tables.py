"""The tables beside the readings of an export: identities, epochs and episodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fleet.history.selection import HistoryPart
from fleet.history.source import epoch_parts
from fleet.history.table import (
    IDENTITY_TYPES,
    ReadingColumnType,
    ReadingSchema,
    ReadingTable,
    TableColumn,
    coded_values,
)
from worker.schedule import Schedule
from worker.storage.schema import (
    IDENTITY_COLUMNS,
    epoch_values,
    further_identity_columns,
    further_identity_values,
    identity_values,
    settings_text,
)

Row = Sequence[Any]

EPISODES_SCHEMA: ReadingSchema = {
    "sensor_id": "TEXT",
    "type": "TEXT",
    "channel": "TEXT",
    "first_seq": "INTEGER",
    "last_seq": "INTEGER",
    "start_time": "TIME",
    "end_time": "TIME",
    "parameters": "TEXT",
}
EPOCHS_SCHEMA: ReadingSchema = {
    "sensor_id": "TEXT",
    "first_seq": "INTEGER",
    "end_seq": "INTEGER",
    "start_time": "TIME",
    "reason": "TEXT",
    "run": "INTEGER",
    "seed": "TEXT",
    "rate": "TEXT",
    "identity": "TEXT",
    "settings": "TEXT",
}


class SideTable(NamedTuple):
    """A table of one row for each identity, epoch or episode. `rows` are those of one sensor."""

    name: str
    title: str
    schema: ReadingSchema
    rows: Callable[[HistoryPart], Iterable[Row]]


def side_tables(parts: Sequence[HistoryPart]) -> list[SideTable]:
    return [
        SideTable("identities", "the sensors and their channels", identities_schema(parts), identity_rows(parts)),
        SideTable("epochs", "the settings of each sensor, and since when", EPOCHS_SCHEMA, epoch_rows),
        SideTable("episodes", "the anomalies: what the readings are labelled with", EPISODES_SCHEMA, episode_rows),
    ]


def identities_schema(parts: Iterable[HistoryPart]) -> ReadingSchema:
    schema: dict[str, ReadingColumnType] = {**IDENTITY_TYPES, "rate": "TEXT", "channels": "TEXT"}
    for part in parts:
        for column in further_identity_columns(part.history.epochs[-1].identity):
            schema.setdefault(column.name, column.column_type)
    return schema


def identity_rows(parts: Sequence[HistoryPart]) -> Callable[[HistoryPart], Iterable[Row]]:
    """Return a function of a sensor: its last identity, its rate, and its channels with their units as JSON."""
    schema = identities_schema(parts)

    def rows(part: HistoryPart) -> Iterator[Row]:
        identity, settings = part.history.epochs[-1].identity, part.history.epochs[-1].settings
        further = (column.name for column in further_identity_columns(identity))
        values: dict[str, Any] = dict(zip(IDENTITY_COLUMNS, identity_values(identity), strict=True))
        values |= zip(further, further_identity_values(identity), strict=True)
        values["rate"] = settings.rate
        units = {channel.name: channel.unit for channel in settings.channels}
        values["channels"] = json.dumps(units, ensure_ascii=False, separators=(",", ":"))
        yield [values.get(name) for name in schema]

    return rows


def epoch_rows(part: HistoryPart) -> Iterator[Row]:
    for epoch, _, end in epoch_parts(part.history.epochs, part.first, part.end):
        schedule, identity = epoch.schedule, epoch_values(epoch)[7]
        yield (
            part.history.sensor_id,
            schedule.first_seq,
            end,
            schedule.start_us,
            epoch.reason,
            epoch.run,
            str(epoch.seed),
            epoch.settings.rate,
            identity,
            settings_text(epoch.settings),
        )


def episode_rows(part: HistoryPart) -> Iterator[Row]:
    epochs = part.history.epochs
    for episode in part.history.episodes(part.first, part.end):
        begun = max(epoch.schedule.first_seq for epoch in epochs if epoch.schedule.first_seq <= episode.first_seq)
        schedule: Schedule = next(epoch.schedule for epoch in epochs if epoch.schedule.first_seq == begun)
        first, last = episode.first_seq, episode.last_seq
        times = schedule.time(first), schedule.time(last)
        yield (part.history.sensor_id, episode.kind, episode.channel, first, last, *times, episode.parameters)


def table_of_rows(schema: ReadingSchema, rows: Sequence[Row]) -> ReadingTable:
    """Return rows as columns."""
    values = zip(*rows, strict=True) if rows else ((),) * len(schema)
    columns: dict[str, TableColumn] = {}
    for (name, kind), column in zip(schema.items(), values, strict=True):
        columns[name] = np.array(column, dtype=np.int64) if kind == "TIME" else coded_values(column)
    return ReadingTable(columns)
