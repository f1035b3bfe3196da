"""What the databases of a data directory say, read for judging them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

COLUMNS = [
    "id",
    "timestamp",
    "sensor_id",
    "temperature",
    "humidity",
    "pressure",
    "vibration",
    "voltage",
    "status_code",
    "anomaly_flag",
    "anomaly_type",
    "synced",
    "firmware_version",
    "model",
    "manufacturer",
    "serial_number",
    "manufacture_date",
    "location",
    "latitude",
    "longitude",
    "original_timezone",
    "deployment_type",
    "installation_date",
    "height_meters",
    "orientation_degrees",
    "instance_id",
    "sensor_type",
    "seq",
]

Row = tuple[Any, ...]


@dataclass
class SensorRecords:
    """One sensor's readings (all columns but id) by seq as they were inserted, and what is on record about it."""

    readings: list[tuple[int, Row]] = field(default_factory=list)
    episodes: list[tuple[str, int, int, str, str]] = field(default_factory=list)
    epochs: list[tuple[int, str]] = field(default_factory=list)
    next_seq: int = 0

    @property
    def seqs(self) -> list[int]:
        return [seq for seq, _ in self.readings]

    @property
    def by_seq(self) -> dict[int, Row]:
        return dict(self.readings)

    @property
    def timestamps(self) -> list[str]:
        return [row[0] for _, row in self.readings]

    @property
    def missing(self) -> set[int]:
        return {
            seq for kind, first, last, *_ in self.episodes if kind == "missing_data" for seq in range(first, last + 1)
        }


def databases(data: Path) -> list[Path]:
    return sorted(data.glob("*.db"))


@contextmanager
def open_database(path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(5000)
    try:
        yield connection
    finally:
        connection.close()


def read_records(data: Path) -> dict[str, SensorRecords]:
    """Of every sensor in the databases of a directory. Each database is checked on the way."""
    found: dict[str, SensorRecords] = {}
    for path in databases(data):
        with open_database(path) as connection:
            assert connection.pragma("integrity_check") == "ok", path
            columns = [row[1] for row in connection.execute("PRAGMA table_info(sensor_readings)")]
            assert columns[:28] == COLUMNS, path
            read_database(connection, found)
    return found


def read_database(connection: apsw.Connection, found: dict[str, SensorRecords]) -> None:
    for sensor, next_seq in connection.execute("SELECT sensor_id, next_seq FROM checkpoints"):
        assert sensor not in found, f"{sensor} is in two databases"
        found[sensor] = SensorRecords(next_seq=next_seq)
    seq = COLUMNS.index("seq")
    for _, timestamp, sensor, *rest in connection.execute("SELECT * FROM sensor_readings ORDER BY id"):
        found[sensor].readings.append((rest.pop(seq - 3), (timestamp, sensor, *rest)))
    for sensor, *episode in connection.execute(
        "SELECT sensor_id, type, first_seq, last_seq, start_time, end_time FROM anomaly_episodes ORDER BY first_seq"
    ):
        found[sensor].episodes.append((*episode,))
    for sensor, first_seq, reason in connection.execute(
        "SELECT sensor_id, first_seq, reason FROM epochs ORDER BY first_seq"
    ):
        found[sensor].epochs.append((first_seq, reason))


def assert_complete(
    data: Path, sensors: int, scheduled: int | None = None, *, drained: bool = True
) -> dict[str, SensorRecords]:
    """Every sensor has every scheduled reading once but for those of its missing_data episodes, in order.

    Where it was drained, the record of an episode that was running is cut to what was written; a killed worker cannot.
    """
    found = read_records(data)
    assert len(found) == sensors
    for sensor, seen in found.items():
        if scheduled is not None:
            assert seen.next_seq == scheduled, sensor
        missing = seen.missing
        expected = [seq for seq in range(seen.next_seq) if seq not in missing]
        assert seen.seqs == expected, sensor
        assert all(earlier < later for earlier, later in zip(seen.timestamps, seen.timestamps[1:], strict=False)), (
            sensor
        )
        assert not drained or all(last < seen.next_seq for _, _, last, *_ in seen.episodes), sensor
        labels = {seq: kind for kind, first, last, *_ in seen.episodes for seq in range(first, last + 1)}
        told = {seq: row[9] for seq, row in seen.readings}
        assert all(labels.get(seq) == kind for seq, kind in told.items()), sensor
    return found
