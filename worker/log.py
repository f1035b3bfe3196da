"""The one log of a fleet, written by all its processes: a line at a time, appended, in a file that may be rotated.

Only the supervisor's process rotates it (`fleet/log_rotation.py`): every other sees by the inode that the file was
renamed, and opens the new one. Nobody holds a lock, and no line is lost or torn.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

DEFAULT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JSON_FORMAT = "json"
"""Stands for a format of one JSON object a line."""


@dataclass(frozen=True, slots=True)
class LogSpec:
    """Where the log is, from which level on, and in which format: one of `logging`, or JSON_FORMAT."""

    path: Path
    level: str = "INFO"
    format: str = DEFAULT_FORMAT

    def to_json(self) -> str:
        return json.dumps([str(self.path), self.level, self.format])

    @classmethod
    def from_json(cls, text: str) -> LogSpec:
        """What was to_json. ValueError or TypeError if it was not."""
        path, level, form = json.loads(text)
        return cls(Path(path), str(level), str(form))


class LogFile(logging.FileHandler):
    """Appends to a file by its name: when another process has renamed it, to the one that has its place."""

    def emit(self, record: logging.LogRecord) -> None:
        if not self._in_place():
            self.reopen()
        super().emit(record)

    def reopen(self) -> None:
        """The old descriptor is closed last: fatal errors are told to it, and its number may become a database's."""
        try:
            new = self._open()
        except OSError:  # better in the old file than nowhere
            return
        old, self.stream = self.stream, new
        if faulthandler.is_enabled():
            faulthandler.enable(new)
        if old:
            old.close()

    def _in_place(self) -> bool:
        try:
            assert self.stream  # opened at once, as nobody asked for a delay
            there, here = Path(self.baseFilename).stat(), os.fstat(self.stream.fileno())
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, pid, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info and record.exc_info[1]:
            told["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(told, ensure_ascii=False)


def make_formatter(form: str) -> logging.Formatter:
    """ValueError if it is no format."""
    return JsonFormatter() if form == JSON_FORMAT else logging.Formatter(form)


def format_sample_line(form: str) -> str:
    """A line in that format. ValueError, KeyError or TypeError if it is none."""
    record = logging.LogRecord("supervisor", logging.INFO, "", 0, "%s", ("a message",), None)
    return make_formatter(form).format(record)


def configure_logging(spec: LogSpec) -> None:
    """Have this process log there, and nowhere else. OSError if the file cannot be opened."""
    handler = LogFile(spec.path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(make_formatter(spec.format))
    logging.basicConfig(level=spec.level, handlers=[handler], force=True)


def log_streams() -> Sequence[IO[str]]:
    """The open files of the log of this process."""
    return [
        handler.stream
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.FileHandler) and handler.stream
    ]
