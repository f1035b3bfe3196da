"""Readings that arrived without the generation of their database, as other collectors send them: which database has them.

A reading is looked for by sensor and sequence number, then by sensor and timestamp. Of several databases that have its
sensor and number (after a new start in the same place), the one with its timestamp counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import apsw

from fleet.datadir.readings import DatabaseUnreadable
from fleet.delivery.batch import Row
from fleet.delivery.compare.compared_columns import ID_INDEX, SENSOR_INDEX, SEQ_INDEX, TIMESTAMP_INDEX
from fleet.delivery.compare.delivered import DeliveredChunk
from fleet.delivery.compare.generated import GeneratedDatabase, GeneratedReadings

Match = tuple[str, Row]
"""The key of a database, and the row of the reading there."""


class KeylessMatcher:
    """Assigns readings to databases. `databases` are the keys of those that have some of them."""

    def __init__(self, generated: GeneratedReadings) -> None:
        self._generated = generated
        self._senders: set[str | None] = set()
        self._by_seq = self._by_time = 0
        self.databases: set[str] = set()

    def assign(self, chunk: DeliveredChunk) -> Iterator[DeliveredChunk]:
        """Yield the rows of a chunk by database, with their ids there; those that no database has keep their source."""
        if not self._senders:
            self._generated.refresh()
        self._senders.add(chunk.source)
        matches: list[Match | None] = [None] * len(chunk.rows)
        for database in list(self._generated.databases.values()):
            self._match_ids(database, chunk.rows, matches)
        parts: dict[str | None, list[int]] = {}
        for index, row in enumerate(chunk.rows):
            match = matches[index] = matches[index] or self._search(row)
            parts.setdefault(match[0] if match else chunk.source, []).append(index)
        for key, indexes in parts.items():
            rows = [self._arrange(chunk.rows[index], matches[index]) for index in indexes]
            received_us = [chunk.received_us[index] for index in indexes] if chunk.received_us else ()
            yield DeliveredChunk(key, chunk.name, rows, received_us)

    def _match_ids(self, database: GeneratedDatabase, rows: Sequence[Row], matches: list[Match | None]) -> None:
        """Match rows whose id is that of the same reading: other collectors usually send the ids of the database."""
        indexes = [
            index
            for index, row in enumerate(rows)
            if matches[index] is None and row[SENSOR_INDEX] in database.sensors and isinstance(row[ID_INDEX], int)
        ]
        with suppress(DatabaseUnreadable, apsw.Error, UnicodeDecodeError):  # the comparison itself reports it
            ids: list[int] = [rows[index][ID_INDEX] for index in indexes]  # type: ignore[misc]
            for index, right in zip(indexes, self._generated.rows(database, ids), strict=True):
                if (
                    right
                    and right[SENSOR_INDEX : TIMESTAMP_INDEX + 1] == rows[index][SENSOR_INDEX : TIMESTAMP_INDEX + 1]
                ):
                    matches[index] = database.source.key, right

    def _search(self, row: Row) -> Match | None:
        by_seq: list[Match] = []
        by_time: list[Match] = []
        for database in list(self._generated.databases.values()):
            if row[SENSOR_INDEX] not in database.sensors:
                continue
            with suppress(DatabaseUnreadable, apsw.Error, UnicodeDecodeError):
                if right := self._generated.search(database, row[SENSOR_INDEX], row[SEQ_INDEX]):
                    by_seq.append((database.source.key, right))
                same_time = self._generated.search_time(database, row[SENSOR_INDEX], row[TIMESTAMP_INDEX])
                by_time += [(database.source.key, right) for right in same_time]
        both = [match for match in by_seq if match[1][TIMESTAMP_INDEX] == row[TIMESTAMP_INDEX]]
        by_time.sort(key=lambda match: match[1][TIMESTAMP_INDEX:] != row[TIMESTAMP_INDEX : len(match[1])])
        return next(iter([*both, *by_time, *by_seq]), None)

    def _arrange(self, row: Row, match: Match | None) -> Row:
        """The row with the id and the seq of its reading, to be compared with that."""
        if match is None:
            return row
        key, right = match
        self.databases.add(key)
        self._by_seq += reading_key(row) == reading_key(right)
        self._by_time += reading_key(row) != reading_key(right)
        return (right[ID_INDEX], row[SENSOR_INDEX], right[SEQ_INDEX], *row[TIMESTAMP_INDEX:])

    def notes(self, keyed: set[str | None]) -> Iterator[str]:
        """Yield how readings were matched. `keyed` are the databases of which readings arrived with their generation."""
        if self.databases:
            yield (
                f"{self._by_seq + self._by_time:,} readings came without the generation of their database, from "
                f"{len(self._senders):,} source names: {self._by_seq:,} were matched by sensor and seq, "
                f"{self._by_time:,} by sensor and timestamp"
            )
        if unknown := len(self.databases - keyed):
            yield f"episodes and epochs of {unknown:,} databases not compared: their sender sends readings only"


def reading_key(row: Row) -> Row:
    """The key of a reading within its source: sensor and seq."""
    return row[SENSOR_INDEX : SEQ_INDEX + 1]
