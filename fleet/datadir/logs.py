"""The log of a fleet: its files, which many processes write, and the worker that each line is about.

One process renames files that are full, and the others follow (`worker.log.LogFile`).
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fleet import atomic_write
from fleet.datadir.directory import DataDirectory, local_log
from fleet.datadir.ownership import foreign_link
from fleet.errors import UserError
from worker.log import JSON_FORMAT, LogSpec

LOG_SPEC_FILE = "log.json"
"""Records where the log is and its format, for `fleet logs`."""

FORMAT_FIELD = re.compile(r"%\((\w+)\)[^a-zA-Z]*[a-zA-Z]")
FIELD_PATTERNS = {
    "name": r"(?P<name>[^:\s]+)",
    "message": r"(?P<message>.*)",
    "asctime": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}",
}
"""The text that a field of a log format stands for; any text for fields that are not listed."""

TAIL_BYTES = 512 * 1024
MAX_LINE_LENGTH = 500


# Files


class LogRotation:
    """Rotate the log when called. A log of more than `max_bytes` is renamed to `NAME.1`, that to `NAME.2`, and so on
    up to `keep` older files; with `keep` 0 it is deleted. A file that cannot be renamed grows on."""

    def __init__(self, path: Path, max_bytes: float, keep: int) -> None:
        self._path, self._max_bytes, self._keep = path, max_bytes, keep

    def __call__(self) -> None:
        try:
            if self._path.stat().st_size > self._max_bytes:
                self._rotate()
        except OSError:
            return

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            if rotated_path(self._path, number).exists():
                os.replace(rotated_path(self._path, number), rotated_path(self._path, number + 1))
        if self._keep:
            os.replace(self._path, rotated_path(self._path, 1))
        else:
            self._path.unlink()
        self._path.touch()  # readers must find a file before the next line is written


def rotated_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def rotated_files(path: Path) -> Sequence[Path]:
    """Return the older files of the log, oldest first."""
    found: list[Path] = []
    while rotated_path(path, len(found) + 1).exists():
        found.append(rotated_path(path, len(found) + 1))
    return found[::-1]


def prepare_log(log: LogSpec, directory: DataDirectory) -> None:
    """Create the log and its folder, and record where it is. Raises OSError."""
    log.path.parent.mkdir(parents=True, exist_ok=True)
    log.path.open("a").close()
    atomic_write.replace_file(directory.run / LOG_SPEC_FILE, log.to_json())


def read_log_spec(directory: DataDirectory) -> LogSpec:
    """Return the log of the last run, or the default one if none is on record. It is in the directory, whatever path is
    on record. Raises UserError."""
    path = directory.run / LOG_SPEC_FILE
    try:
        refuse_foreign_link(path)
        spec = LogSpec.from_json(path.read_text())
        spec = replace(spec, path=local_log(directory.path, spec.path))
        refuse_foreign_link(spec.path)
        return spec
    except (FileNotFoundError, NotADirectoryError):
        refuse_foreign_link(directory.log)
        return LogSpec(directory.log)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def refuse_foreign_link(path: Path) -> None:
    if reason := foreign_link(path):
        raise UserError(f"{path}: {reason}: not followed")


# Lines


def lines_of_worker(worker: str, log_format: str) -> Callable[[str], bool]:
    """Return a predicate that says of each line in turn, of a log in that format, whether it belongs to the worker."""
    worker_in_line = worker_in_json_line if log_format == JSON_FORMAT else worker_in_format(log_format)
    current = ""

    def belongs(line: str) -> bool:
        nonlocal current
        current = worker_in_line(line) or current  # a traceback follows its line
        return current == worker

    return belongs


def tail_lines(path: Path, wanted: Callable[[str], bool], count: int) -> list[str]:
    """Return the last `count` wanted lines of the last half megabyte; none if the log cannot be read."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(size - TAIL_BYTES, 0))
            lines = log.read(TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []
    if size > TAIL_BYTES:
        lines = lines[1:]  # the first one is cut in two
    return [line[:MAX_LINE_LENGTH] for line in deque(filter(wanted, lines), maxlen=count)]


def worker_in_json_line(line: str) -> str | None:
    try:
        record = json.loads(line)
        return worker_of(str(record["logger"]), str(record["message"]))
    except (ValueError, TypeError, KeyError):
        return None


def worker_in_format(log_format: str) -> Callable[[str], str | None]:
    """Return a function that gives the worker of a line in that format, None for a further line of a message."""
    parts = FORMAT_FIELD.split(log_format)
    patterns = [FIELD_PATTERNS.get(part, ".*?") if number % 2 else re.escape(part) for number, part in enumerate(parts)]
    head = re.compile("".join(patterns))

    def worker_in_line(line: str) -> str | None:
        found = head.match(line)
        named = found.groupdict() if found else {}
        return worker_of(named.get("name", ""), named.get("message", "")) if found else None

    return worker_in_line


def worker_of(logger: str, message: str) -> str:
    """Return the worker that a message is about: the supervisor and databases begin their messages with its name."""
    return message.partition(":")[0] if logger in ("supervisor", "database", "") else logger
