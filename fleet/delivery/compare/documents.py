"""Documents of a record as DeliveredReadings: the rows of a table whose columns are those of the record.

A target that holds documents has them compared by `DocumentTable` in MatchedReadings, if the record has not all columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from fleet.delivery.batch import Row
from fleet.delivery.compare.delivered import chunked
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
