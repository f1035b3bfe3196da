"""The selection of readings for a target, by what their columns say of the sensor."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from fleet.delivery.batch import Batch, Value
from fleet.runtime.selectors import kind_names, location_names

SELECTION_COLUMNS = ("sensor_id", "sensor_type", "location", "firmware_version")
"""The columns that decide."""

SensorValues = tuple[Value, ...]
"""The values of SELECTION_COLUMNS."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The readings that match all that is stated; `share` is that of the sensors, by a hash of their ids."""

    kind: str | None = None
    city: str | None = None
    firmware: str | None = None
    share: float | None = None
    _known: dict[SensorValues, bool] = field(default_factory=dict, compare=False, repr=False)

    def includes(self, values: SensorValues) -> bool:
        """Check the values of SELECTION_COLUMNS of a reading."""
        if values not in self._known:
            sensor, *texts = ("" if value is None else str(value) for value in values)
            self._known[values] = self._includes(sensor, *texts)
        return self._known[values]

    def _includes(self, sensor: str, kind: str, location: str, firmware: str) -> bool:
        named = (
            (self.kind, kind_names(kind)),
            (self.city, location_names(location)),
            (self.firmware, (firmware,)),
        )
        for wanted, names in named:
            if wanted is not None and wanted.casefold() not in map(str.casefold, names):
                return False
        return self.share is None or hash_share(sensor) < self.share

    def part_of(self, batch: Batch) -> Batch:
        """Return the batch with the readings of the selection."""
        places = [
            batch.source.columns.index(name) if name in batch.source.columns else None for name in SELECTION_COLUMNS
        ]
        rows = tuple(
            row for row in batch.rows if self.includes(tuple(None if at is None else row[at] for at in places))
        )
        return batch if len(rows) == len(batch.rows) else replace(batch, rows=rows)


def hash_share(sensor: str) -> float:
    """Return a number from 0 to below 1 that is always the same for a sensor, and evenly distributed over sensors."""
    return int.from_bytes(hashlib.sha256(sensor.encode(errors="surrogatepass")).digest()[:6]) / 2**48
