"""The readings of a stream as rows of one database that does not exist, in the order of time, for targets of a delivery."""

from __future__ import annotations

import hashlib
import uuid
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from fleet.datadir.computed_readings import Row, compile_epoch, further_column_types, stored_columns
from fleet.delivery.batch import Batch, SourceDatabase
from fleet.streaming.sensors import StreamSensor
from worker.readings.generator import CHUNK_READINGS
from worker.schedule import Schedule
from worker.storage.schema import FurtherColumn, epoch_values
from worker.storage.sinks import Epoch

READINGS_AHEAD = 20_000
SECONDS_AHEAD = 10
"""How many readings a throttled stream makes at once: those of this time."""
NAME = "stream"


class StreamPart(NamedTuple):
    """Consecutive readings of a stream up to before the position `end`, without the missing ones."""

    batch: Batch
    end: int
    anomalies: int


class StreamRows:
    """The rows of a stream, from its first reading on. The id of a reading is its position plus one.

    The generation is made of all that determines the readings, so that another run of the same stream has the same keys.
    """

    def __init__(
        self, sensors: Sequence[StreamSensor], seed: int, rate: Fraction, start_us: int, *, throttled: bool
    ) -> None:
        schedule, self._count = Schedule(0, start_us, rate), len(sensors)
        epochs = [
            Epoch(seed, 1, "start", *each, Schedule(0, schedule.time(number), each.settings.exact_rate))
            for number, each in enumerate(sensors)
        ]
        further = further_column_types(epochs)
        columns = stored_columns() | further
        self._sensors = [compile_epoch(epoch, columns) for epoch in epochs]
        digest = hashlib.blake2b(repr([rate, *map(epoch_values, epochs)]).encode(), digest_size=16).digest()
        self.source = SourceDatabase(
            Path(NAME),
            NAME,
            str(uuid.UUID(bytes=digest)),
            tuple(columns),
            tuple(map(FurtherColumn._make, further.items())),
        )
        ahead = min(int(rate * SECONDS_AHEAD), READINGS_AHEAD) if throttled else READINGS_AHEAD
        self._rows_ahead = max(1, min(CHUNK_READINGS, ahead // self._count))
        self._flag = list(columns).index("anomaly_flag")
        self._made = self._taken = 0
        self._rows: deque[Row] = deque()

    def take(self, count: int) -> StreamPart:
        """Return the next readings, at most `count`."""
        if self._taken == self._made * self._count:
            self._make()
        end = min(self._taken + count, self._made * self._count)
        rows = []
        while self._rows and self._rows[0][0] <= end:
            rows.append(self._rows.popleft())
        self._taken = end
        return StreamPart(Batch(self.source, tuple(rows), settles=end), end, sum(bool(row[self._flag]) for row in rows))

    def _make(self) -> None:
        rows = [
            ((row[0] - 1) * self._count + number + 1, *row[1:])
            for number, sensor in enumerate(self._sensors)
            for row in sensor.rows(self._made, self._rows_ahead)
        ]
        self._made += self._rows_ahead
        self._rows.extend(sorted(rows, key=lambda row: row[0]))
