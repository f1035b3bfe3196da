"""Lines of JSON, an object for each reading."""

from __future__ import annotations

import json

from fleet.history.formats.file_format import TimeFormat
from fleet.history.formats.text_rows import TextWriter

SUFFIX = ".jsonl"
DEFAULT_TIMES: TimeFormat = "text"
MEDIA_TYPE = "application/x-ndjson"


class Writer(TextWriter):
    """Writes the lines of a table."""

    null = "null"
    end = "}\n"

    def before(self, number: int, name: str) -> str:
        return f"{',' if number else '{'}{json.dumps(name, ensure_ascii=False)}:"

    def quoted(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=False)

    def time_quote(self) -> str:
        return '"'
