"""Parsing of uploads: the JSON body of a POST becomes batches, one for each source of its readings.

A bad reading is rejected on its own, with the reason. Values are checked by column
(`fleet.delivery.receiver.json_columns`), as checking them one by one would take longer than storing them.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from fleet.delivery.batch import (
    FOREIGN_KEY_PREFIX,
    NAME_KEY_PREFIX,
    NO_ROWS,
    Batch,
    Row,
    SourceDatabase,
    TableRows,
    Value,
)
from fleet.delivery.columns import is_further_name
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.receiver.json_columns import MAX_REJECTED_READINGS, convert_history_value, convert_json_column
from fleet.escaping import repr_short
from worker.spec import ColumnType
from worker.storage.schema import COLUMN_TYPES, FurtherColumn

MAX_JSON_OBJECTS = 500_000
MAX_SOURCES_PER_BODY = 1_000
MAX_NAME_CHARS = 1_000
MAX_GENERATION_CHARS = 200

MINIMAL_COLUMNS = ("id", "sensor_id", "seq")
"""The columns of a source without readings, which has only episodes or epochs in the upload."""

LARGE_NUMBER = re.compile(rb"[:,\[]\s*-?\d(?:\d{300}|[\d.]*[eE]\+?\d{3})")
"""A number that may be too large for a float: more than 300 digits, or an exponent of three. It would become Infinity."""

NON_FINITE_NUMBERS = {"NaN": "NaN", "Infinity": math.inf, "-Infinity": -math.inf}

RowsByKey = defaultdict[str, list[Row]]


class MalformedBody(Exception):
    """The body is not an upload. `str(error)` is one line."""


@dataclass(frozen=True, slots=True)
class ParsedUpload:
    """The batches of an upload, and the readings, episodes and epochs that are rejected."""

    batches: tuple[Batch, ...]
    rejected: tuple[RejectedReading, ...]


@dataclass(frozen=True, slots=True)
class Sender:
    """The source of the items in a body that have no generation of their own."""

    name: str
    key: str


@dataclass(slots=True)
class UploadParser:
    """The parser of one body. Collects its items by the key of the source."""

    sender: Sender
    size: int
    further: tuple[FurtherColumn, ...] = ()
    readings: defaultdict[str, list[JsonObject]] = field(default_factory=lambda: defaultdict(list))
    episodes: RowsByKey = field(default_factory=lambda: defaultdict(list))
    epochs: RowsByKey = field(default_factory=lambda: defaultdict(list))
    rejected: list[RejectedReading] = field(default_factory=list)

    def add_readings(self, readings: list[Any]) -> None:
        for index, reading in enumerate(readings):
            if type(reading) is not dict:
                self.rejected.append(RejectedReading(None, None, f"reading {index} of the body is no object"))
            elif (key := self._key_of(reading)) is not None:
                self.readings[key].append(reading)
            else:
                row_id = reading.get("id")
                self.rejected.append(
                    RejectedReading(None, row_id if type(row_id) is int else None, generation_error(reading))
                )

    def add_history(self, noun: str, columns: tuple[str, ...], items: list[Any], rows: RowsByKey) -> None:
        """Add episodes or epochs; there are few, so they are checked one by one."""
        for index, item in enumerate(items):
            key = self._key_of(item) if type(item) is dict else None
            if key is None:
                self.rejected.append(
                    RejectedReading(None, None, f"{noun} {index} of the body is no object with a generation")
                )
                continue
            try:
                rows[key].append(tuple(convert_history_value(name, item.get(name)) for name in columns))
            except ValueError as error:
                name = f"{noun} {key}/{repr_short(item.get('sensor_id'))}/{repr_short(item.get('first_seq'))}"
                self.rejected.append(RejectedReading(name, None, str(error)))

    def _key_of(self, item: JsonObject) -> str | None:
        """The key of an item's source, None if its generation is invalid."""
        generation = item.get("generation")
        if generation is None:
            return self.sender.key
        return generation if is_valid_generation(generation) else None

    def result(self) -> ParsedUpload:
        keys = list(dict.fromkeys(chain(self.readings, self.episodes, self.epochs)))
        if len(keys) > MAX_SOURCES_PER_BODY:
            raise BodyTooLarge(f"the body has readings of {len(keys)} databases: allowed are {MAX_SOURCES_PER_BODY}")
        batches = tuple(batch for key in keys for batch in self._batches(key))
        check_rejected_count(len(self.rejected), self.rejected[0].reason if self.rejected else "")
        return ParsedUpload(batches, tuple(self.rejected))

    def _batches(self, key: str) -> Iterator[Batch]:
        columns: tuple[str, ...] = MINIMAL_COLUMNS
        groups: list[list[Row]] = []
        if sent := self.readings.get(key):
            readings = UploadedReadings(key, to_columns(sent, self.size), len(sent), dict(self.further))
            rows = readings.rows(self.rejected)
            columns, groups = tuple(readings.columns), split_repeated_ids(rows, readings.id_index)
        episodes, epochs = table(EPISODE_COLUMNS, self.episodes.get(key)), table(EPOCH_COLUMNS, self.epochs.get(key))
        if not groups and (episodes.rows or epochs.rows):
            groups = [[]]
        further = () if key.startswith(FOREIGN_KEY_PREFIX) else self.further
        source = SourceDatabase(Path(self.sender.name), self.sender.name, key, columns, further)
        for group in groups:
            yield Batch(source, tuple(group), episodes, epochs)
            episodes = epochs = NO_ROWS


