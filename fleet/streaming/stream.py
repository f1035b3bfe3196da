"""A stream: the readings of many sensors in the order of time, written when they are due, or as fast as they are made.

Reading `n` of a stream of `rate` readings a second is due `n / rate` seconds after its start, and is of sensor
`n % sensors`: the sensors read one after the other, each `rate / sensors` times a second.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from fleet.streaming.lines import FormattedReadings, LineFormatter, Lines
from fleet.streaming.sensors import StreamSensor
from worker.readings.generator import CHUNK_READINGS, SignalGenerator
from worker.schedule import Schedule

READINGS_PER_FORMAT = 16_384
MAX_READINGS_AHEAD = 500_000
SECONDS_AHEAD = 10
"""How many readings a throttled stream makes at once: those of this time, as a block costs as much as some hundred."""
WRITE_INTERVAL_SECONDS = 0.02
"""A throttled stream writes no more often than that."""


class StreamReadings:
    """The lines of a stream, from its first reading on."""

    def __init__(
        self, sensors: Sequence[StreamSensor], seed: int, rate: Fraction, start_us: int, *, throttled: bool = False
    ) -> None:
        schedule = Schedule(0, start_us, rate)
        self._generators = [
            SignalGenerator(seed, each.identity, each.settings, 0, schedule.time(number))
            for number, each in enumerate(sensors)
        ]
        count = len(sensors)
        self._rows_per_format = max(1, READINGS_PER_FORMAT // count)
        most = int(rate * SECONDS_AHEAD) if throttled else MAX_READINGS_AHEAD
        self._rows_ahead = max(1, min(CHUNK_READINGS, min(most, MAX_READINGS_AHEAD) // count))
        self._formatter = LineFormatter(sensors, self._rows_per_format)
        self._sensors = count
        self._formatted: deque[FormattedReadings] = deque()
        self._next_row = self._made_rows = self._taken = 0

    @property
    def readings_per_block(self) -> int:
        return self._rows_ahead * self._sensors

    def make_block(self, number: int) -> int:
        """Make all lines of a block, which are taken next. Returns the position of its first reading."""
        self._formatted.clear()
        self._next_row = self._made_rows = number * self._rows_ahead
        self._taken = 0
        self._formatted.append(self._format())
        while self._next_row < self._made_rows:
            self._formatted.append(self._format())
        return number * self.readings_per_block

    def take(self, count: int) -> Lines:
        """Return the next lines, at most those of `count` readings."""
        if not self._formatted:
            self._formatted.append(self._format())
        readings = self._formatted[0]
        end = min(self._taken + count, len(readings))
        lines = readings.lines(self._taken, end)
        self._taken = end
        if end == len(readings):
            self._formatted.popleft()
            self._taken = 0
        return lines

    def _format(self) -> FormattedReadings:
        if self._next_row == self._made_rows:
            self._formatter.load([each.block(self._next_row, self._rows_ahead) for each in self._generators])
            self._made_rows += self._rows_ahead
        first, end = self._next_row, min(self._next_row + self._rows_per_format, self._made_rows)
        self._next_row = end
        return self._formatter.format(first, end)


@dataclass
class StreamStats:
    """What a stream has written so far. `refused` records are those that a target does not take. `seconds` are those that have passed, `reports` the statistics that were due."""

    records: int = 0
    anomalies: int = 0
    refused: int = 0
    written_bytes: int = 0
    seconds: float = 0.0
    reports: int = 0

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds if self.seconds else 0.0


class Pace:
    """The times at which readings are due on a clock of seconds, from `origin` on."""

    def __init__(self, rate: Fraction, origin: float) -> None:
        self._rate, self._per_second, self._origin = rate, float(rate), origin

    def due(self, now: float) -> int:
        """Return how many readings are due."""
        return int((now - self._origin) * self._per_second) + 1

    def seconds_until(self, position: int, now: float) -> float:
        """Return the time until the reading at a position is due."""
        return self._origin + position / self._per_second - now


class PacedStream:
    """A stream of `total` readings, None for no end, that goes on until `stop` is set.

    `report` is called with the statistics every `report_seconds`.
    """

    write_interval = WRITE_INTERVAL_SECONDS

    def __init__(
        self,
        total: int | None,
        stop: threading.Event,
        report: Callable[[StreamStats], None],
        report_seconds: float,
    ) -> None:
        self.total, self.stop = total, stop
        self.report, self._report_seconds = report, report_seconds
        self.position = 0
        self._started = time.monotonic()
        self.stats = StreamStats()

    def run(self, rate: Fraction, *, throttled: bool) -> StreamStats:
        """Run the stream. A throttled one ends when the reading after its last would be due."""
        pace = Pace(rate, self._started)
        while not self.stop.is_set() and self.position != self.total:
            due = pace.due(time.monotonic()) if throttled else self.position + READINGS_PER_FORMAT
            self.write(due if self.total is None else min(due, self.total))
            if throttled:
                left = pace.seconds_until(self.position, time.monotonic())
                self.wait(max(left, self.write_interval) if self.position != self.total else left)
        self._update()
        return self.stats

    def write(self, end: int) -> None:
        """Write the readings up to before the position `end`, or until `stop` is set."""
        raise NotImplementedError

    def wait(self, seconds: float) -> None:
        """Wait, or until `stop` is set."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.stop.wait(min(left, self._report_left())):
            self.report_when_due()

    def _report_left(self) -> float:
        due = self._started + (self.stats.reports + 1) * self._report_seconds
        return max(due - time.monotonic(), 0.0)

    def report_when_due(self) -> None:
        if not self._report_left():
            self._update()
            self.stats.reports += 1
            self.report(self.stats)

    def _update(self) -> None:
        self.stats.seconds = time.monotonic() - self._started


class StreamWriter(PacedStream):
    """A stream that is written to a file."""

    def __init__(
        self,
        readings: StreamReadings,
        output: BinaryIO,
        total: int | None,
        stop: threading.Event,
        report: Callable[[StreamStats], None],
        report_seconds: float,
    ) -> None:
        super().__init__(total, stop, report, report_seconds)
        self.readings, self.output = readings, output

    def write(self, end: int) -> None:
        while self.position < end and not self.stop.is_set():
            lines = self.readings.take(end - self.position)
            self.output.write(lines.text.encode("ascii"))
            self.position += lines.readings
            self.stats.records += lines.records
            self.stats.anomalies += lines.anomalies
            self.stats.written_bytes += len(lines.text)
            self.report_when_due()
        self.output.flush()
