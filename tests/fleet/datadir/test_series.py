"""Series and samples have the channels and attributes of any kind of sensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.datadir.readings import latest_readings
from fleet.datadir.series import read_series
from tests.fleet.verify.damage import damage, select
from tests.worker.further import AIR, AIR_COLUMNS, AIR_IDENTITY, TURBINE, TURBINE_IDENTITY, Writer, attributes
from tests.worker.samples import NEW_YEAR, SECOND_US
from worker.readings.generator import SignalGenerator
from worker.spec import AnomalySpec

__all__ = ["attributes"]
pytestmark = pytest.mark.usefixtures("attributes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of two kinds."""
    path = tmp_path / "pack_0001.db"
    writer = Writer(path, (AIR_IDENTITY, AIR), (TURBINE_IDENTITY, TURBINE))
    writer.deliver(199)
    writer.sink.close()
    return path


def recorded(path: Path, name: str, sensor: str) -> dict[int, float]:
    return dict(select(path, f'SELECT seq, "{name}" FROM sensor_readings WHERE sensor_id = :id', id=sensor))


def test_a_series_has_every_channel(path: Path) -> None:
    """By its own name, also a keyword of SQL, in the order of the settings."""
    found = read_series(path, AIR_IDENTITY.sensor_id, 100, -1, 2)

    assert (("temperature", "°C"), ("co2", "ppm"), ("order", "1")) == found.channels
    assert (100, 200) == (found.first_seq, found.next_seq)
    for (name, _), lowest in zip(found.channels, found.lowest, strict=True):
        values = recorded(path, name, AIR_IDENTITY.sensor_id)
        assert [values.get(seq) for seq in range(100, 200)] == lowest
    clean = SignalGenerator(42, AIR_IDENTITY, type(AIR)(AIR.rate, AIR.channels), 0, NEW_YEAR)
    assert clean.block(100, 100).values.tolist() == found.healthy
    decimated = read_series(path, AIR_IDENTITY.sensor_id, 100, -1, 2, 10)
    assert [max(v for v in row[12:28] if v is not None) for row in found.highest] == [
        row[1] for row in decimated.highest
    ]


def test_a_series_over_a_change_of_kind(tmp_path: Path) -> None:
    """The channels are those of the last epoch; one that the epoch before did not have has no value there."""
    path = tmp_path / "one.db"
    writer = Writer(path, (AIR_IDENTITY, AIR))
    writer.deliver(99)
    writer.change(0, TURBINE)
    writer.deliver(199)
    writer.sink.close()
    found = read_series(path, AIR_IDENTITY.sensor_id, 1_000, -1)

    assert (("power", "kW"), ("temperature", "°C")) == found.channels
    for (name, _), lowest in zip(found.channels, found.lowest, strict=True):
        values = recorded(path, name, AIR_IDENTITY.sensor_id)
        assert [values.get(seq) for seq in range(200)] == lowest
    assert [None] * 100 == found.healthy[0][:100]
    assert None not in found.healthy[0][100:]
    clean = SignalGenerator(42, AIR_IDENTITY, type(AIR)(AIR.rate, AIR.channels), 0, NEW_YEAR).block(0, 100).values
    assert clean[0].tolist() == found.healthy[1][:100]


def test_a_channel_without_a_column_has_no_values(path: Path) -> None:
    damage(path, "ALTER TABLE sensor_readings DROP COLUMN co2")
    found = read_series(path, AIR_IDENTITY.sensor_id, 10, -1, 2)

    assert [None] * 10 == found.lowest[1]
    assert any(value is not None for value in found.lowest[0])


def test_samples_have_every_column(path: Path) -> None:
    (newest,) = latest_readings(path, 1, AIR_IDENTITY.sensor_id)
    query = ", ".join(f'"{name}"' for name in AIR_COLUMNS)
    ((*values,),) = select(path, f"SELECT {query} FROM sensor_readings WHERE seq = {newest['seq']} AND co2 > 0")

    assert values == [newest[name] for name in AIR_COLUMNS]
    assert newest["power"] is None


def test_a_series_has_the_times_of_measuring(tmp_path: Path) -> None:
    """With jitter those that are recorded; while the clock was wrong, the true ones."""
    path = tmp_path / "one.db"
    wrong = replace(AIR, anomalies=(AnomalySpec("clock_jump", 0.5, 20, "readings"),), jitter=0.6)
    writer = Writer(path, (AIR_IDENTITY, wrong))
    writer.deliver(299)
    writer.sink.close()
    right = SignalGenerator(42, AIR_IDENTITY, replace(wrong, anomalies=()), 0, NEW_YEAR).block(0, 300)
    found = read_series(path, AIR_IDENTITY.sensor_id, 1_000, -1)

    assert (right.times // 1000).tolist() == found.times_ms
    assert found.times_ms != [(NEW_YEAR + seq * SECOND_US) // 1000 for seq in range(300)]
