"""A sensor and its database without a process, and what a stranger reads in it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND, run, sensor, settings
from worker.database import Database
from worker.generation import MISSING, Plan
from worker.sinks import Portion
from worker.spec import RunSpec, Settings, StoreSpec

TOLD = settings(*ANOMALIES)


class Writer:
    """A sensor and its database, without a process around them."""

    def __init__(
        self,
        path: Path,
        told: Settings = TOLD,
        during: RunSpec | None = None,
        incarnation: int = 1,
        *,
        shared: bool = False,
    ) -> None:
        self.during = during or run()
        self.sink, self.sensor = Database(StoreSpec(path, shared=shared)), sensor(told, self.during)
        (position,) = self.sink.claim([IDENTITY], incarnation)
        self.sensor.resume(position)

    def propose(self, seconds: float, *, final: bool = False) -> list[Portion]:
        return self.sensor.portions(self.during.start_us + round(seconds * SECOND), 100_000, final=final)

    def deliver(self, seconds: float, *, final: bool = False) -> list[Portion]:
        """All that is due that many seconds into the run."""
        portions = self.propose(seconds, final=final)
        self.sink.deliver(portions)
        for portion in portions:
            self.sensor.settled(portion)
        return portions


def ask(path: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Read as anybody else would, on a connection of its own that cannot write."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.set_busy_timeout(5_000)
        return list(reader.execute(query, values))


def delivered(path: Path) -> list[int]:
    """The sequence numbers there are, by id."""
    return [seq for (seq,) in ask(path, "SELECT seq FROM sensor_readings ORDER BY id")]


def present(told: Settings, end: int) -> list[int]:
    """The sequence numbers that are not missing, of an epoch that begins with 0."""
    kinds = Plan(42, IDENTITY, told, 0, NEW_YEAR).block(0, end).kinds
    return [seq for seq, kind in enumerate(kinds.tolist()) if kind != MISSING]
