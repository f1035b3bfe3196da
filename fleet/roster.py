"""The roster: which sensors a running fleet has, where each one's row, database and log are.

Written to `<data>/run/roster.json` by the process that supervises, under a temporary name and then renamed; read by
everybody else (aggregator, `fleet status`, `fleet logs`). Together with the board it is all that a reader needs.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worker.spec import Identity, Layout


@dataclass(frozen=True, slots=True)
class Member:
    """One sensor of the fleet. `channels` are (name, unit) in the order of the board's values."""

    row: int
    worker: str
    rate: float
    database: Path
    log: Path
    channels: tuple[tuple[str, str], ...]
    identity: Identity

    @property
    def sensor_id(self) -> str:
        return self.identity.sensor_id


@dataclass(frozen=True, slots=True)
class Roster:
    """The fleet as it was last changed. `started_ns` is on the monotonic clock, `started_at` ISO wall time,
    `start_time` the simulated time of the run's first reading, `duration` simulated seconds to run or None."""

    seed: int
    layout: Layout
    run: int
    pid: int
    config: str
    started_at: str
    started_ns: int
    start_time: str
    duration: float | None
    url: str | None
    members: tuple[Member, ...]

    def write(self, path: Path) -> None:
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self), default=str))
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path) -> Roster:
        """The roster at `path`; raises FileNotFoundError where no fleet has run."""
        fields: dict[str, Any] = json.loads(path.read_text())
        members = tuple(member(**entry) for entry in fields.pop("members"))
        return cls(members=members, **fields)


def member(identity: dict[str, Any], database: str, log: str, channels: list[list[str]], **fields: Any) -> Member:
    return Member(
        identity=Identity(**identity),
        database=Path(database),
        log=Path(log),
        channels=tuple((name, unit) for name, unit in channels),
        **fields,
    )
