"""A file of line protocol as a target: `influx:FILE`, compressed if its name ends with `.gz`.

Readings, episodes and epochs are points of the measurements that a server would have. Each reading is in the file once, as in
a file of JSON lines: a record beside it has the last id of each source that was written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from fleet.delivery.batch import Batch, Row
from fleet.delivery.columns import converted_or_same
from fleet.delivery.compare.delivered import DeliveredReadings, chunked, unreadable_error
from fleet.delivery.compare.matching import MatchedReadings
from fleet.delivery.json_documents import without_readings
from fleet.delivery.target import Receipt
from fleet.delivery.targets.influx.address import measurement_option, parse_options
from fleet.delivery.targets.influx.lines import (
    DEFAULT_MEASUREMENT,
    PRECISIONS,
    LineFormat,
    history_lines,
    reading_lines,
)
from fleet.delivery.targets.influx.parser import Point, parse_points
from fleet.delivery.targets.jsonl.appended_file import AppendedFile, translated_errors
from fleet.delivery.targets.jsonl.readings import open_lines
from fleet.delivery.targets.jsonl.target import delivered_ids, with_ids
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.errors import UserError
from fleet.escaping import escape_short

SCHEME = "influx:"
EXAMPLE = "influx:readings.lp, influx:readings.lp.gz, or influx://HOST/DATABASE for a server"
FILE_OPTIONS = ("precision", "measurement")


class InfluxFileTarget:
    """The file, open from the first delivery on. One process at a time delivers to it."""

    def __init__(self, path: Path, line_format: LineFormat) -> None:
        """UserError if there can be no file at the path."""
        if path.is_dir() or not path.parent.is_dir():
            reason = "is a folder" if path.is_dir() else f"{path.parent} is no folder"
            raise UserError(f"--to: {path}: {reason}: {EXAMPLE}")
        self._path, self._format = path.absolute(), line_format
        self.name = f"{SCHEME}{self._path}"
        self._lock = threading.Lock()
        self._file: AppendedFile | None = None

    @classmethod
    def open(cls, url: str, _options: TargetOptions) -> Self:
        return cls(*parse_url(url, "--to"))

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        path, line_format = parse_url(url, "--against")
        return MatchedReadings(LinesTable(path, options.table, line_format.precision, options.sensor))

    def deliver(self, batch: Batch) -> Receipt:
        history = history_lines(batch, self._format)
        with self._lock, translated_errors(self._path):
            file = self._opened()
            last_id, left_out = delivered_ids(file.memory, batch.source.key)
            known = {each for each in batch.ids if last_id is not None and each <= last_id and each not in left_out}
            new = reading_lines(without_readings(batch, dict.fromkeys(known, "")), self._format)
            if history or new.ids or new.rejected:
                memory = file.memory
                if new.ids or new.rejected:
                    left_out = (left_out | new.rejected.keys()) - set(new.ids)
                    newest = max(batch.ids[-1], last_id or batch.ids[-1])
                    memory = with_ids(memory, batch.source.key, newest, left_out)
                file.append("".join(f"{line}\n" for line in (*history, *new.lines)).encode(), memory)
        return Receipt(frozenset(batch.ids) - new.rejected.keys(), len(known), new.rejected)

    def cursor(self, source: str) -> int:
        with self._lock, translated_errors(self._path):
            return delivered_ids(self._opened().memory, source)[0] or 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> AppendedFile:
        if self._file is None:
            self._file = AppendedFile(self._path)
        return self._file


class LinesTable:
    """The points of one measurement in a file."""

    ordered = True

    def __init__(self, path: Path, measurement: str | None, precision: str, sensor: str | None) -> None:
        """UserError if there is no such file, or no such measurement in it."""
        self.name = f"{SCHEME}{path}"
        if not path.is_file():
            raise UserError(f"--against: {self.name}: there is no such file")
        self._path, self._sensor = path, sensor
        self._measurement = measurement or DEFAULT_MEASUREMENT
        self._unit = PRECISIONS[precision]
        names = {name for point in self._points() for name in point.values}
        if not names:
            raise UserError(f"--against: {self.name} has no points of {self._measurement!a}")
        self.columns = ("timestamp", *sorted(names))

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        yield from chunked(self._rows(columns))

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def _rows(self, columns: Sequence[str]) -> Iterator[Row]:
        for point in self._points():
            point.values["timestamp"] = point.time * self._unit // 1000
            yield tuple(converted_or_same(name, point.values.get(name)) for name in columns)

    def _points(self) -> Iterator[Point]:
        try:
            with open_lines(self._path) as lines:
                for point in parse_points(line.decode() for line in lines):
                    ours = point.measurement == self._measurement
                    if ours and self._sensor in (None, point.values.get("sensor_id")):
                        yield point
        except (OSError, EOFError, ValueError) as error:  # a damaged file
            raise unreadable_error(self._path, error) from error


def parse_url(url: str, option: str) -> tuple[Path, LineFormat]:
    """Parse `influx:FILE[?OPTIONS]`. UserError if there is no file in it."""
    name, _, query = url.removeprefix(SCHEME).partition("?")
    if not name:
        raise UserError(f"{option}: {escape_short(url)!r} names no file: {EXAMPLE}")
    options = parse_options(query, option, FILE_OPTIONS)
    return Path(name), LineFormat(measurement_option(options, option), options.get("precision", "ns"))
