"""The report of hot reload: written to `run/reload.json` by the process that supervises, read by everybody else."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fleet import atomic_write

log = logging.getLogger("reload")


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What became of the files: `problems` that keep some from being taken, what was `changed` last and when (seconds
    since 1970), and what they say that `needs_restart`."""

    problems: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    changed_at: float | None = None
    needs_restart: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Put it where readers find it; nobody waits for a disk that is full."""
        try:
            atomic_write.replace_file(path, json.dumps(asdict(self)))
        except OSError as error:
            log.warning("%s: cannot be written: %s", path, error.strerror)


def read_report(path: Path) -> dict[str, Any]:
    """What was written of the last reload; empty where nothing is watched, or nothing legible is there."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
