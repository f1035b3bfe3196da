"""What is damaged by hand is found, named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.findings import KEPT, Finding
from fleet.verification import verify
from tests.fleet.damage import TOLD, ask, crew, damage, kinds, record, seq_of, write
from tests.worker.samples import IDENTITY, TEMPERATURE, settings

SENSOR = IDENTITY.sensor_id
END = 3000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of 3,000 scheduled readings of one sensor, a fifth of them anomalous."""
    path = tmp_path / f"{SENSOR}.db"
    write(path, END - 1)
    return path


def only(path: Path, kind: str) -> Finding:
    """The one finding that there is."""
    verdict = verify(path.parent)
    assert {kind: 1} == kinds(verdict)
    (finding,) = verdict.findings
    assert (kind, SENSOR, path.name) == (finding.kind, finding.sensor_id, finding.database)
    return finding


def test_nothing_is_wrong(path: Path) -> None:
    verdict = verify(path.parent)

    assert verdict.ok
    assert () == verdict.findings
    assert (1, 1) == (verdict.sensors, verdict.databases)
    assert ask(path, "SELECT count(*) FROM sensor_readings") == [(verdict.readings,)]
    assert ask(path, "SELECT count(*) FROM anomaly_episodes") == [(verdict.episodes,)]


@pytest.mark.parametrize("row", [1, 2, 1500, -1])
def test_a_deleted_row(path: Path, row: int) -> None:
    """Wherever it was."""
    row = row if row > 0 else ask(path, "SELECT max(id) FROM sensor_readings")[0][0]
    seq = seq_of(path, row)
    damage(path, "DELETE FROM sensor_readings WHERE id = :row", row=row)

    finding = only(path, "hole")
    assert (seq, seq, "1 reading") == (finding.first_seq, finding.last_seq, finding.detail)


def test_many_deleted_rows(path: Path) -> None:
    """They are counted without those of missing_data, whose gaps split the hole."""
    damage(path, "DELETE FROM sensor_readings WHERE id BETWEEN 1000 AND 1999")

    verdict = verify(path.parent)
    assert {"hole": 1000} == kinds(verdict)
    assert 1000 == sum(int(found.detail.split()[0]) for found in verdict.findings)
    missing = ask(path, "SELECT first_seq, last_seq FROM anomaly_episodes WHERE type = 'missing_data'")
    holes = {seq for found in verdict.findings for seq in range(found.first_seq or 0, (found.last_seq or 0) + 1)}
    assert not holes & {seq for first, last in missing for seq in range(first, last + 1)}


def test_all_rows_deleted(path: Path) -> None:
    readings = verify(path.parent).readings
    damage(path, "DELETE FROM sensor_readings")

    assert {"hole": readings} == kinds(verify(path.parent))


@pytest.mark.parametrize("column", ["temperature", "humidity", "pressure", "vibration", "voltage"])
def test_the_last_digit_of_a_value(path: Path, column: str) -> None:
    """Found and expected value are both told."""
    ((old,),) = ask(path, f"SELECT {column} FROM sensor_readings WHERE id = 700")
    new = round(old + (1.0 if column == "pressure" else 0.001 if column == "vibration" else 0.01), 3)
    damage(path, f"UPDATE sensor_readings SET {column} = {new} WHERE id = 700")

    finding = only(path, "altered")
    assert (seq_of(path, 700), f"{column} is {new}, must be {old}") == (finding.first_seq, finding.detail)


def test_a_value_that_is_gone(path: Path) -> None:
    damage(path, "UPDATE sensor_readings SET humidity = NULL WHERE id = 700")

    assert "humidity is None, must be " in only(path, "altered").detail


def test_a_value_of_a_channel_that_the_sensor_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / f"{SENSOR}.db"
    write(path, 99, settings(channels=(TEMPERATURE,)))
    assert verify(tmp_path).ok
    damage(path, "UPDATE sensor_readings SET humidity = 60.0 WHERE id = 7")

    assert "humidity is 60.0, must be None" == only(path, "altered").detail


def test_two_timestamps_swapped(path: Path) -> None:
    (first,), (second,) = ask(path, "SELECT timestamp FROM sensor_readings WHERE id IN (700, 701)")
    damage(
        path,
        f"UPDATE sensor_readings SET timestamp = '{second}' WHERE id = 700",
        f"UPDATE sensor_readings SET timestamp = '{first}' WHERE id = 701",
    )

    verdict = verify(path.parent)
    assert {"altered": 2} == kinds(verdict)
    assert [seq_of(path, 700), seq_of(path, 701)] == [found.first_seq for found in verdict.findings]
    assert f"timestamp is {second!r}, must be {first!r}" == verdict.findings[0].detail


