"""A sensor and its database without a process, and what a stranger reads in it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw

from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND_US, run, sensor, settings
from worker.readings.generator import MISSING_DATA_INDEX, SignalGenerator
from worker.sensor import Sensor
from worker.spec import RunSpec, Settings, StoreSpec
from worker.storage.database import Database
from worker.storage.sinks import Portion

SETTINGS = settings(*ANOMALIES)


class SensorWriter:
    """A sensor and its database, without a process around them."""

    def __init__(
        self,
        path: Path,
        sensor_settings: Settings = SETTINGS,
        run_spec: RunSpec | None = None,
        incarnation: int = 1,
        **store: Any,
    ) -> None:
        self.run_spec = run_spec or run()
        self.sink, self.incarnation = Database(StoreSpec(path, **store)), incarnation
        (position,) = self.sink.claim([IDENTITY], incarnation)
        self.sensor = sensor(sensor_settings, self.run_spec, position=position)

    def claim_again(self) -> None:
        """Claim once more, like a worker that does not know its position."""
        (position,) = self.sink.claim([IDENTITY], self.incarnation)
        self.sensor = Sensor(self.sensor.spec, self.run_spec, position)

    def due_portions(self, seconds: float, *, final: bool = False) -> list[Portion]:
        return self.sensor.portions(self.run_spec.start_us + round(seconds * SECOND_US), 100_000, final=final)

    def deliver(self, seconds: float, *, final: bool = False) -> list[Portion]:
        """All that is due that many seconds into the run."""
        portions = self.due_portions(seconds, final=final)
        self.sink.deliver(portions)
        for portion in portions:
            self.sensor.commit(portion)
        return portions


def select(path: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Read as anybody else would, on a connection of its own that cannot write."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.set_busy_timeout(5_000)
        return list(reader.execute(query, values))


def stored_seqs(path: Path) -> list[int]:
    """The sequence numbers there are, by id."""
    return [seq for (seq,) in select(path, "SELECT seq FROM sensor_readings ORDER BY id")]


def expected_seqs(sensor_settings: Settings, end: int) -> list[int]:
    """The sequence numbers that are not missing, of an epoch that begins with 0."""
    kinds = SignalGenerator(42, IDENTITY, sensor_settings, 0, NEW_YEAR).block(0, end).kinds
    return [seq for seq, kind in enumerate(kinds.tolist()) if kind != MISSING_DATA_INDEX]
