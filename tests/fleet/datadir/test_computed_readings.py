"""The readings of a database that stores none are those that it would have stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet.datadir.computed_readings import add_computed_readings
from fleet.datadir.readings import latest_readings, read_only_connection, record_count
from tests.worker.further import AIR, AIR_COLUMNS, AIR_IDENTITY, TURBINE_COLUMNS, Writer, become_turbine
from tests.worker.stores import SETTINGS, SensorWriter, select
from worker.spec import Settings
from worker.storage.schema import STORED_COLUMNS

ALL = ", ".join(STORED_COLUMNS[1:])


def computed(path: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with read_only_connection(path) as opened:
        add_computed_readings(opened)
        return opened.execute(query, values).fetchall()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two databases of the same run, with its anomalies: one stores its readings."""
    folder = tmp_path_factory.mktemp("pair")
    paths = folder / "stored.db", folder / "computed.db"
    for path in paths:
        writer = SensorWriter(path, readings=path.stem == "stored")
        for seconds in (0.35, 100, 101, 300):
            writer.deliver(seconds)
        writer.claim_again()
        writer.deliver(400, final=True)
        writer.sink.close()
    return paths


def test_rows_are_those_that_would_be_stored(pair: tuple[Path, Path]) -> None:
    stored, without = pair
    everything = select(stored, f"SELECT {ALL} FROM sensor_readings ORDER BY id")

    assert select(stored, "SELECT count(*) FROM anomaly_episodes WHERE type = 'missing_data'") != [(0,)]
    assert everything == computed(without, f"SELECT {ALL} FROM sensor_readings ORDER BY id")
    assert everything[::-1] == computed(without, f"SELECT {ALL} FROM sensor_readings ORDER BY id DESC")
    assert [] == select(without, "SELECT * FROM sensor_readings")
    types = "SELECT name, type FROM pragma_table_info('sensor_readings')"
    assert select(stored, types) == computed(without, types)
    for table in ("checkpoints", "epochs", "anomaly_episodes"):
        assert select(stored, f"SELECT * FROM {table}") == select(without, f"SELECT * FROM {table}")


@pytest.mark.parametrize(
    "condition",
    [
        "seq >= 70 AND seq < 140",
        "seq = 77",
        "seq <= 12.5",
        "seq > NULL",
        "seq BETWEEN 1000 AND 999999999",
        "seq < 0",
        "anomaly_type IS NOT NULL AND seq > 100",
    ],
)
@pytest.mark.parametrize("order", ["ORDER BY seq", "ORDER BY seq DESC LIMIT 5"])
def test_parts_are_the_same(pair: tuple[Path, Path], condition: str, order: str) -> None:
    query = f"SELECT seq, timestamp, temperature FROM sensor_readings WHERE {condition} {order}"
    assert select(pair[0], query) == computed(pair[1], query)


def test_an_id_is_that_of_a_number(pair: tuple[Path, Path]) -> None:
    assert [(78, 77)] == computed(pair[1], "SELECT id, seq FROM sensor_readings WHERE id = 78")
    assert [(1,)] == computed(pair[1], "SELECT min(id) FROM sensor_readings")
    last = select(pair[0], "SELECT max(seq) FROM sensor_readings")[0][0]
    assert [(last + 1,)] == computed(pair[1], "SELECT max(rowid) FROM sensor_readings")


def test_kinds_with_columns_of_their_own(tmp_path: Path) -> None:
    """Also when the sensor becomes another kind: a column of the other kind is NULL."""
    paths = tmp_path / "stored.db", tmp_path / "computed.db"
    for path in paths:
        writer = Writer(path, (AIR_IDENTITY, AIR), readings=path.stem == "stored")
        writer.deliver(250)
        become_turbine(writer)
        writer.deliver(500)
        writer.sink.close()
    names = [name for name, _ in select(paths[0], "SELECT name, cid FROM pragma_table_info('sensor_readings')")]
    columns = ", ".join(f'"{name}"' for name in names if name != "id")
    query = f"SELECT {columns} FROM sensor_readings ORDER BY id"

    assert {*AIR_COLUMNS, *TURBINE_COLUMNS} < set(names)
    assert select(paths[0], query) == computed(paths[1], query)
    types = "SELECT name, type FROM pragma_table_info('sensor_readings')"
    assert select(paths[0], types) == computed(paths[1], types)


def test_a_collector_gets_the_same_rows(pair: tuple[Path, Path]) -> None:
    """It asks for ids, some of which may be dead letters, and not by SQL."""
    with read_only_connection(pair[1]) as opened:
        readings = add_computed_readings(opened)
        assert readings is not None
        ids = [number for (number,) in opened.execute("SELECT id FROM sensor_readings WHERE id % 3 AND id > 20")]
        rows = opened.execute("SELECT * FROM sensor_readings WHERE id % 3 AND id > 20").fetchall()
        assert (rows, []) == (readings.rows_of(ids), readings.rows_of([]))
    with read_only_connection(pair[0]) as opened:
        assert add_computed_readings(opened) is None


def test_readers_see_them(pair: tuple[Path, Path]) -> None:
    def without_id(row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if name != "id"}

    first, second = (list(map(without_id, latest_readings(path, 20))) for path in pair)
    assert 20 == len(first)
    assert first == second
    assert record_count(pair[1]) >= record_count(pair[0])


def test_a_connection_sees_what_is_committed_meanwhile(tmp_path: Path) -> None:
    """Also readings of an epoch that has begun meanwhile."""
    path = tmp_path / "a.db"
    writer = SensorWriter(path, readings=False)
    writer.deliver(1)
    with read_only_connection(path, held=True) as opened:
        add_computed_readings(opened)
        before = opened.execute("SELECT max(seq) FROM sensor_readings").get
        writer.deliver(2)
        writer.sensor.change(changed_rate(writer))
        writer.deliver(4)
        after = opened.execute("SELECT max(seq) FROM sensor_readings").get
    assert before < after
    assert 2 == select(path, "SELECT count(*) FROM epochs")[0][0]
    writer.sink.close()


def changed_rate(writer: SensorWriter) -> Any:
    from dataclasses import replace

    changed: Settings = replace(SETTINGS, rate="20")
    return replace(writer.sensor.spec, settings=changed)


def test_few_readings_are_computed_for_the_last(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last id is asked for at each sweep: it must not cost the whole history."""
    from worker.readings.generator import SignalGenerator

    counts: list[int] = []
    block = SignalGenerator.block

    def counted(self: SignalGenerator, first: int, count: int) -> Any:
        counts.append(count)
        return block(self, first, count)

    monkeypatch.setattr(SignalGenerator, "block", counted)
    for query in ("SELECT max(id) FROM sensor_readings", "SELECT min(id) FROM sensor_readings"):
        counts.clear()
        computed(pair[1], query)
        assert sum(counts) < 1000
