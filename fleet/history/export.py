"""An export: the readings of a data directory in files of another format, with tables and descriptions beside them.

It is made in a folder of another name, which gets its own when all files are whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from fleet.errors import UserError
from fleet.history.description import DATA_PACKAGE, FileDescription, Origin, write_descriptions
from fleet.history.export_jobs import OutputFile, WriteFile, run_jobs
from fleet.history.formats.file_format import TableWriter, TimeFormat, whole_file
from fleet.history.formats.registry import FormatName, file_format
from fleet.history.rows import Layout, RowOptions, sensor_rows, staged, wide_rows, wide_schema, with_count
from fleet.history.selection import (
    HistoryPart,
    Selection,
    channel_names,
    chosen_schema,
    full_schema,
    measured_names,
    parts_between,
    selected_parts,
    time_span,
)
from fleet.history.side_tables import side_tables, table_of_rows
from fleet.history.source import SensorHistory
from fleet.history.stages import COUNT_COLUMN, Holder
from fleet.history.table import ReadingSchema, ReadingTable
from worker.readings.attributes import AttributeColumn
from worker.schedule import SECOND_US, format_time

Split = Literal["all", "sensor", "day"]

DAY_US = 86_400 * SECOND_US
READINGS = "readings"
PLAIN_ROWS = RowOptions()
PARTIAL_SUFFIX = ".partial"

Progress = Callable[[int, int], None]
"""Takes the readings that are done, and those of all."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How an export is written. `times` is None for what the format has. `jobs` is the number of processes."""

    file_format: FormatName = "csv"
    layout: Layout = "long"
    split: Split = "all"
    times: TimeFormat | None = None
    rows: RowOptions = PLAIN_ROWS
    jobs: int = 1
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ExportResult:
    rows: int
    readings: int
    files: int
    sensors: int
    bytes: int


def export(
    histories: Sequence[SensorHistory],
    selection: Selection,
    options: ExportOptions,
    folder: Path,
    origin: str,
    on_progress: Progress = lambda _done, _total: None,
) -> ExportResult:
    """Write the selected readings to a new folder. `origin` says where they come from. UserError for what does not go."""
    chosen = file_format(options.file_format)  # an error before the work begins
    times = options.times or chosen.default_times
    parts = selected_parts(histories, selection)
    schema, content = row_content(parts, selection, options)
    files = output_files(parts, options.split, chosen.suffix)
    with new_folder(folder, overwrite=options.overwrite) as unfinished:
        if options.split != "all":
            (unfinished / READINGS).mkdir()
        write = ReadingsFile(unfinished, chosen.writer, schema, times, content)
        rows = run_jobs(files, write, options.jobs, on_progress)
        described = [
            FileDescription(
                each.name, READINGS, f"the readings{' of ' + each.title if each.title else ''}", schema, count
            )
            for each, count in zip(files, rows, strict=True)
        ]
        for table in side_tables(parts):
            listed = [row for part in parts for row in table.rows(part)]
            name = f"{table.name}{chosen.suffix}"
            with whole_file(unfinished / name) as file:
                writer = chosen.writer(file, table.schema, times)
                if listed:
                    writer.write(table_of_rows(table.schema, listed))
                writer.finish()
            described.append(FileDescription(name, table.name, table.title, table.schema, len(listed)))
        first, last = map(format_time, time_span(parts))
        described_origin = Origin(origin, first, last)
        write_descriptions(unfinished, described, parts, chosen, times, options.rows, described_origin)
        size = sum(path.stat().st_size for path in unfinished.rglob("*") if path.is_file())
    return ExportResult(sum(rows), sum(part.readings for part in parts), len(files), len(parts), size)


