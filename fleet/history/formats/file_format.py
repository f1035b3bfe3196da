"""What a format of files must have, and how a file gets its name when it is whole."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal, get_args

from fleet.history.table import ReadingSchema, ReadingTable, concatenated
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray

TimeFormat = Literal["text", "timestamp", "s", "ms", "us"]
"""How times are written: as in a database, in the type that a format has for times, or as a number since 1970. Milliseconds and
microseconds are whole numbers, milliseconds rounded down; seconds have a fraction."""

TIME_FORMATS: tuple[TimeFormat, ...] = get_args(TimeFormat)


class TableWriter(ABC):
    """Writes tables of readings to an open file. The columns are those of `schema`; further ones of a table are left out, and
    those that it lacks are NULL. The same tables make the same bytes, however they are cut."""

    def __init__(self, file: IO[bytes], schema: ReadingSchema, times: TimeFormat) -> None:
        self.file, self.schema, self.times = file, schema, times

    @abstractmethod
    def write(self, table: ReadingTable) -> None:
        """Write readings behind those before."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left. The file stays open."""


class GroupWriter(TableWriter):
    """Writes groups of `rows_per_group` rows, however the tables are cut."""

    rows_per_group: int

    def __init__(self, file: IO[bytes], schema: ReadingSchema, times: TimeFormat) -> None:
        super().__init__(file, schema, times)
        self._tables: list[ReadingTable] = []
        self._rows = 0

    @abstractmethod
    def write_group(self, table: ReadingTable) -> None:
        """Write a group."""

    @abstractmethod
    def close(self) -> None:
        """Write what stands behind the groups."""

    def write(self, table: ReadingTable) -> None:
        begin = 0
        while begin < len(table):
            end = min(len(table), begin + self.rows_per_group - self._rows)
            self._tables.append(table.chosen(slice(begin, end)))
            self._rows += end - begin
            begin = end
            if self._rows == self.rows_per_group:
                self._write_group()

    def finish(self) -> None:
        if self._rows:
            self._write_group()
        self.close()

    def _write_group(self) -> None:
        self.write_group(concatenated(self._tables))
        self._tables, self._rows = [], 0


def time_numbers(values: IntArray, times: TimeFormat) -> IntArray | FloatArray:
    """Return times as numbers: microseconds unless another unit is asked for."""
    if times == "s":
        return values / 1_000_000
    return values // 1000 if times == "ms" else values


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing under another name; it gets its own when the block ends, and does not if that raises."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # not there if all went well
