"""The report of hot reload: written to `run/reload.json` by the supervising process, read by all others."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fleet.datadir.state_file import load_state, save_state
from fleet.errors import UserError

log = logging.getLogger("reload")


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """The outcome of hot reload so far: the `problems` that keep files from being taken, the latest changes and their
    time (seconds since 1970), and the edits that need a restart."""

    ignores_unknown_keys: ClassVar[bool] = True

    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    changed_at: float | None = None
    needs_restart: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Replace the file. A full disk is logged and otherwise ignored. Raises UserError for what could not be read."""
        try:
            save_state(path, self)
        except OSError as error:
            log.warning("%s: cannot be written: %s", path, error.strerror)


def read_report(path: Path) -> ReloadReport | None:
    """Read the report, None if nothing is watched or the file cannot be read."""
    try:
        return load_state(path, ReloadReport)
    except (OSError, ValueError, UserError):
        return None
