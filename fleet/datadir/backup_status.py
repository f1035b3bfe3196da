"""The account of backups: written to `run/backups.json` by the process that makes them, read by everybody else."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fleet import atomic_write

BACKUP_STATUS_FILE = "backups.json"


@dataclass(slots=True)
class BackupStatus:
    """Counts of this run, when the last was made (seconds since 1970), and the failures of the last turn as [database,
    reason]."""

    folder: str
    interval: float
    keep: int
    made: int = 0
    failed: int = 0
    last_at: float | None = None
    failures: tuple[tuple[str, str], ...] = ()

    def write(self, path: Path) -> None:
        atomic_write.replace_file(path, json.dumps(asdict(self)))


def read_backup_status(run_directory: Path) -> dict[str, Any]:
    """What was told there last; empty where there are no backups, or nothing legible is there."""
    try:
        found = json.loads((run_directory / BACKUP_STATUS_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.keys() == {field.name for field in fields(BackupStatus)} else {}
