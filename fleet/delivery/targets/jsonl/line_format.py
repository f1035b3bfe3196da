"""The formats of files of readings, a line or a few for each: the interface, and lines of JSON.

To add one, see `fleet.delivery.targets.csv`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Protocol

import orjson

from fleet.delivery.batch import Batch
from fleet.delivery.json_documents import dump_json, unserializable
from fleet.delivery.records.record import Document

LEGIBLE_FIELD, MAX_LEGIBLE_BYTES = re.compile(r'"(sensor_id|timestamp)":"([^"]*)"'), 10_000
"""The fields that are looked for in a line that is no JSON, and in how much of it."""

Header = list[str] | None
"""The names of the fields, in a format that has them at the beginning of a file."""


class LineFormat(Protocol):
    """A format. A file is the concatenation of what `dump` returns."""

    @property
    def scheme(self) -> str:
        """The scheme of its URLs, which usually is the suffix of its files."""
        ...

    def unwritable(self, batch: Batch) -> dict[int, str]:
        """Return the readings that the format cannot represent, by id, with the reason."""
        ...

    def dump(self, documents: Sequence[Document], header: Header) -> tuple[bytes, Header]:
        """Return the lines for the documents, and the header of the file. `header` is None at its beginning. ValueError if a
        document cannot be represented."""
        ...

    def load(self, lines: BinaryIO, *, damaged: bool = False) -> Iterator[Document]:
        """Read the documents of a file. ValueError, which begins with the line, for a damaged one; with `damaged`, of such a line
        the fields are read that are legible, if the format can."""
        ...


class JsonLines:
    """A document in each line."""

    scheme = "jsonl"

    def unwritable(self, batch: Batch) -> dict[int, str]:
        return unserializable(batch)

    def dump(self, documents: Sequence[Document], header: Header) -> tuple[bytes, Header]:
        return b"".join(dump_json(document) + b"\n" for document in documents), header

    def load(self, lines: BinaryIO, *, damaged: bool = False) -> Iterator[Document]:
        number = 0
        try:
            for number, line in enumerate(lines, 1):  # noqa: B007 - for the message
                document = legible_fields(line) if damaged else orjson.loads(line)
                if not isinstance(document, dict):
                    raise ValueError("is no object")
                yield document
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


def legible_fields(line: bytes) -> Any:
    """Return the content of a line; of one that is no JSON, the sensor and the time if they can be found."""
    try:
        return orjson.loads(line)
    except ValueError:
        return dict(LEGIBLE_FIELD.findall(line[:MAX_LEGIBLE_BYTES].decode(errors="replace")))


JSON_LINES: LineFormat = JsonLines()
