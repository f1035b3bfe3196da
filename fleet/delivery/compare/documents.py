"""Documents of a record, in a target or in the rows of a table, as a table that MatchedReadings compares.

A target that holds documents has them compared by `DocumentTable` in MatchedReadings, if the record has not all columns; one
that holds tables of the user, by `matched_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fleet.delivery.batch import Row
from fleet.delivery.compare.delivered import chunked
from fleet.delivery.compare.matching import RECEIVED_COLUMN, MatchedReadings, UserTable, sqlite_value
from fleet.delivery.records.record import Document, Record


class DocumentTable:
    """The documents of a target as a UserTable. `documents` yields them in their order, if `ordered` in that of arrival."""

    def __init__(
        self,
        name: str,
        documents: Callable[[], Iterator[Document]],
        record: Record,
        sensor: str | None = None,
        *,
        ordered: bool = True,
    ) -> None:
        self.name, self.ordered = name, ordered
        self.columns = record.columns or ()
        self._documents, self._record, self._sensor = documents, record, sensor

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        for documents in chunked(self._documents()):
            readings = map(self._record.reading, documents)
            yield [
                tuple(reading.get(name) for name in columns)
                for reading in readings
                if self._sensor in (None, reading.get("sensor_id"))
            ]

    def close(self) -> None:
        """Do nothing: the documents are opened when they are read."""


def matched_table(table: UserTable, record: Record, sensor: str | None) -> MatchedReadings:
    """Return the rows of a table as DeliveredReadings. Its columns are those of a reading, or the fields of a record that has
    not all of these."""
    return MatchedReadings(table if record.columns is None else RecordTable(table, record, sensor))


class RecordTable:
    """A table of the user whose columns are fields of a record, as a UserTable with columns of a reading."""

    def __init__(self, table: UserTable, record: Record, sensor: str | None) -> None:
        self.name, self.ordered = table.name, table.ordered
        self._table, self._record, self._sensor = table, record, sensor
        received = [RECEIVED_COLUMN] if RECEIVED_COLUMN in table.columns else []
        self.columns = (*record.reading(dict.fromkeys(table.columns)), *received)

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        names = self._table.columns
        for rows in self._table.rows(names):
            documents = [dict(zip(names, map(sqlite_value, row), strict=True)) for row in rows]
            readings = [
                {**self._record.reading(document), RECEIVED_COLUMN: document.get(RECEIVED_COLUMN)}
                for document in documents
            ]
            yield [
                tuple(reading.get(name) for name in columns)
                for reading in readings
                if self._sensor in (None, reading.get("sensor_id"))
            ]

    def close(self) -> None:
        self._table.close()