def parse_upload(body: bytes) -> ParsedUpload:
    """Parse a body. Raises MalformedBody and BodyTooLarge."""
    # An empty object takes 3 bytes of JSON and 72 of memory.
    if len(body) > MAX_JSON_OBJECTS and body.count(b"{") + body.count(b"[") > MAX_JSON_OBJECTS:
        raise BodyTooLarge(f"the body has more than {MAX_JSON_OBJECTS} objects")
    document = parse_json(body)
    if type(document) is not dict:
        raise MalformedBody("the body is no JSON object")
    parser = UploadParser(parse_sender(document), len(body), parse_columns(document))
    parser.add_readings(get_list(document, "readings", required=True))
    parser.add_history("episode", EPISODE_COLUMNS, get_list(document, "episodes"), parser.episodes)
    parser.add_history("epoch", EPOCH_COLUMNS, get_list(document, "epochs"), parser.epochs)
    return parser.result()


def parse_json(body: bytes) -> Any:
    """Parse JSON. NaN, and a number that no float holds, become a text, so that the checks of types reject them."""
    try:
        if not LARGE_NUMBER.search(body):
            return from_json(body, allow_inf_nan=False)
    except ValueError:  # parsed again below, as Infinity and NaN are accepted
        pass
    try:
        from_json(body)
        return json.loads(body, parse_constant=NON_FINITE_NUMBERS.__getitem__, parse_float=parse_float)
    except ValueError as error:
        raise MalformedBody(f"the body is no JSON: {error}") from None


def parse_float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def parse_sender(document: Mapping[str, Any]) -> Sender:
    name, generation = document.get("source_db"), document.get("generation")
    if name is not None and not (type(name) is str and len(name) <= MAX_NAME_CHARS):
        raise MalformedBody(f"source_db: {repr_short(name)} is no text of at most {MAX_NAME_CHARS} letters")
    if generation is not None and not is_valid_generation(generation):
        raise MalformedBody(generation_error(document))
    digest = hashlib.blake2b((name or "").encode(), digest_size=8).hexdigest()
    return Sender(name or "", generation or f"{NAME_KEY_PREFIX}{digest}")


def parse_columns(document: Mapping[str, Any]) -> tuple[FurtherColumn, ...]:
    """The columns that the kinds of the sender's sensors have beyond those of every fleet."""
    declared = document.get("columns")
    if declared is None:
        return ()
    if type(declared) is not dict or len(declared) > MAX_FURTHER_COLUMNS_PER_BODY:
        raise MalformedBody(f"columns: is no object of at most {MAX_FURTHER_COLUMNS_PER_BODY} names and types")
    for name, column_type in declared.items():
        if not is_further_name(name):
            raise MalformedBody(f"columns: {repr_short(name)} cannot be the name of a column")
        if column_type not in COLUMN_TYPES.values():
            allowed = ", ".join(COLUMN_TYPES.values())
            raise MalformedBody(f"columns: {name}: {repr_short(column_type)} is none of {allowed}")
    return tuple(FurtherColumn(name, column_type) for name, column_type in declared.items())


def get_list(document: Mapping[str, Any], name: str, *, required: bool = False) -> list[Any]:
    items = document.get(name)
    if items is None and not required:
        return []
    if type(items) is not list:
        raise MalformedBody(f"the body has no list {name!r}")
    if len(items) > MAX_JSON_OBJECTS:
        raise BodyTooLarge(f"the body has {len(items)} {name}: allowed are {MAX_JSON_OBJECTS}")
    return items


def is_valid_generation(generation: object) -> bool:
    return type(generation) is str and 0 < len(generation) <= MAX_GENERATION_CHARS


def generation_error(item: Mapping[str, Any]) -> str:
    return f"generation: {repr_short(item['generation'])} is no text of 1 to {MAX_GENERATION_CHARS} letters"


def table(columns: tuple[str, ...], rows: list[Row] | None) -> TableRows:
    return TableRows(columns, tuple(rows)) if rows else NO_ROWS


MAX_COLUMNS_PER_BODY = 500
MAX_FURTHER_COLUMNS_PER_BODY = 400
MAX_READINGS_PER_ID = 100

NON_COLUMN_FIELDS = {"generation", "key"}
"""The fields of a reading in JSON that are no columns."""

JsonObject = dict[str, Any]


class BodyTooLarge(Exception):
    """The body needs too many resources; smaller parts may be accepted. `str(error)` is one line."""


@dataclass(frozen=True, slots=True)
class RejectedReading:
    """A rejected reading. `key` is SOURCE/SENSOR/NUMBER, None if it is unknown, `id` the sender's id."""

    key: str | None
    id: int | None
    reason: str


