"""The format of CSV files, from which each value can be read back with its type.

A text stands in quotes, a number does not, and NULL is an empty field; `""` is the empty text. The header is made from the
first documents of a file. A later field that it lacks is in the last column, `extra`, as an object of JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from fleet.delivery.batch import Batch
from fleet.delivery.columns import text_error
from fleet.delivery.json_documents import dump_json
from fleet.delivery.records.record import Document
from fleet.delivery.targets.jsonl.line_format import Header, LineFormat

EXTRA_FIELD = "extra"
FIELD = re.compile(r'(?:^|,)("(?:[^"]|"")*"|[^",]*)([^,]*)')
"""A field, and what does not belong behind it."""

PLAIN_NAME = re.compile(r"[^\",\r\n]+")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
WORDS = {"": None, "true": True, "false": False}


class CsvFormat:
    """A header, and a row for each document."""

    scheme = "csv"

    def unwritable(self, batch: Batch) -> dict[int, str]:
        reasons = {
            number: "seq: is missing" for number, seq in zip(batch.ids, batch.key_numbers, strict=True) if seq is None
        }
        # Without rows there are no columns.
        for name, values in zip(batch.source.columns, zip(*batch.rows, strict=True), strict=False):
            for value in {value for value in values if isinstance(value, str | bytes)}:
                reason = text_error(value, nul=True) if isinstance(value, str) else "is binary data, which is no text"
                if reason is not None:
                    reasons |= {
                        number: f"{name}: {reason}"
                        for number, other in zip(batch.ids, values, strict=True)
                        if other == value
                    }
        return reasons

    def dump(self, documents: Sequence[Document], header: Header) -> tuple[bytes, Header]:
        if not documents:
            return b"", header
        names = header or [
            *dict.fromkeys(name for document in documents for name in document if name != EXTRA_FIELD),
            EXTRA_FIELD,
        ]
        rows = [] if header else [",".join(map(name_text, names))]
        known = frozenset(names[:-1])
        for document in documents:
            extra = {name: value for name, value in document.items() if name not in known and value is not None}
            cells = [field_text(document.get(name)) for name in names[:-1]]
            rows.append(",".join((*cells, field_text(extra or None))))
        return ("\n".join(rows) + "\n").encode(), names

    def load(self, lines: BinaryIO, *, damaged: bool = False) -> Iterator[Document]:
        names: list[str] | None = None
        number = 0
        try:
            for number, row in table_rows(lines):  # noqa: B007 - for the message
                fields = split_row(row.decode())
                if names is None:
                    names = [unquoted(field) for field in fields]
                    continue
                if len(fields) != len(names):
                    raise ValueError(f"has {len(fields)} fields, the header has {len(names)}")
                document = dict(zip(names, map(parse_field, fields), strict=True))
                extra = document.pop(EXTRA_FIELD, None)
                yield document | (json.loads(extra) if extra else {})
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


CSV: LineFormat = CsvFormat()


def name_text(name: str) -> str:
    return name if PLAIN_NAME.fullmatch(name) else quoted_text(name)


def quoted_text(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def field_text(value: Any) -> str:
    """Return a value of JSON as a field; a list or an object is a text of JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return quoted_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, int | float) else quoted_text(dump_json(value).decode())


def unquoted(field: str) -> str:
    return field[1:-1].replace('""', '"') if field.startswith('"') else field


def parse_field(field: str) -> Any:
    """Return the value of a field. Text of other programs may lack its quotes, if it is no number."""
    if field.startswith('"'):
        return unquoted(field)
    if field in WORDS:
        return WORDS[field]
    if WHOLE_NUMBER.fullmatch(field):
        return int(field)
    try:
        return float(field)
    except ValueError:
        return field


def table_rows(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Read the rows, each with the number of its last line: a text may go over several lines."""
    number, pending = 0, b""
    for number, line in enumerate(lines, 1):
        pending += line
        if pending.count(b'"') % 2 == 0:
            yield number, pending
            pending = b""
    if pending:
        yield number, pending


def split_row(row: str) -> list[str]:
    """Split a row into its fields, with their quotes. ValueError if it is damaged."""
    pairs = FIELD.findall(row.removesuffix("\n").removesuffix("\r"))
    if any(behind for _, behind in pairs):
        raise ValueError("has something beside the quotes of a text")
    return [field for field, _ in pairs]
