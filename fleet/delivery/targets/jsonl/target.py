"""A file of readings as a target: `jsonl:FILE`, compressed if its name ends with `.gz`; `csv:FILE` is another format of it.

Each reading is a line, or a few. Episodes and epochs are lines of a second file, where a later line replaces an earlier one of the same
table, source, sensor and first_seq. Each reading is in the file once: the readings of a source arrive in the order of their
ids, and the record beside the file has the last one that was written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from fleet.delivery.batch import Batch
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.json_documents import history_documents, without_readings
from fleet.delivery.records.record import ROW, Document, Record
from fleet.delivery.target import BatchRejected, Receipt, Target
from fleet.delivery.targets.jsonl.appended_file import OF_PART, AppendedFile, FileUnusable, translated_errors
from fleet.delivery.targets.jsonl.line_format import JSON_LINES, LineFormat
from fleet.delivery.targets.jsonl.readings import FileReadings, history_path, read_documents
from fleet.delivery.targets.jsonl.rotation import NO_ROTATION, Rotation, parse_rotation
from fleet.delivery.targets.jsonl.standard_output import StandardOutput
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions, utc_now
from fleet.delivery.targets.url_options import split_options
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.standard_output import is_standard_output

DELIVERED, LEFT_OUT = "delivered", "left_out"
"""In the record of the file: the last id of each source that was written, and the ids up to it that its format cannot
represent."""
HEADER, BEGUN = "header", "begun"
"""In the record, of each part: the fields of its header, and the time of its first line (seconds since 1970)."""

ROTATE = "rotate"


class FileTarget:
    """The files, open from the first delivery on. One process at a time delivers to them."""

    format: ClassVar[LineFormat]

    def __init__(
        self,
        path: Path,
        record: Record = ROW,
        rotation: Rotation = NO_ROTATION,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """UserError if there can be no file at the path."""
        if path.is_dir() or not path.parent.is_dir():
            reason = "is a folder" if path.is_dir() else f"{path.parent} is no folder"
            raise UserError(f"--to: {path}: {reason}: {example(self.format)}")
        self._path, self._record, self._rotation, self._now = path.absolute(), record, rotation, now
        self.name = f"{self.format.scheme}:{self._path}"
        self._lock = threading.Lock()
        self._opened: tuple[AppendedFile, AppendedFile] | None = None

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Target:
        if is_standard_output(url):
            return StandardOutput(cls.format, options.record)
        path, chosen = path_and_options(url, "--to", cls.format)
        rotation = parse_rotation(chosen[ROTATE], f"--to: {ROTATE}") if ROTATE in chosen else NO_ROTATION
        return cls(path, options.record, rotation, options.now)

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        if options.table is not None:
            raise UserError("--table: a file of readings has no tables; sqlite: and postgresql: have")
        path, _ = path_and_options(url, "--against", cls.format)
        return read_documents(FileReadings(path, cls.format, options), options)

    def deliver(self, batch: Batch) -> Receipt:
        rejected = self.format.unwritable(batch)
        history = self._history(batch)
        with self._lock, translated_errors(self._path):
            readings_file, history_file = self._files()
            if history:
                self._append(history_file, history, history_file.memory)
            self._rotate_if_due(readings_file)
            if batch.again:
                again = self._record.documents(without_readings(batch, rejected))
                self._append(readings_file, again, readings_file.memory)
                return Receipt(frozenset(batch.ids) - rejected.keys(), 0, rejected)
            last_id, left_out = delivered_ids(readings_file.memory, batch.source.key)
            known = {each for each in batch.ids if last_id is not None and each <= last_id and each not in left_out}
            new = without_readings(batch, dict.fromkeys(known, "") | rejected)
            if new.rows or rejected or batch.held:
                left_out = (left_out | rejected.keys() | batch.held) - set(new.ids)
                last_ids = (*batch.ids, *batch.held, *(() if last_id is None else (last_id,)))
                memory = with_ids(readings_file.memory, batch.source.key, max(last_ids), left_out)
                self._append(readings_file, self._record.documents(new), memory)
                self._rotate_if_due(readings_file)
        return Receipt(frozenset(batch.ids) - rejected.keys(), len(known - rejected.keys()), rejected)

    def _history(self, batch: Batch) -> list[Document]:
        return [
            {"table": table, **document}
            for table, rows in (("anomaly_episodes", batch.episodes), ("epochs", batch.epochs))
            for document in history_documents(table, rows, batch)
        ]

    def _append(self, file: AppendedFile, documents: list[Document], memory: dict[str, Any]) -> None:
        part = memory.get(OF_PART, {})
        try:
            lines, header = self.format.dump(documents, part.get(HEADER))
        except ValueError as error:
            raise BatchRejected(f"{self.name}: {error}") from error
        begun = part.get(BEGUN) or self._now().timestamp()
        file.append(lines, memory | {OF_PART: {BEGUN: begun} | ({HEADER: header} if header else {})})

    def _rotate_if_due(self, file: AppendedFile) -> None:
        begun = file.memory.get(OF_PART, {}).get(BEGUN)
        old = begun is not None and self._now().timestamp() >= begun + self._rotation.age
        if file.length and (old or file.length >= self._rotation.size):
            try:
                file.rotate()
            except (OSError, FileUnusable):
                self.close()  # its opening finishes what has begun
                raise

    def write_held(self, *, everything: bool) -> None:
        """Rotate the file if it is old enough. Raises DeliveryFailed."""
        with self._lock, translated_errors(self._path):
            if self._opened is not None:
                self._rotate_if_due(self._opened[0])

    def cursor(self, source: str) -> int:
        with self._lock, translated_errors(self._path):
            return delivered_ids(self._files()[0].memory, source)[0] or 0

    def close(self) -> None:
        for file in self._opened or ():
            file.close()
        self._opened = None

    def _files(self) -> tuple[AppendedFile, AppendedFile]:
        if self._opened is None:
            readings_file = AppendedFile(self._path)
            try:
                self._opened = readings_file, AppendedFile(history_path(self._path))
            except (OSError, FileUnusable):
                readings_file.close()
                raise
        return self._opened


class JsonLinesTarget(FileTarget):
    """A file with a line of JSON for each reading."""

    format = JSON_LINES


def example(line_format: LineFormat) -> str:
    name = f"{line_format.scheme}:readings.{line_format.scheme}"
    return f"{name}, {name}.gz, or {line_format.scheme}:- for standard output"


def path_and_options(url: str, origin: str, line_format: LineFormat) -> tuple[Path, dict[str, str]]:
    """Return the file that a URL names, and the options. UserError, naming `origin`, if it names none."""
    if is_standard_output(url):
        raise UserError(f"{origin}: {url} cannot be read back: name the file that it was written to")
    name, options = split_options(url.removeprefix(f"{line_format.scheme}:"), origin, (ROTATE,))
    if not name:
        raise UserError(f"{origin}: {escape_short(url)!r} names no file: {example(line_format)}")
    return Path(name), options


def delivered_ids(memory: dict[str, Any], source: str) -> tuple[int | None, set[int]]:
    """Return the last id of a source that is in the file, None if none is, and the ids up to it that are not."""
    return memory.get(DELIVERED, {}).get(source), set(memory.get(LEFT_OUT, {}).get(source, ()))


def with_ids(memory: dict[str, Any], source: str, last_id: int, left_out: set[int]) -> dict[str, Any]:
    """Return the memory with other ids of a source."""
    others = {key: ids for key, ids in memory.get(LEFT_OUT, {}).items() if key != source}
    return memory | {
        DELIVERED: memory.get(DELIVERED, {}) | {source: last_id},
        LEFT_OUT: others | ({source: sorted(left_out)} if left_out else {}),
    }
