"""Tables of stored readings have what the databases have, however they lie in them."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from fleet.errors import UserError
from fleet.history.source import readings_between
from fleet.history.stored import StoredHistory, read_histories
from fleet.history.stored_values import parsed_times
from fleet.history.table import reading_schema
from tests.fleet.history.rows import rows_of
from tests.worker.further import Writer, become_turbine, kinds_writer
from tests.worker.samples import NEW_YEAR, SECOND_US
from worker.schedule import format_times

OLD = Path(__file__).parent.parent / "datadir" / "data" / "0.1.0"


def stored_rows(paths: list[Path], sensor_id: str) -> list[dict[str, Any]]:
    """The rows of a sensor as SQLite gives them."""
    rows = []
    for path in paths:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        cursor = connection.execute("SELECT * FROM sensor_readings WHERE sensor_id = ? ORDER BY seq", (sensor_id,))
        names = [name for (name,) in connection.execute("SELECT name FROM pragma_table_info('sensor_readings')")]
        rows += [dict(zip(names, row, strict=True)) for row in cursor]
        connection.close()
    return [{name: value for name, value in row.items() if name not in ("id", "synced")} for row in rows]


def exported_rows(history: StoredHistory, names: list[str], **how: Any) -> list[dict[str, Any]]:
    tables = history.tables(history.first, history.end, None, **{"keep_missing": False, **how})
    return [row for table in tables for row in rows_of(table, names)]


@pytest.fixture
def mixed(tmp_path: Path) -> Writer:
    """Sensors of three kinds in one database that is being written; the first becomes one of another kind."""
    writer = kinds_writer(tmp_path / "pack.db")
    writer.deliver(4000)
    become_turbine(writer)
    writer.deliver(4500)
    return writer


def test_a_database_of_several_kinds_that_is_being_written(mixed: Writer, tmp_path: Path) -> None:
    histories = read_histories(tmp_path)

    assert len(histories) == 3
    assert len(histories[0].epochs) + len(histories[1].epochs) + len(histories[2].epochs) == 4
    for history in histories:
        expected = stored_rows([tmp_path / "pack.db"], history.sensor_id)
        assert exported_rows(history, list(expected[0])) == expected
        schema = reading_schema([(epoch.identity, epoch.settings) for epoch in history.epochs])
        assert {*schema} <= {*expected[0]}
    mixed.sink.close()


def test_missing_readings_are_those_without_a_row(mixed: Writer, tmp_path: Path) -> None:
    history = read_histories(tmp_path)[0]
    stored = {row["seq"] for row in stored_rows([tmp_path / "pack.db"], history.sensor_id)}

    tables = [*history.tables(100, 4400, None, keep_missing=True)]

    seqs = np.concatenate([table.seqs for table in tables]).tolist()
    missing = [
        seq
        for table in tables
        if table.missing is not None
        for seq, lost in zip(table.seqs.tolist(), table.missing, strict=True)
        if lost
    ]
    assert seqs == list(range(100, 4400))
    assert missing == [seq for seq in range(100, 4400) if seq not in stored]
    assert missing
    row = next(row for table in tables for row in rows_of(table, list(tables[0].columns)) if row["seq"] == missing[0])
    assert row["timestamp"] == format_times(np.array([NEW_YEAR + missing[0] * SECOND_US]))[0]
    assert (row["anomaly_type"], row["anomaly_flag"], row["temperature"]) == ("missing_data", 1, None)
    mixed.sink.close()


def test_rotated_databases_follow_each_other(tmp_path: Path) -> None:
    writer = kinds_writer(tmp_path / "pack.db", max_bytes=400_000)
    for seconds in range(500, 3001, 500):
        writer.deliver(seconds)
    paths = [*sorted(tmp_path.glob("*.rotated-*.db")), tmp_path / "pack.db"]
    assert len(paths) > 2

    for history in read_histories(tmp_path):
        expected = stored_rows(paths, history.sensor_id)
        assert exported_rows(history, list(expected[0])) == expected
        assert (history.first, history.end) == (0, 3001)
    writer.sink.close()


def test_a_database_that_is_rotated_after_it_was_found_is_read(tmp_path: Path) -> None:
    writer = kinds_writer(tmp_path / "pack.db", max_bytes=200_000)
    writer.deliver(100)
    assert not [*tmp_path.glob("*.rotated-*.db")]
    (history, *_) = read_histories(tmp_path)
    expected = stored_rows([tmp_path / "pack.db"], history.sensor_id)
    writer.deliver(500)
    assert [*tmp_path.glob("*.rotated-*.db")]

    assert exported_rows(history, list(expected[0])) == expected
    writer.sink.close()


def test_readings_that_are_not_stored_are_computed(tmp_path: Path) -> None:
    from tests.worker.stores import SensorWriter

    rows = []
    for name in ("stored", "without"):
        (tmp_path / name).mkdir()
        writer = SensorWriter(tmp_path / name / "x.db", readings=name == "stored")
        writer.deliver(3000, final=True)
        writer.sink.close()
        (history,) = read_histories(tmp_path / name)
        names = list(reading_schema([(epoch.identity, epoch.settings) for epoch in history.epochs]))
        rows.append([exported_rows(history, names, keep_missing=keep) for keep in (False, True)])

    assert rows[0] == rows[1]
    assert len(rows[0][0]) < len(rows[0][1]) == 3001


@pytest.mark.parametrize("layout", ["own", "shared", "packed"])
def test_a_directory_of_version_0_1_0(layout: str, tmp_path: Path) -> None:
    with tarfile.open(OLD / f"{layout}.tar.gz") as file:
        file.extractall(tmp_path, filter="data")

    histories = read_histories(tmp_path / layout)

    assert len(histories) == {"own": 3, "shared": 3, "packed": 4}[layout]
    for history in histories:
        expected = stored_rows(sorted({part.path for part in history.parts}), history.sensor_id)
        assert exported_rows(history, list(expected[0])) == expected


def test_a_time_range_has_the_readings_that_were_due_in_it(mixed: Writer, tmp_path: Path) -> None:
    history = read_histories(tmp_path)[0]

    assert readings_between(history, NEW_YEAR + 10 * SECOND_US, NEW_YEAR + 20 * SECOND_US) == (10, 20)
    assert readings_between(history, NEW_YEAR + 10 * SECOND_US + 1, NEW_YEAR + 20 * SECOND_US + 1) == (11, 21)
    assert readings_between(history, None, None) == (0, 4501)
    first, end = readings_between(history, NEW_YEAR + 90_000 * SECOND_US, None)
    assert first == end
    mixed.sink.close()


def test_times_are_read_as_they_are_written() -> None:
    times = np.array([0, 1, -1, NEW_YEAR + 123_456, 86_399_999_999, -62_135_596_800_000_000, 253_402_300_799_999_999])

    assert parsed_times(format_times(times)).tolist() == times.tolist()
    assert parsed_times(["2026-01-01T01:00:00+01:00", "2026-01-01 00:00:00Z"]).tolist() == [NEW_YEAR] * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE sensor_readings SET timestamp = 'soon' WHERE seq = 7", "timestamp that is no time: 'soon'"),
        ("UPDATE sensor_readings SET temperature = 'warm' WHERE seq = 7", "a value of temperature that is no number"),
        ("UPDATE epochs SET settings = '{}'", "its epochs cannot be read"),
    ],
)
def test_a_database_with_other_values_is_an_error_in_one_line(change: str, words: str, tmp_path: Path) -> None:
    writer = kinds_writer(tmp_path / "pack.db")
    writer.deliver(20)
    writer.sink.close()
    connection = apsw.Connection(str(tmp_path / "pack.db"))
    connection.execute(change)
    connection.close()

    with pytest.raises(UserError) as error:
        [exported_rows(history, ["seq"]) for history in read_histories(tmp_path)]

    assert str(error.value).startswith(f"{tmp_path}/pack.db: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