@dataclass(slots=True)
class UploadedReadings:
    """The readings of one source in an upload, by column."""

    source: str
    columns: dict[str, Sequence[Value]]
    count: int
    further: Mapping[str, ColumnType]

    @property
    def foreign(self) -> bool:
        return self.source.startswith(FOREIGN_KEY_PREFIX)

    @property
    def id_index(self) -> int:
        return list(self.columns).index("id")

    def rows(self, rejected: list[RejectedReading]) -> list[Row]:
        """The valid readings as rows, by id; the others are added to `rejected`. Raises BodyTooLarge.

        Afterwards the columns include an id, and a seq if that is the key.
        """
        sent_ids = self.columns.get("id")
        absent: list[Value] = [None] * self.count
        for name in ("timestamp", "sensor_id", "id", *(() if self.foreign else ("seq",))):
            self.columns.setdefault(name, absent)
        reasons: dict[int, str] = {}
        for name, values in self.columns.items():
            # Where the id is the key, a column named seq is something else.
            further = {} if self.foreign else self.further
            known = name != "seq" or not self.foreign
            self.columns[name], wrong = convert_json_column(name, values, further, known=known)
            for index, reason in wrong.items():
                reasons.setdefault(index, reason)
            check_rejected_count(len(reasons), next(iter(reasons.values()), ""))
        self._number(reasons)
        rows = list(zip(*self.columns.values(), strict=True))
        if reasons:
            rejected += [self._rejected(index, reason, sent_ids) for index, reason in sorted(reasons.items())]
            rows = [row for index, row in enumerate(rows) if index not in reasons]
        rows.sort(key=itemgetter(self.id_index))
        return rows

    def _number(self, reasons: dict[int, str]) -> None:
        """Fill in missing numbers: the id for a seq, a negative number for an id."""
        ids = numbers = self.columns["id"]
        if not self.foreign:
            numbers = self.columns["seq"]
            if None in numbers:
                numbers = [row_id if number is None else number for row_id, number in zip(ids, numbers, strict=True)]
                self.columns["seq"] = numbers
        if None in numbers:
            for index, number in enumerate(numbers):
                if number is None:
                    reasons.setdefault(index, "has no id" if self.foreign else "has neither seq nor id")
        if None in ids:
            self.columns["id"] = [-1 - index if row_id is None else row_id for index, row_id in enumerate(ids)]

    def _rejected(self, index: int, reason: str, sent_ids: Sequence[Value] | None) -> RejectedReading:
        row_id = sent_ids[index] if sent_ids else None
        number = row_id if self.foreign else self.columns["seq"][index]
        sensor = self.columns["sensor_id"][index]
        identifiable = isinstance(sensor, str) and isinstance(number, int)
        key = f"{self.source}/{sensor!s}/{number!s}" if identifiable else None
        return RejectedReading(key, row_id if isinstance(row_id, int) else None, reason)


def check_rejected_count(rejected: int, reason: str) -> None:
    """Raises BodyTooLarge if the response with all rejected readings would be too long."""
    if rejected > MAX_REJECTED_READINGS:
        raise BodyTooLarge(f"more than {MAX_REJECTED_READINGS} readings are bad, such as: {reason}; send fewer at once")


def to_columns(readings: list[JsonObject], size: int) -> dict[str, Sequence[Value]]:
    """The values of readings by column, None if a reading lacks one. `size` is that of the body. Raises BodyTooLarge."""
    shapes = dict.fromkeys(map(tuple, readings))
    names = [name for name in dict.fromkeys(chain.from_iterable(shapes)) if name not in NON_COLUMN_FIELDS]
    # If each reading had a column of its own, the table would grow with the square of the body.
    if len(names) > MAX_COLUMNS_PER_BODY or len(names) * len(readings) > max(size, 10_000):
        raise BodyTooLarge(f"{len(readings)} readings have {len(names)} columns between them")
    if len(shapes) == 1:
        (shape,) = shapes
        columns = zip(shape, zip(*map(dict.values, readings), strict=True), strict=True)
        return {name: list(values) for name, values in columns if name not in NON_COLUMN_FIELDS}
    return {name: [reading.get(name) for reading in readings] for name in names}


def split_repeated_ids(rows: list[Row], id_index: int) -> list[list[Row]]:
    """Split rows into groups without repeated ids, as a receipt identifies readings by id. Raises BodyTooLarge."""
    get_id = itemgetter(id_index)
    if len(set(map(get_id, rows))) == len(rows):
        return [rows] if rows else []
    groups: list[list[Row]] = []
    seen: Counter[Value] = Counter()
    for row in rows:
        number = seen[get_id(row)]
        if number == MAX_READINGS_PER_ID:
            raise BodyTooLarge(f"more than {MAX_READINGS_PER_ID} readings have the id {get_id(row)}")
        if number == len(groups):
            groups.append([])
        groups[number].append(row)
        seen[get_id(row)] += 1
    return groups
