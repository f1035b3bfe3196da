"""The queries that README and docs show, for a sensor's database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import apsw

from fleet.catalogue.catalogue import load_catalogue

ROOT = Path(__file__).resolve().parents[2]

FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    (?:SELECT|WITH) .*?;$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r'"(SELECT [^"]+)"')

OTHER_SYSTEMS = ("read_parquet", " time >=", "ADD COLUMN time", "::timestamptz", "reading_time")
"""Parts of the queries for DuckDB and PostgreSQL."""

CENTRAL = "r.source = "
"""A part of the queries for a central database."""


class Query(NamedTuple):
    """`line` counts the lines of the page from 1. `central`: for a central database."""

    page: str
    line: int
    sql: str
    central: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


def queries() -> list[Query]:
    """In the order of the pages: blocks of SQL, queries in snippets of other languages, and indented ones."""
    return [query for page in pages() for query in page_queries(page)]


def page_queries(page: Path) -> list[Query]:
    text = page.read_text(encoding="utf-8")
    found: list[tuple[int, str]] = []
    for fence in FENCE.finditer(text):
        pattern = re.compile(r"[^;]+;") if fence[1] == "sql" else QUOTED
        found += [
            (fence.start(2) + match.start(match.lastindex or 0), match[match.lastindex or 0])
            for match in pattern.finditer(fence[2])
        ]
    found += [(match.start(), match[0]) for match in INDENTED.finditer(text)]
    name = page.relative_to(ROOT).as_posix()
    return [
        Query(name, text.count("\n", 0, start) + 1 + leading_lines(sql), sql.strip(), CENTRAL in sql)
        for start, sql in sorted(found)
        if not any(part in sql for part in OTHER_SYSTEMS)
    ]


def leading_lines(sql: str) -> int:
    return len(sql) - len(sql.lstrip("\n"))


def add_columns_of_all_kinds(connection: apsw.Connection) -> None:
    """Add the further columns of all packaged kinds of sensor to `sensor_readings`, which some queries name."""
    there = {str(row[1]) for row in connection.execute("PRAGMA table_info(sensor_readings)")}
    kinds = load_catalogue().types.values()
    for name, column_type in dict(column for kind in kinds for column in kind.entry.columns()).items():
        if name not in there:
            connection.execute(f'ALTER TABLE sensor_readings ADD COLUMN "{name}" {column_type}')
