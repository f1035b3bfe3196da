"""The interface of a record, and the record `row`.

To add a record: a file beside `configs/records/pipeline.yaml`, or a class with the methods of `Record` and its line in
`fleet.delivery.records.registry`.
"""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from fleet.delivery.batch import Batch, Value

Document = dict[str, Any]
"""A reading as an object of JSON."""


class Record(Protocol):
    """A shape of readings."""

    @property
    def name(self) -> str:
        """The name in configs and messages."""
        ...

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns of a reading that are in it. None: all of them, with `generation` and `key`."""
        ...

    def documents(self, batch: Batch) -> list[Document]:
        """Return the readings of a batch in this shape, in their order. None of them is `unfit`."""
        ...

    def unfit(self, batch: Batch) -> dict[int, str]:
        """Return the reason for each reading that cannot have this shape, by id."""
        ...

    def reading(self, document: Document) -> Document:
        """Return the reading of a document of this shape in the shape of `row`; columns that are not in it are left out."""
        ...

    def read_back(self, column: str, value: Value) -> Value:
        """Return the value that `reading` finds in the document of a reading with this value: another one if the document is less
        exact."""
        ...


class RowRecord:
    """The columns of a reading under their names, with its `generation` and `key`; `synced`, a mark of the database, is left
    out."""

    name, columns = "row", None

    def documents(self, batch: Batch) -> list[Document]:
        documents: list[Document] = batch.documents()
        for document in documents:
            document.pop("synced", None)
        return documents

    def unfit(self, batch: Batch) -> dict[int, str]:
        """None of them: a row has all columns."""
        return {}

    def reading(self, document: Document) -> Document:
        return document

    def read_back(self, column: str, value: Value) -> Value:
        """The value itself."""
        return value


ROW: Record = RowRecord()


def as_object(value: object) -> Document | None:
    """Return an object in a document; in a file of tables it is a text of JSON. None if it is no object."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = orjson.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None
