"""The files of a log that many processes write. One process renames those that are full, and the others follow
(`worker.log.LogFile`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fleet import atomic_write
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from worker.log import LogSpec

LOG_SPEC_FILE = "log.json"
"""What `fleet logs` has to know: where the log is, and its format."""


class LogRotation:
    """Looks at the log when called. Of more than `max_bytes` it becomes `NAME.1`, what was that `NAME.2`, and so on up
    to `keep` older ones; with none of them it is begun anew. What cannot be renamed grows on."""

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
        self._path.touch()  # who reads it is not to wait for the next line


def rotated_path(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def rotated_files(path: Path) -> Sequence[Path]:
    """Those that there are, oldest first."""
    found: list[Path] = []
    while rotated_path(path, len(found) + 1).exists():
        found.append(rotated_path(path, len(found) + 1))
    return found[::-1]


def prepare_log(log: LogSpec, directory: DataDirectory) -> None:
    """Make what the log needs, and say where it is. OSError if it cannot be written."""
    log.path.parent.mkdir(parents=True, exist_ok=True)
    log.path.open("a").close()
    atomic_write.replace_file(directory.run / LOG_SPEC_FILE, log.to_json())


def read_log_spec(directory: DataDirectory) -> LogSpec:
    """The log of the last run, as far as there is any."""
    note = directory.run / LOG_SPEC_FILE
    try:
        return LogSpec.from_json(note.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return LogSpec(directory.log)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{note}: cannot be read: {error}") from None
