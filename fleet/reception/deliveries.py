"""Deliveries: the JSON body of a POST becomes batches, one for each database that its readings come from.

A reading that cannot be taken is refused by itself, with the reason; all others go on. Values are checked by column
(`fleet.reception.json_columns`), because a look at each would take longer than storing it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from fleet.collection.batch import NOTHING, Batch, Row, Source, Table
from fleet.collection.history import EPISODE, EPOCH
from fleet.quotes import spelled
from fleet.reception.json_columns import taken
from fleet.reception.sent_readings import Document, Oversized, Refused, SentReadings, apart, by_column, forbid_floods

PATH = "path-"
"""What the key of a source begins with that is known only by the name its sender gives it."""

MOST_OBJECTS = 500_000
MOST_SOURCES = 1_000
LONGEST_NAME = 1_000
LONGEST_GENERATION = 200

COLUMNS = ("id", "sensor_id", "seq")
"""Of a source that sends no readings, only what goes along with them."""

NO_NUMBERS = {"NaN": "NaN", "Infinity": math.inf, "-Infinity": -math.inf}

Rows = defaultdict[str, list[Row]]


class Malformed(Exception):
    """A body that is none. `str(error)` is one line."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    batches: tuple[Batch, ...]
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class Sender:
    """What a body says of itself: where things come from that do not say so."""

    name: str
    key: str


@dataclass(slots=True)
class Unpacking:
    """One body on its way to batches: what was found in it so far, by the key of the source."""

    sender: Sender
    size: int
    readings: defaultdict[str, list[Document]] = field(default_factory=lambda: defaultdict(list))
    episodes: Rows = field(default_factory=lambda: defaultdict(list))
    epochs: Rows = field(default_factory=lambda: defaultdict(list))
    refused: list[Refused] = field(default_factory=list)

    def sort_readings(self, readings: list[Any]) -> None:
        for place, reading in enumerate(readings):
            if type(reading) is not dict:
                self.refused.append(Refused(None, None, f"reading {place} of the body is no object"))
            elif (key := self._key_of(reading)) is not None:
                self.readings[key].append(reading)
            else:
                own = reading.get("id")
                self.refused.append(Refused(None, own if type(own) is int else None, wrong_generation(reading)))

    def sort_history(self, what: str, columns: tuple[str, ...], items: list[Any], rows: Rows) -> None:
        """Episodes and epochs: there are few, so they are looked at one by one."""
        for place, item in enumerate(items):
            key = self._key_of(item) if type(item) is dict else None
            if key is None:
                self.refused.append(Refused(None, None, f"{what} {place} of the body is no object with a generation"))
                continue
            try:
                rows[key].append(tuple(taken(name, item.get(name)) for name in columns))
            except ValueError as error:
                name = f"{what} {key}/{spelled(item.get('sensor_id'))}/{spelled(item.get('first_seq'))}"
                self.refused.append(Refused(name, None, str(error)))

    def _key_of(self, item: Document) -> str | None:
        """None for a generation that is none."""
        generation = item.get("generation")
        if generation is None:
            return self.sender.key
        return generation if sound(generation) else None

    def delivery(self) -> Unpacked:
        keys = list(dict.fromkeys(chain(self.readings, self.episodes, self.epochs)))
        if len(keys) > MOST_SOURCES:
            raise Oversized(f"the body has readings of {len(keys)} databases: allowed are {MOST_SOURCES}")
        batches = tuple(batch for key in keys for batch in self._batches(key))
        forbid_floods(len(self.refused), self.refused[0].reason if self.refused else "")
        return Unpacked(batches, tuple(self.refused))

    def _batches(self, key: str) -> Iterator[Batch]:
        columns: tuple[str, ...] = COLUMNS
        groups: list[list[Row]] = []
        if sent := self.readings.get(key):
            readings = SentReadings(key, by_column(sent, self.size), len(sent))
            rows = readings.rows(self.refused)
            columns, groups = tuple(readings.columns), apart(rows, readings.place_of_id)
        episodes, epochs = table(EPISODE, self.episodes.get(key)), table(EPOCH, self.epochs.get(key))
        if not groups and (episodes.rows or epochs.rows):
            groups = [[]]
        source = Source(Path(self.sender.name), self.sender.name, key, columns)
        for group in groups:
            yield Batch(source, tuple(group), episodes, epochs)
            episodes = epochs = NOTHING


def unpack(body: bytes) -> Unpacked:
    """What is in a body. Raises Malformed and Oversized."""
    # An empty object takes 3 bytes of JSON and 72 of memory.
    if len(body) > MOST_OBJECTS and body.count(b"{") + body.count(b"[") > MOST_OBJECTS:
        raise Oversized(f"the body has more than {MOST_OBJECTS} objects")
    document = parsed(body)
    if type(document) is not dict:
        raise Malformed("the body is no JSON object")
    unpacking = Unpacking(sender(document), len(body))
    unpacking.sort_readings(listed(document, "readings", required=True))
    unpacking.sort_history("episode", EPISODE, listed(document, "episodes"), unpacking.episodes)
    unpacking.sort_history("epoch", EPOCH, listed(document, "epochs"), unpacking.epochs)
    return unpacking.delivery()


def parsed(body: bytes) -> Any:
    """Not a number comes as a text, so that whoever looks at types sees it."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:  # which only some of what it refuses deserves
        pass
    try:
        from_json(body)
        return json.loads(body, parse_constant=NO_NUMBERS.__getitem__)
    except ValueError as error:
        raise Malformed(f"the body is no JSON: {error}") from None


def sender(document: Mapping[str, Any]) -> Sender:
    name, generation = document.get("source_db"), document.get("generation")
    if name is not None and not (type(name) is str and len(name) <= LONGEST_NAME):
        raise Malformed(f"source_db: {spelled(name)} is no text of at most {LONGEST_NAME} letters")
    if generation is not None and not sound(generation):
        raise Malformed(wrong_generation(document))
    digest = hashlib.blake2b((name or "").encode(), digest_size=8).hexdigest()
    return Sender(name or "", generation or f"{PATH}{digest}")


def listed(document: Mapping[str, Any], name: str, *, required: bool = False) -> list[Any]:
    found = document.get(name)
    if found is None and not required:
        return []
    if type(found) is not list:
        raise Malformed(f"the body has no list {name!r}")
    if len(found) > MOST_OBJECTS:
        raise Oversized(f"the body has {len(found)} {name}: allowed are {MOST_OBJECTS}")
    return found


def sound(generation: object) -> bool:
    return type(generation) is str and 0 < len(generation) <= LONGEST_GENERATION


def wrong_generation(item: Mapping[str, Any]) -> str:
    return f"generation: {spelled(item['generation'])} is no text of 1 to {LONGEST_GENERATION} letters"


def table(columns: tuple[str, ...], rows: list[Row] | None) -> Table:
    return Table(columns, tuple(rows)) if rows else NOTHING