@pytest.mark.parametrize("row", [1, 700, 1999])
def test_two_rows_swapped(path: Path, row: int) -> None:
    """Each is there once and right, but not in its place."""
    damage(
        path,
        f"UPDATE sensor_readings SET id = -1 WHERE id = {row}",
        f"UPDATE sensor_readings SET id = {row} WHERE id = {row + 1}",
        f"UPDATE sensor_readings SET id = {row + 1} WHERE id = -1",
    )

    assert seq_of(path, row) == only(path, "order").first_seq


@pytest.mark.parametrize(("old", "new"), [(5, 100_000), (1500, 0), (1500, 100_000)])
def test_a_row_moved(path: Path, old: int, new: int) -> None:
    """To the beginning or the end: it alone is out of order, not the thousands that it stands before or behind."""
    seq = seq_of(path, old)
    damage(path, f"UPDATE sensor_readings SET id = {new} WHERE id = {old}")

    assert seq == only(path, "order").first_seq


def test_rows_in_reverse(path: Path) -> None:
    """All but the first are out of order; nothing is lost."""
    readings = verify(path.parent).readings
    damage(path, "UPDATE sensor_readings SET id = -id")

    assert {"order": readings - 1} == kinds(verify(path.parent))


@pytest.mark.parametrize("row", [1, 700])
def test_a_duplicated_row(path: Path, row: int) -> None:
    columns = ",".join(name for (name,) in ask(path, "SELECT name FROM pragma_table_info('sensor_readings')")[1:])
    damage(path, f"INSERT INTO sensor_readings ({columns}) SELECT {columns} FROM sensor_readings WHERE id = {row}")

    assert seq_of(path, row) == only(path, "repeat").first_seq


def test_a_row_that_should_be_missing(path: Path) -> None:
    """A reading of a missing_data episode that has a row all the same."""
    ((seq,),) = ask(path, "SELECT min(first_seq) FROM anomaly_episodes WHERE type = 'missing_data' AND first_seq > 9")
    columns = ",".join(name for (name,) in ask(path, "SELECT name FROM pragma_table_info('sensor_readings')")[1:-1])
    damage(
        path,
        f"INSERT INTO sensor_readings ({columns}, seq) SELECT {columns}, {seq} FROM sensor_readings WHERE id = 4",
    )

    assert seq == only(path, "stray").first_seq


def test_a_row_beyond_the_checkpoint(path: Path) -> None:
    damage(path, "UPDATE checkpoints SET next_seq = next_seq - 1")

    finding = only(path, "beyond")
    assert (END - 1, f"the checkpoint is at {END - 1}") == (finding.first_seq, finding.detail)


def test_a_checkpoint_beyond_the_rows(path: Path) -> None:
    """However far: it ends soon, and says where the hole begins."""
    damage(path, f"UPDATE checkpoints SET next_seq = {10**15}")

    verdict = verify(path.parent)
    assert 10**15 - END == kinds(verdict)["hole"]
    assert (END, 10**15 - 1) == (verdict.findings[0].first_seq, verdict.findings[0].last_seq)


@pytest.mark.parametrize("column", ["firmware_version", "latitude", "location", "sensor_type", "sensor_id"])
def test_an_identity_column(path: Path, column: str) -> None:
    damage(path, f"UPDATE sensor_readings SET {column} = 'x' WHERE id = 700")

    finding = only(path, "identity")
    assert (seq_of(path, 700), True) == (finding.first_seq, finding.detail.startswith(f"{column} is 'x', must be "))


def test_an_identity_altered_from_some_row_on(path: Path) -> None:
    """All are counted, and told as one."""
    first = seq_of(path, 2000)
    last = ask(path, "SELECT max(id) FROM sensor_readings")[0][0]
    damage(path, "UPDATE sensor_readings SET model = NULL WHERE id >= 2000")

    verdict = verify(path.parent)
    assert {"identity": last - 1999} == kinds(verdict)
    assert first == verdict.findings[0].first_seq


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("anomaly_flag = 1", "anomaly_flag is 1, must be 0"),
        ("anomaly_type = 'trend'", "anomaly_type is 'trend', must be None"),
        ("status_code = 7", "status_code is 7, must be 0"),
    ],
)
def test_a_wrong_label(path: Path, change: str, detail: str) -> None:
    ((row,),) = ask(path, "SELECT min(id) FROM sensor_readings WHERE anomaly_flag = 0 AND id > 700")
    damage(path, f"UPDATE sensor_readings SET {change} WHERE id = {row}")

    finding = only(path, "label")
    assert (seq_of(path, row), detail) == (finding.first_seq, finding.detail)


def test_a_label_that_is_gone(path: Path) -> None:
    ((row,),) = ask(path, "SELECT min(id) FROM sensor_readings WHERE anomaly_type = 'spike'")
    damage(path, f"UPDATE sensor_readings SET anomaly_type = NULL, anomaly_flag = 0 WHERE id = {row}")

    assert "anomaly_flag is 0, must be 1; anomaly_type is None, must be 'spike'" == only(path, "label").detail


