"""The records of a stream: the fields of a reading, in their order, as they are in a line of JSON.

A sensor of a pipeline has the record of a pipeline monitor, any other sensor the columns of its database. A field has the
same value in all records of a sensor, or is a `Column`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from worker.spec import CHANNEL_NAMES, AttributeValue, Identity, Settings
from worker.storage.schema import (
    IDENTITY_COLUMNS,
    further_identity_columns,
    further_identity_values,
    further_reading_columns,
    identity_values,
)

Source = Literal["time", "channel", "attribute", "flag", "type", "seq"]


class Column(NamedTuple):
    """A field that differs between the readings of a sensor. `place` is that of a channel or an attribute in the settings;
    `suffix` ends a time."""

    source: Source
    place: int = 0
    suffix: str = ""


Field: TypeAlias = "AttributeValue | Column | Mapping[str, Field]"
Record = Mapping[str, Field]

PIPELINE_CONSTANTS = ("type", "unit", "mile_post", "pipeline_id")
PIPELINE_COLUMNS = ("status", "quality_score", "alert_level")


def record_of(identity: Identity, settings: Settings) -> Record:
    """Return the record of a sensor: that of a pipeline if the sensor has all its fields, else that of a database row."""
    constants = dict(identity.attributes)
    names = [attribute.name for attribute in settings.attributes]
    if len(settings.channels) == 1 and constants.keys() >= {*PIPELINE_CONSTANTS} and {*names} >= {*PIPELINE_COLUMNS}:
        return pipeline_record(identity, names)
    return row_record(identity, settings)


def pipeline_record(identity: Identity, attribute_names: list[str]) -> Record:
    constants = dict(identity.attributes)
    return {
        "sensor_id": identity.sensor_id,
        "timestamp": Column("time", suffix="Z"),
        "type": constants["type"],
        "value": Column("channel"),
        "unit": constants["unit"],
        "location": {"lat": identity.latitude, "lon": identity.longitude, "mile_post": constants["mile_post"]},
        "pipeline_id": constants["pipeline_id"],
        **{name: Column("attribute", attribute_names.index(name)) for name in PIPELINE_COLUMNS},
    }


def row_record(identity: Identity, settings: Settings) -> Record:
    """Return the columns of a row of `sensor_readings` in their order, without `id` and `synced`."""
    channels: dict[str, Field] = {
        channel.name: Column("channel", index) for index, channel in enumerate(settings.channels)
    }
    attributes = {each.name: Column("attribute", index) for index, each in enumerate(settings.attributes)}
    constants = dict(zip(IDENTITY_COLUMNS, identity_values(identity), strict=True))
    further = [column.name for column in further_reading_columns(settings)]
    names = [column.name for column in further_identity_columns(identity)]
    return {
        "timestamp": Column("time", suffix="+00:00"),
        "sensor_id": constants.pop("sensor_id"),
        **{name: channels.get(name) for name in CHANNEL_NAMES},
        "status_code": Column("flag"),
        "anomaly_flag": Column("flag"),
        "anomaly_type": Column("type"),
        **constants,
        "seq": Column("seq"),
        **{name: attributes.get(name) or channels[name] for name in further},
        **dict(zip(names, further_identity_values(identity), strict=True)),
    }


class LinePieces(NamedTuple):
    """A record as a line of JSON: `texts` are its constant parts, one more than there are `columns` between them."""

    texts: tuple[str, ...]
    columns: tuple[Column, ...]


def line_pieces(record: Record) -> LinePieces:
    """Cut the line of a record at its columns. All characters are ASCII."""
    texts, columns = [""], list[Column]()

    def add(value: Field) -> None:
        if isinstance(value, Column):
            quote = '"' if value.source == "time" else ""
            texts[-1] += quote
            columns.append(value)
            texts.append(value.suffix + quote)
        elif isinstance(value, Mapping):
            for number, (name, field) in enumerate(value.items()):
                texts[-1] += f"{',' if number else '{'}{json.dumps(name)}:"
                add(field)
            texts[-1] += "}"
        else:
            texts[-1] += json.dumps(value)

    add(record)
    texts[-1] += "\n"
    return LinePieces(tuple(texts), tuple(columns))
