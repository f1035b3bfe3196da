"""A CSV file as a target: `csv:FILE`. The files and the guarantees are those of `jsonl:FILE`."""

from __future__ import annotations

from fleet.delivery.batch import Batch
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.records.record import Document
from fleet.delivery.targets.csv.format import CSV
from fleet.delivery.targets.jsonl.target import FileTarget

HISTORY_FIELDS = tuple(dict.fromkeys(("table", *EPISODE_COLUMNS, *EPOCH_COLUMNS, "generation")))


class CsvTarget(FileTarget):
    """A file with a header, and a row for each reading."""

    format = CSV

    def _history(self, batch: Batch) -> list[Document]:
        return [dict.fromkeys(HISTORY_FIELDS) | document for document in super()._history(batch)]
