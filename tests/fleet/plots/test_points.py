"""The points of a plot have the extremes of what is recorded, however long the range is and wherever the rows lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fleet.history.source import readings_between
from fleet.history.stored import StoredHistory, read_histories
from fleet.plots.points import SensorPoints, read_points
from tests.worker.samples import ANOMALIES, CHANNELS, NEW_YEAR, SECOND_US, run, settings
from tests.worker.stores import SensorWriter, select
from worker.readings.generator import SignalGenerator
from worker.spec import AnomalySpec

LONG_MISSING = AnomalySpec("missing_data", 0.2, 400, "readings")
SETTINGS = settings(*ANOMALIES[:3], LONG_MISSING)


def history_of(folder: Path, seconds: float = 10_000, **store: object) -> StoredHistory:
    folder.mkdir(exist_ok=True)
    writer = SensorWriter(folder / "one.db", SETTINGS, **store)  # type: ignore[arg-type] # any option of the store
    for until in range(2000, round(seconds) + 1, 2000):
        writer.deliver(until)
    writer.sink.close()
    (history,) = read_histories(folder)
    return history


def whole(history: StoredHistory, points: int) -> SensorPoints:
    return read_points(history, history.first, history.end, points)


def stored(folder: Path) -> dict[int, float]:
    """The recorded temperatures."""
    query = "SELECT seq, temperature FROM sensor_readings"
    return {seq: value for path in folder.glob("*.db") for seq, value in select(path, query)}


@pytest.mark.parametrize("most", [100, 1000, 12_000])
def test_a_point_reaches_from_the_lowest_to_the_highest_reading(most: int, tmp_path: Path) -> None:
    """Also over databases that were rotated; without any reading it is a gap."""
    points = whole(history_of(tmp_path, max_bytes=500_000), most)
    rows = stored(tmp_path)

    assert len([*tmp_path.glob("*.db")]) > 2
    assert len(points.times_us) <= most
    assert points.readings == 10_001
    for number, (low, high) in enumerate(zip(points.lowest[0].tolist(), points.highest[0].tolist(), strict=True)):
        values = [rows[seq] for seq in range(number * points.step, (number + 1) * points.step) if seq in rows]
        assert (min(values), max(values)) == (low, high) if values else np.isnan([low, high]).all()
    assert np.isnan(points.lowest).any()


def test_beside_it_is_the_mean_without_anomalies(tmp_path: Path) -> None:
    history = history_of(tmp_path)
    points = whole(history, 100)
    epoch = history.epochs[0]
    clean = SignalGenerator(epoch.seed, epoch.identity, replace(epoch.settings, anomalies=()), 0, NEW_YEAR).block(
        0, 10_001
    )

    assert points.step == 128
    np.testing.assert_allclose(points.healthy[0, :78], clean.values[0, : 78 * 128].reshape(78, 128).mean(axis=1))
    assert points.times_us.tolist() == clean.times[::128].tolist()


def test_a_part_of_the_time_and_of_the_channels(tmp_path: Path) -> None:
    history = history_of(tmp_path)
    first, end = readings_between(history, NEW_YEAR + 5000 * SECOND_US, NEW_YEAR + 5100 * SECOND_US)
    points = read_points(history, first, end, 1000, ("voltage", "humidity"))
    rows = dict(
        select(tmp_path / "one.db", "SELECT seq, humidity FROM sensor_readings WHERE seq BETWEEN 5000 AND 5099")
    )

    assert (("humidity", "%"), ("voltage", "V")) == points.channels
    np.testing.assert_array_equal([rows.get(seq, np.nan) for seq in range(5000, 5100)], points.lowest[0])


def test_readings_that_are_not_stored_have_the_same_points(tmp_path: Path) -> None:
    one, other = (whole(history_of(tmp_path / str(keep), readings=keep), 500) for keep in (True, False))

    np.testing.assert_array_equal(one.lowest, other.lowest)
    np.testing.assert_array_equal(one.highest, other.highest)
    assert one.episodes == other.episodes


def test_the_episodes_are_those_on_record(tmp_path: Path) -> None:
    """Each once, although one that ran during a rotation is in two databases."""
    points = whole(history_of(tmp_path, max_bytes=500_000), 100)
    query = "SELECT first_seq, last_seq, type, channel FROM anomaly_episodes"
    rows = {row[0]: row for path in sorted(tmp_path.glob("*.db"), reverse=True) for row in select(path, query)}

    assert [
        (kind, tuple(channel.split(",")) if channel else (), NEW_YEAR + first * SECOND_US, NEW_YEAR + last * SECOND_US)
        for first, last, kind, channel in sorted(rows.values())
    ] == [
        (each.type, each.channels, each.start_us + SECOND_US // 2, each.end_us - SECOND_US // 2)
        for each in sorted(points.episodes, key=lambda each: each.start_us)
    ]


def test_a_line_breaks_where_time_was_left_out(tmp_path: Path) -> None:
    """As by a pause; not where only the settings change."""
    writer = SensorWriter(tmp_path / "one.db", SETTINGS)
    writer.deliver(99)
    spec = writer.sensor.spec
    writer.sensor.change(replace(spec, settings=settings(AnomalySpec("spike", 0.1, 1, "readings"), channels=CHANNELS)))
    writer.deliver(199)
    writer.sink.close()
    later = SensorWriter(tmp_path / "one.db", SETTINGS, run(2, NEW_YEAR + 1000 * SECOND_US), incarnation=2)
    later.deliver(100)
    later.sink.close()
    (history,) = read_histories(tmp_path)
    points = whole(history, 1000)

    assert [0, 100, 200] == [epoch.schedule.first_seq for epoch in history.epochs]
    assert (200,) == points.breaks
    assert NEW_YEAR + 1000 * SECOND_US == points.times_us[200]
