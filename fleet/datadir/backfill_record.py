"""The record of a backfill, `backfill.json`: what its files must have, so that the same command can go on with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fleet.datadir.manifest import MAX_START_US, Timestamp
from fleet.datadir.state_file import Bounds, load_state, save_state
from fleet.errors import UserError
from worker.schedule import format_time

RECORD_NAME = "backfill.json"


@dataclass(frozen=True, slots=True)
class BackfillRecord:
    """A backfill. Times are in microseconds since 1970. `content` is a hash of all sensors and their settings. Finished files
    count as long as the machine runs that was booted as `boot_id`: they are not synced one by one."""

    format: str
    start_us: Timestamp
    end_us: Annotated[int, Bounds(0, 2 * MAX_START_US)]
    seed: Annotated[int, Bounds(0, (1 << 63) - 1)]
    content: str
    boot_id: str
    complete: bool = False

    def __str__(self) -> str:
        return f"from {format_time(self.start_us)} until {format_time(self.end_us)} as {self.format}, seed {self.seed}"


def read_backfill(directory: Path) -> BackfillRecord | None:
    """Read the record of a backfill into a directory, None if there is none. Raises UserError if it is damaged."""
    try:
        return load_state(directory / RECORD_NAME, BackfillRecord)
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_backfill(directory: Path, record: BackfillRecord) -> None:
    """Replace the record. Raises OSError."""
    save_state(directory / RECORD_NAME, record, sync=True)


def check_backfill_complete(directory: Path) -> None:
    """Raise UserError if a directory has a backfill that has not come to its end."""
    record = read_backfill(directory)
    if record is not None and not record.complete:
        raise UserError(
            f"{directory}: its history {record} is not complete: give the same `fleet backfill` again, which goes on with "
            "it, or take another --data directory"
        )
