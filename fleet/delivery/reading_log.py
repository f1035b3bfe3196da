"""A line for each reading that is delivered, and statistics every 100 readings, as a producer for one sensor prints them.

✓ #0001 | 10:30:00 | T:23.45°C | H:45.67% | P:1013.25hPa
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from fleet.delivery.batch import Batch, Value
from fleet.delivery.target import BatchRejected, DeliveryFailed, HoldingTarget, Receipt, Target

STATISTICS_INTERVAL = 100
"""Readings between two lines of statistics."""

PASCALS_PER_HECTOPASCAL = 100
MAX_HECTOPASCALS = 2000.0
"""A larger pressure is in pascals. A row has no units, and the kinds of sensor measure pressure in one or the other."""

Echo = Callable[[str], object]


class LoggedTarget:
    """A target whose receipts are printed. `sent` counts readings that were accepted, `failed` those that were refused, and
    deliveries that failed; what failed is delivered again later."""

    def __init__(self, target: Target, echo: Echo, now: Callable[[], datetime]) -> None:
        self._target, self._echo, self._now = target, echo, now
        self._lock = threading.Lock()
        self._number = 0
        self.sent = self.failed = 0
        self.last_success: datetime | None = None
        self.last_error: str | None = None

    @property
    def name(self) -> str:
        return self._target.name

    def deliver(self, batch: Batch) -> Receipt:
        try:
            receipt = self._target.deliver(batch)
        except BatchRejected as error:
            if len(batch.ids) == 1 and not (batch.episodes.rows or batch.epochs.rows):
                with self._lock:
                    self._count(dict(zip(batch.source.columns, batch.rows[0], strict=True)), str(error))
            raise  # the parts of a larger batch follow
        except DeliveryFailed as error:
            with self._lock:
                self.failed += 1
                self.last_error = str(error)
                self._echo(f"✗ {error}")
            raise
        with self._lock:
            for number, row in zip(batch.ids, batch.rows, strict=True):
                if number in receipt.accepted or number in receipt.rejected:
                    self._count(dict(zip(batch.source.columns, row, strict=True)), receipt.rejected.get(number))
            self.last_error = receipt.doubt or self.last_error
        return receipt

    def cursor(self, source: str) -> int | None:
        return self._target.cursor(source)

    def write_held(self, *, everything: bool) -> None:
        if isinstance(self._target, HoldingTarget):
            self._target.write_held(everything=everything)

    def close(self) -> None:
        self._target.close()

    def statistics(self, name: str) -> list[str]:
        """Return the statistics as lines."""
        lines = [f"{name}: {self.sent} sent, {self.failed} failed"]
        if self.last_success is not None:
            lines.append(f"Last success: {self.last_success.astimezone(UTC).isoformat(timespec='seconds')}")
        if self.last_error:
            lines.append(f"Last error: {self.last_error}")
        return lines

    def _count(self, reading: Mapping[str, Value], reason: str | None) -> None:
        if reason is None:
            self.sent, self.last_success = self.sent + 1, self._now()
        else:
            self.failed, self.last_error = self.failed + 1, reason
        self._number += 1
        self._echo(reading_line(self._number, reading, accepted=reason is None))
        if self._number % STATISTICS_INTERVAL == 0:
            self._echo("\n".join(("", *self.statistics("Stats"), "")))


def reading_line(number: int, reading: Mapping[str, Value], *, accepted: bool) -> str:
    """Return the line of a reading: its time of day, its temperature, humidity and pressure as far as it has them."""
    parts = [f"{'✓' if accepted else '✗'} #{number:04d}", str(reading.get("timestamp"))[11:19]]
    temperature, humidity, pressure = (reading.get(name) for name in ("temperature", "humidity", "pressure"))
    if isinstance(temperature, int | float):
        parts.append(f"T:{temperature:5.2f}°C")
    if isinstance(humidity, int | float):
        parts.append(f"H:{humidity:5.2f}%")
    if isinstance(pressure, int | float):
        hectopascals = pressure / PASCALS_PER_HECTOPASCAL if pressure > MAX_HECTOPASCALS else pressure
        parts.append(f"P:{hectopascals:7.2f}hPa")
    remarks = (("Weather", reading.get("weather_event_type")), ("Anomaly", reading.get("anomaly_type")))
    return " | ".join(parts) + "".join(f" [{name}: {value!s}]" for name, value in remarks if value)