def test_a_dropped_episode(path: Path) -> None:
    ((first, last),) = ask(path, "SELECT first_seq, last_seq FROM anomaly_episodes WHERE type = 'pattern' LIMIT 1")
    damage(path, f"DELETE FROM anomaly_episodes WHERE first_seq = {first}")

    finding = only(path, "episode missing")
    assert (first, last, "pattern") == (finding.first_seq, finding.last_seq, finding.detail)


@pytest.mark.parametrize("first", [17, END + 5, -3])
def test_an_added_episode(path: Path, first: int) -> None:
    damage(
        path,
        "INSERT INTO anomaly_episodes SELECT sensor_id, type, channel, :first, :first, start_time, end_time, parameters"
        " FROM anomaly_episodes WHERE type = 'trend' LIMIT 1",
        first=first,
    )

    assert first == only(path, "episode extra").first_seq


@pytest.mark.parametrize("column", ["type", "channel", "last_seq", "start_time", "end_time", "parameters"])
def test_an_altered_episode(path: Path, column: str) -> None:
    """Also the last one that is on record, which is allowed to be cut."""
    firsts = ask(path, "SELECT first_seq FROM anomaly_episodes WHERE type <> 'missing_data' ORDER BY first_seq")
    for (first,) in (firsts[10], firsts[-1]):
        ((old,),) = ask(path, f"SELECT {column} FROM anomaly_episodes WHERE first_seq = {first}")
        new = old + 1 if isinstance(old, int) else "x"
        damage(path, f"UPDATE anomaly_episodes SET {column} = :new WHERE first_seq = {first}", new=new)

        finding = only(path, "episode altered")
        assert (first, f"{column} is {new!r}, must be {old!r}") == (finding.first_seq, finding.detail)

        damage(path, f"UPDATE anomaly_episodes SET {column} = :old WHERE first_seq = {first}", old=old)


def test_an_episode_moved(path: Path) -> None:
    ((first,),) = ask(path, "SELECT first_seq FROM anomaly_episodes WHERE type = 'noise' LIMIT 1")
    damage(path, f"UPDATE anomaly_episodes SET first_seq = {first} + 1 WHERE first_seq = {first}")

    assert {"episode missing": 1, "episode extra": 1} == kinds(verify(path.parent))


def test_episodes_of_an_unknown_sensor(path: Path) -> None:
    damage(
        path,
        "UPDATE anomaly_episodes SET sensor_id = 'GHOST' WHERE first_seq = (SELECT min(first_seq) FROM anomaly_episodes)",
    )

    verdict = verify(path.parent)
    assert {"episode missing": 1, "episode extra": 1} == kinds(verdict)
    assert ["GHOST"] == [found.sensor_id for found in verdict.findings if found.kind == "episode extra"]


@pytest.mark.parametrize(
    "change",
    [
        "seed = '43'",
        "start_us = start_us + 1",
        "settings = replace(settings, '22.0', '22.5')",
        """settings = replace(settings, '"rate":"1"', '"rate":"2"')""",
        """identity = replace(identity, 'America/Chicago', 'Asia/Tokyo')""",
    ],
)
def test_an_epoch_with_which_readings_do_not_agree(path: Path, change: str) -> None:
    """Its readings are found to be others, all of them counted, the first of them told."""
    damage(path, f"UPDATE epochs SET {change}")

    verdict = verify(path.parent)
    assert not verdict.ok
    assert kinds(verdict)["altered"] > 1000
    assert KEPT == sum(found.kind == "altered" for found in verdict.findings)


