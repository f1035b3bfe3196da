"""The status file `run/delivery.json`: what the delivery process of a running fleet has delivered to each target."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fleet.datadir.state_file import load_state, save_state
from fleet.errors import UserError

DELIVERY_STATUS_FILE = "delivery.json"


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target in this run. Times are in seconds since 1970.

    `delivered`, `duplicates` and `refused` count the readings that it has taken, had before, and refused for good; `last_at`
    is the time of the last delivery, `rate` the readings a second of the last ten seconds, `retries` the number of deliveries
    that failed and were made again. `backlog` is the number of readings that it lacks; the oldest of them was stored after
    `backlog_since`. `error` is the reason why it takes nothing at present, `failing_since` the time since when; `last_error`
    stays when it is over. `complete` becomes true at the end of the run if it has everything.
    """

    name: str
    delivered: int = 0
    duplicates: int = 0
    refused: int = 0
    last_at: float | None = None
    rate: float = 0.0
    retries: int = 0
    backlog: int = 0
    backlog_since: float | None = None
    error: str | None = None
    failing_since: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None
    complete: bool = False

    def __str__(self) -> str:
        parts = [f"delivered to {self.name}: {self.delivered:,} readings"]
        parts += [f"{self.refused:,} refused"] if self.refused else []
        parts += [f"{self.retries:,} {'retry' if self.retries == 1 else 'retries'}"] if self.retries else []
        parts += [f"{self.backlog:,} to go"] if self.backlog else []
        error = f"; {self.error_text}" if self.error else ""
        return f"{', '.join(parts)}{error}"

    @property
    def error_text(self) -> str:
        """The present error without the name of the target, empty if there is none."""
        return (self.error or "").removeprefix(f"{self.name}: ")

    def backlog_age(self, now: float) -> float:
        """The seconds for which the oldest reading that the target lacks has been waiting, 0 if it lacks none."""
        return 0.0 if self.backlog_since is None else max(0.0, now - self.backlog_since)


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """The targets in the order of the config. `written_at` is the time of this status, `interval` the pause between two
    deliveries in seconds."""

    targets: tuple[TargetStatus, ...]
    written_at: float = 0.0
    interval: float = 1.0

    def write(self, path: Path) -> None:
        """Replace the file. Raises OSError, and UserError for what could not be read."""
        save_state(path, self)

    def documents(self, now: float) -> list[dict[str, Any]]:
        """The targets as JSON, each with the age of its backlog in seconds."""
        return [{**asdict(target), "backlog_age_seconds": round(target.backlog_age(now), 3)} for target in self.targets]


def read_delivery_status(run_directory: Path) -> DeliveryStatus | None:
    """Read the status, None if the fleet delivers nothing or the file cannot be read."""
    try:
        return load_state(run_directory / DELIVERY_STATUS_FILE, DeliveryStatus)
    except (OSError, ValueError, UserError):
        return None