class RowContent:
    """The rows of files: what reads those of one part, and what makes those of a file of tables that were read elsewhere."""

    def __init__(self, schema: ReadingSchema, options: ExportOptions, names: Sequence[str]) -> None:
        self._schema, self._options, self._names = schema, options, names

    @property
    def wide(self) -> bool:
        return self._options.layout == "wide"

    def of_parts(self, parts: Sequence[HistoryPart]) -> Iterator[ReadingTable]:
        """Yield the rows of a file."""
        if self.wide:
            yield from wide_rows(parts, self._schema, self._names, self._options.rows)
        else:
            for part in parts:
                yield from sensor_rows(part, self._schema, self._options.rows)

    def stored(self, part: HistoryPart) -> Iterator[ReadingTable]:
        """Yield the readings of a part as they are."""
        keep = self._options.rows.missing != "omit"
        return part.history.tables(part.first, part.end, self._schema, keep_missing=keep)

    def of_tables(self, part: HistoryPart, tables: Iterator[ReadingTable]) -> Iterator[ReadingTable]:
        """Yield the rows that the readings of a part become."""
        return staged(part, tables, self._schema, self._options.rows, Holder(measured_names([part])))


def row_content(
    parts: Sequence[HistoryPart], selection: Selection, options: ExportOptions
) -> tuple[ReadingSchema, RowContent]:
    """Return the columns of the files, and what makes their rows."""
    schema = full_schema(parts)
    if options.layout == "wide":
        names = list(chosen_schema(schema, selection.columns))[2:] if selection.columns else channel_names(parts)
        return wide_schema(parts, schema, names), RowContent(schema, options, names)
    chosen = chosen_schema(schema, selection.columns)
    return with_count(chosen, options.rows), RowContent(chosen, options, ())


def output_files(parts: Sequence[HistoryPart], split: Split, suffix: str) -> list[OutputFile]:
    """Return the files and the readings of each."""
    if split == "all":
        return [OutputFile(f"{READINGS}{suffix}", "", tuple(parts))]
    if split == "sensor":
        return [
            OutputFile(f"{READINGS}/{quote(part.history.sensor_id, safe='')}{suffix}", part.history.sensor_id, (part,))
            for part in parts
        ]
    files = []
    first, last = time_span(parts)
    for day in range(first // DAY_US * DAY_US, last + 1, DAY_US):
        of_day = tuple(parts_between(parts, day, day + DAY_US))
        if of_day:
            date = format_time(day)[:10]
            files.append(OutputFile(f"{READINGS}/{date}{suffix}", date, of_day))
    return files


class ReadingsFile(WriteFile):
    """Writes one file of readings."""

    def __init__(
        self, folder: Path, writer: type[TableWriter], schema: ReadingSchema, times: TimeFormat, content: RowContent
    ) -> None:
        self._folder, self._writer, self._schema, self._times = folder, writer, schema, times
        self.content = content

    @property
    def divisible(self) -> bool:
        return not self.content.wide

    def read(self, part: HistoryPart) -> Iterator[ReadingTable]:
        return self.content.stored(part)

    def write(
        self,
        output: OutputFile,
        tables: Callable[[HistoryPart], Iterator[ReadingTable]] | None,
        done: Callable[[int], None],
    ) -> int:
        rows = 0
        if tables is None:
            content = self.content.of_parts(output.parts)
        else:
            content = (table for part in output.parts for table in self.content.of_tables(part, tables(part)))
        with whole_file(self._folder / output.name) as file:
            writer = self._writer(file, self._schema, self._times)
            for table in content:
                writer.write(table)
                rows += len(table)
                done(self._readings(table, output))
            writer.finish()
        return rows

    def _readings(self, table: ReadingTable, output: OutputFile) -> int:
        """Return how many readings became rows, about as many in wide ones."""
        counts = table.columns.get(COUNT_COLUMN)
        if counts is not None and not isinstance(counts, AttributeColumn):
            return int(counts.sum())
        return len(table) * (len(output.parts) if self.content.wide else 1)


@contextmanager
def new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Make a folder under another name, which it loses when the block ends. UserError if there is one of its name, unless that
    is an export and `overwrite` is set: it is replaced."""
    if folder.exists() and not overwrite:
        raise UserError(f"-o: {folder} exists already: give another folder, or --overwrite to replace an export")
    if folder.exists() and not (folder / DATA_PACKAGE).is_file():
        raise UserError(f"-o: {folder} is not an export, so it is not replaced: give another folder")
    unfinished = folder.with_name(f".{folder.name}{PARTIAL_SUFFIX}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    except OSError as error:
        raise UserError(f"-o: {folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)  # not there if all went well
