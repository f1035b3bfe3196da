"""`from fleet import Fleet, read`: readings as columns, from a config and from a data directory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleet import Fleet, Readings, read
from fleet.errors import UserError
from fleet.history.computed import portions_until
from tests.fleet.history.test_stored import stored_rows
from tests.worker.further import kinds_writer
from worker.sensor import Sensor
from worker.spec import RunSpec, SensorSpec, StoreSpec
from worker.storage.database import Database

START = datetime(2026, 1, 1, tzinfo=UTC)
WRONG: Any = "zero"
START_US = int(START.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sensors of three kinds."""
    folder = tmp_path_factory.mktemp("data")
    writer = kinds_writer(folder / "pack.db")
    writer.deliver(1500)
    writer.sink.close()
    return folder


@pytest.fixture(scope="module")
def readings(data: Path) -> Readings:
    return read(data)


def test_columns_are_those_of_the_database(readings: Readings, data: Path) -> None:
    ids = list(dict.fromkeys(readings["sensor_id"].tolist()))
    rows = [row for sensor in ids for row in stored_rows([data / "pack.db"], sensor)]

    assert len(ids) == 3
    assert sorted(readings.columns) == sorted(rows[0])
    for name in readings.columns:
        found = readings[name].tolist()
        if name == "timestamp":
            assert found == [datetime.fromisoformat(row[name]).replace(tzinfo=None) for row in rows]
        else:
            assert [None if value != value else value for value in found] == [row[name] for row in rows], name  # noqa: PLR0124


def test_every_library_gets_the_same_columns(readings: Readings) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame, table, other = readings.to_pandas(), readings.to_arrow(), readings.to_polars()

    assert list(frame) == list(table.column_names) == list(other.columns) == list(readings.columns)
    assert [
        str(frame["timestamp"].dtype),
        str(other["timestamp"].dtype),
        str(table.schema.field("timestamp").type),
    ] == [
        "datetime64[us, UTC]",
        "Datetime(time_unit='us', time_zone='UTC')",
        "timestamp[us, tz=UTC]",
    ]
    for name in readings.columns:
        of_pandas = [None if pandas.isna(value) else value for value in frame[name].tolist()]
        assert of_pandas == other[name].to_list() == table.column(name).to_pylist(), name
    assert isinstance(other, polars.DataFrame)


def test_some_columns_of_a_time(data: Path) -> None:
    begin = START + timedelta(seconds=100)
    some = read(data, start=begin, end="2026-01-01T00:03:20", columns=["temperature", "seq"], missing="null")

    assert some.columns == ("timestamp", "sensor_id", "temperature", "seq")
    assert len(some) == 300
    assert {*some["seq"].tolist()} == {*range(100, 200)}
    held = read(data, start=begin, end="2026-01-01T00:03:20", columns=["temperature"], missing="held")
    assert np.isnan(some["temperature"]).sum() > np.isnan(held["temperature"]).sum()


def test_the_labels_are_the_episodes(readings: Readings) -> None:
    labelled = {
        (sensor, seq): kind
        for sensor, seq, kind in zip(
            *(readings[name].tolist() for name in ("sensor_id", "seq", "anomaly_type")), strict=True
        )
        if kind
    }
    episodes = readings.episodes.to_numpy()
    names = ("sensor_id", "type", "first_seq", "last_seq")
    covered = {
        (sensor, seq): kind
        for sensor, kind, first, last in zip(*(episodes[name].tolist() for name in names), strict=True)
        for seq in range(first, min(last, 1500) + 1)
        if kind != "missing_data"
    }

    assert labelled == covered
    assert len(readings.sensors) == 3
    assert readings.epochs["end_seq"].tolist() == [1501] * 3


def test_a_fleet_computes_what_its_workers_would_store(tmp_path: Path) -> None:
    """The sensors of a config, written to a database as their workers do."""
    fleet = Fleet(replicas=3, seed=42, kind={"environmental": 1, "pipeline": 1}, rate=2)
    end = START + timedelta(minutes=10)
    computed = fleet.read(end=end)

    for history in computed._parts:
        epoch = history.history.epochs[0]
        spec = SensorSpec(epoch.identity, epoch.settings, 0)
        run = RunSpec(42, epoch.run, START_US, 0, 600_000_000)
        sink = Database(StoreSpec(tmp_path / f"{epoch.identity.sensor_id}.db"))
        sensor = Sensor(spec, run, sink.claim([epoch.identity], 1)[0])
        for portion in portions_until(sensor):
            sink.deliver([portion])
        sink.close()
    stored = read(tmp_path, sensors=list(dict.fromkeys(computed["sensor_id"].tolist())))

    assert len({*computed["sensor_type"].tolist()}) == 2
    environmental = fleet.read(end=end, kinds="environmental")
    assert {*environmental["sensor_type"].tolist()} == {"environmental_monitoring"}
    order = np.argsort(computed["sensor_id"].astype(str), kind="stable")
    for name in stored.columns:
        np.testing.assert_array_equal(stored[name], computed[name][order], name)
    assert sorted(stored.episodes["first_seq"].tolist()) == sorted(computed.episodes["first_seq"].tolist())
    assert sorted(stored.episodes["last_seq"].tolist()) == sorted(computed.episodes["last_seq"].tolist())


def test_a_fleet_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    config = tmp_path / "fleet.yaml"
    config.write_text("version: 2\nreplicas: {count: 2}\nidentities: {path: mine}\nsimulation: {seed: 5}\n")

    found = Fleet(config).read(start="2026-01-01T00:10:00", end="2026-01-01T00:20:00")

    assert [path.name for path in tmp_path.rglob("*")] in (["mine", "fleet.yaml"], ["fleet.yaml", "mine"])
    assert found["timestamp"].min() >= np.datetime64("2026-01-01T00:10:00")
    again = Fleet(config).read(start="2026-01-01T00:10:00", end="2026-01-01T00:20:00")
    assert found["temperature"].tolist() == again["temperature"].tolist()
    assert repr(Fleet(config)) == "<Fleet: 2 sensors, seed 5>"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda data: read(data / "none"), "none: there is no such data directory"),
        (lambda data: read(data.parent), "there is no database of a fleet in it"),
        (lambda data: read(data, start="soon"), "start: 'soon' is not a time such as"),
        (lambda data: read(data, sensors="X"), "there is no sensor X"),
        (lambda data: read(data, missing=WRONG), "missing: 'zero' is not one of omit, null, held"),
        (lambda _: Fleet("nosuch"), "nosuch: cannot be read"),
        (lambda _: Fleet(replicas=0), "replicas: 0 is not between 1 and 100000"),
        (lambda _: Fleet(seed=1).read(end="2025-01-01"), "end: is not after start"),
    ],
)
def test_errors_are_one_line(make: Any, words: str, data: Path) -> None:
    with pytest.raises(UserError) as error:
        make(data)

    assert words in str(error.value)
    assert "\n" not in str(error.value)
