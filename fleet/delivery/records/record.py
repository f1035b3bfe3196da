"""The interface of a record, and the record `row`."""

from __future__ import annotations

from typing import Any, Protocol

from fleet.delivery.batch import Batch

Document = dict[str, Any]
"""A reading as an object of JSON."""


class Record(Protocol):
    """A shape of readings."""

    @property
    def name(self) -> str:
        """The name in configs and messages."""
        ...

    def documents(self, batch: Batch) -> list[Document]:
        """Return the readings of a batch in this shape, in their order."""
        ...


class RowRecord:
    """The columns of a reading under their names, with its `generation` and `key`; `synced`, a mark of the database, is left
    out."""

    name = "row"

    def documents(self, batch: Batch) -> list[Document]:
        documents: list[Document] = batch.documents()
        for document in documents:
            document.pop("synced", None)
        return documents


ROW: Record = RowRecord()
