"""The log of a fleet: one file that all its processes append to, a line at a time, and that may be rotated.

Only the supervisor's process rotates it (`fleet.datadir.log_files`). The others notice by the inode that the file was
renamed, and open the new one. There are no locks, and no line is lost or torn.
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
"""The format of one JSON object per line."""


@dataclass(frozen=True, slots=True)
class LogSpec:
    """The log file, the lowest level that is written, and the format: one of `logging`, or JSON_FORMAT."""

    path: Path
    level: str = "INFO"
    format: str = DEFAULT_FORMAT

    def to_json(self) -> str:
        """Return the spec as text for `from_json`."""
        return json.dumps([str(self.path), self.level, self.format])

    @classmethod
    def from_json(cls, text: str) -> LogSpec:
        """Read what `to_json` wrote. Raises ValueError or TypeError for anything else."""
        path, level, form = json.loads(text)
        return cls(Path(path), str(level), str(form))


class LogFile(logging.FileHandler):
    """A handler that appends to a file by its name: if another process has renamed the file, to the new one."""

    def emit(self, record: logging.LogRecord) -> None:
        if not self._in_place():
            self.reopen()
        super().emit(record)

    def reopen(self) -> None:
        """Open the file by its name. If that fails, keep the old one.

        The old descriptor is closed last: `faulthandler` writes to it, and its number may become a database's.
        """
        try:
            new = self._open()
        except OSError:
            return
        old, self.stream = self.stream, new
        if faulthandler.is_enabled():
            faulthandler.enable(new)
        if old:
            old.close()

    def _in_place(self) -> bool:
        try:
            assert self.stream  # it was opened without `delay`
            named, opened = Path(self.baseFilename).stat(), os.fstat(self.stream.fileno())
        except OSError:
            return False
        return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)


class JsonFormatter(logging.Formatter):
    """A formatter of JSON lines: time (UTC), level, logger, message, pid, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if record.exc_info and record.exc_info[1]:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(fields, ensure_ascii=False)


def make_formatter(form: str) -> logging.Formatter:
    """Make a formatter. Raises ValueError for an invalid format."""
    return JsonFormatter() if form == JSON_FORMAT else logging.Formatter(form)


def format_sample_line(form: str) -> str:
    """Format an example line. Raises ValueError, KeyError or TypeError for an invalid format."""
    record = logging.LogRecord("supervisor", logging.INFO, "", 0, "%s", ("a message",), None)
    return make_formatter(form).format(record)


def configure_logging(spec: LogSpec) -> None:
    """Make this process log to a file, and nowhere else. Raises OSError if the file cannot be opened."""
    handler = LogFile(spec.path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(make_formatter(spec.format))
    logging.basicConfig(level=spec.level, handlers=[handler], force=True)


def log_streams() -> Sequence[IO[str]]:
    """Return the open log files of this process."""
    return [
        handler.stream
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.FileHandler) and handler.stream
    ]