def test_a_seed_that_is_not_the_fleets(path: Path) -> None:
    record(path.parent, seed=43)

    assert "its seed is 42, that of the fleet is 43" == only(path, "epoch").detail


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("start_time = 'noon'", "its start_time is noon, must be 2026-01-01T00:00:00.000000+00:00"),
        ("settings = '{'", "it cannot be read: JSONDecodeError"),
        ("settings = '[]'", "it cannot be read: TypeError"),
        ("settings = replace(settings, 'spike', 'spook')", "it cannot be computed: "),
        (
            """settings = replace(settings, '"rate":"1"', '"rate":"0"')""",
            "it cannot be read: ValueError: its rate is 0",
        ),
        ("""settings = replace(settings, '"rate":"1"', '"rate":"1/0"')""", "it cannot be read: ZeroDivisionError"),
        ("settings = replace(settings, '22.0', '\"22\"')", "it cannot be computed: "),
        ("identity = replace(identity, 'America/Chicago', 'Mars/Base')", "it cannot be computed: "),
        ("seed = 'x'", "it cannot be read: ValueError"),
        ("start_us = 'x'", "it cannot be "),
        (f"start_us = {(1 << 63) - 1}", "it"),
    ],
)
def test_an_epoch_that_cannot_be_used(path: Path, change: str, detail: str) -> None:
    """Its readings are not judged: nothing more is said of them."""
    damage(path, f"UPDATE epochs SET {change}")

    verdict = verify(path.parent)
    assert {"epoch"} == set(verdict.counts) - {"identity"}
    assert any(found.detail.startswith(detail) for found in verdict.findings), verdict.findings


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM epochs", "epoch"),
        ("UPDATE epochs SET first_seq = 'x'", "epoch"),
        ("UPDATE epochs SET first_seq = 5", "epoch"),
        ("DELETE FROM checkpoints", "checkpoint"),
        ("UPDATE checkpoints SET next_seq = 'x'", "checkpoint"),
        ("DROP TABLE anomaly_episodes", "unreadable"),
        ("ALTER TABLE sensor_readings DROP COLUMN voltage", "unreadable"),
        ("UPDATE sensor_readings SET seq = 'x' WHERE id = 7", "stray"),
        ("UPDATE sensor_readings SET seq = -7 WHERE id = 7", "stray"),
        ("UPDATE sensor_readings SET seq = 1e300 WHERE id = 7", "stray"),
        ("UPDATE sensor_readings SET location = CAST(X'ff00fe' AS TEXT) WHERE id = 7", "identity"),
        ("UPDATE sensor_readings SET timestamp = CAST(X'ff00fe' AS TEXT) WHERE id = 7", "altered"),
        ("UPDATE sensor_readings SET anomaly_type = X'00' WHERE id = 7", "label"),
        ("UPDATE anomaly_episodes SET parameters = CAST(X'ff00fe' AS TEXT)", "unreadable"),
        (
            "UPDATE anomaly_episodes SET first_seq = 'x' WHERE first_seq = (SELECT min(first_seq) FROM anomaly_episodes)",
            "episode extra",
        ),
        ("UPDATE epochs SET settings = CAST(X'ff00fe' AS TEXT)", "unreadable"),
    ],
)
def test_damage_of_odd_kinds(path: Path, statement: str, kind: str) -> None:
    """Whatever stands there, it is a finding of that kind."""
    damage(path, statement)

    assert kind in verify(path.parent).counts


def test_damage_in_a_shared_database(tmp_path: Path) -> None:
    """It is told of the right sensor, and of it alone."""
    path = tmp_path / "sensor_data.db"
    write(path, 500, sensors=crew(5), pace=7)
    assert verify(tmp_path).ok
    damage(
        path,
        "DELETE FROM sensor_readings WHERE sensor_id = 'S_000001' AND seq = 200",
        "UPDATE sensor_readings SET voltage = 1 WHERE sensor_id = 'S_000002' AND seq = (SELECT max(seq) FROM sensor_readings)",
        "UPDATE sensor_readings SET latitude = 2 WHERE sensor_id = 'S_000003' AND seq BETWEEN 0 AND 3",
        "UPDATE sensor_readings SET sensor_id = 'GHOST' WHERE sensor_id = 'S_000004' AND seq = 0",
    )

    verdict = verify(tmp_path)
    told = {(found.kind, found.sensor_id, found.first_seq) for found in verdict.findings}
    assert ("hole", "S_000001", 200) in told
    assert ("identity", "S_000003", 0) in told
    assert ("stray", "GHOST", None) in told
    assert ("hole", "S_000004", 0) in told
    assert {"S_000001", "S_000002", "S_000003", "S_000004", "GHOST"} == {sensor for _, sensor, _ in told}


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database " * 500)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100_000])


def no_file(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("ruin", [garbage, cut_short, no_file, directory])
def test_a_file_that_is_no_database(path: Path, ruin: Callable[[Path], None]) -> None:
    """It is a finding; the others are checked."""
    write(path.with_name("OTHER_1.db"), 50, TOLD, sensors=crew(1))
    ruin(path)

    verdict = verify(path.parent)
    assert "unreadable" in verdict.counts
    assert {path.name} == {found.database for found in verdict.findings}
    assert 1 <= verdict.sensors


@pytest.mark.parametrize("filling", [b"\0", b"\xa5"])
@pytest.mark.parametrize("page", range(2, 40, 4))
def test_a_page_of_garbage(path: Path, filling: bytes, page: int) -> None:
    """Wherever it is: never a traceback, and never all as it must be. What lies behind it is checked all the same."""
    readings = verify(path.parent).readings
    pages = path.stat().st_size // 4096
    assert pages > 40
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(filling * 4096)

    verdict = verify(path.parent)
    assert not verdict.ok
    if {"unreadable", "hole"} == set(verdict.counts) and verdict.readings:
        assert verdict.readings + verdict.counts["hole"] == readings
        assert verdict.counts["hole"] < 100
