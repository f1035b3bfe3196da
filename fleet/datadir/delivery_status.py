"""The status file `run/delivery.json`: what the delivery process of a running fleet has delivered to each target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet.datadir.state_file import load_state, save_state
from fleet.errors import UserError

DELIVERY_STATUS_FILE = "delivery.json"


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target in this run: the numbers of readings that it has, had before, and refused for good; the time of the last
    delivery (seconds since 1970); why it takes nothing at present; and, once the run has ended, whether it has everything."""

    name: str
    delivered: int = 0
    duplicates: int = 0
    refused: int = 0
    last_at: float | None = None
    error: str | None = None
    complete: bool = False

    def __str__(self) -> str:
        refused = f", {self.refused:,} refused" if self.refused else ""
        error = f"; {self.error.removeprefix(f'{self.name}: ')}" if self.error else ""
        return f"delivered to {self.name}: {self.delivered:,} readings{refused}{error}"


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    targets: tuple[TargetStatus, ...]

    def write(self, path: Path) -> None:
        """Replace the file. Raises OSError, and UserError for what could not be read."""
        save_state(path, self)


def read_delivery_status(run_directory: Path) -> DeliveryStatus | None:
    """Read the status, None if the fleet delivers nothing or the file cannot be read."""
    try:
        return load_state(run_directory / DELIVERY_STATUS_FILE, DeliveryStatus)
    except (OSError, ValueError, UserError):
        return None
