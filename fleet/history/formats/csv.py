"""Comma-separated values as RFC 4180 has them, with a header; NULL is an empty field."""

from __future__ import annotations

from typing import IO

from fleet.history.formats.file_format import TimeFormat
from fleet.history.formats.text_rows import TextWriter
from fleet.history.table import ReadingSchema

SUFFIX = ".csv"
DEFAULT_TIMES: TimeFormat = "text"
MEDIA_TYPE = "text/csv"


class Writer(TextWriter):
    """Writes the rows of a table, the header first."""

    def __init__(self, file: IO[bytes], schema: ReadingSchema, times: TimeFormat) -> None:
        super().__init__(file, schema, times)
        file.write((",".join(map(quoted, schema)) + "\n").encode())

    def before(self, number: int, name: str) -> str:
        return "," if number else ""

    def quoted(self, text: str) -> str:
        return quoted(text)

    def time_quote(self) -> str:
        return ""


def quoted(text: str) -> str:
    """Return a field, in quotes where it must be: an empty text, too, as an empty field is NULL."""
    if text and not {*text} & {",", '"', "\n", "\r"}:
        return text
    return '"' + text.replace('"', '""') + '"'
