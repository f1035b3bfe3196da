"""A database that has reached its limit is kept, and another goes on: nothing lost, nothing doubled, whenever it dies."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.verify.verification import verify
from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, run, settings, with_catch_up
from tests.worker.stores import SensorWriter, select
from worker.spec import AnomalySpec, RunSpec
from worker.storage import rotation
from worker.storage.rotation import mark_rotated, rotated_path

LIMIT = 100_000
SETTINGS = settings(*ANOMALIES, AnomalySpec("trend", 0.2, 150, "readings"))
TABLES = {
    "sensor_readings": "SELECT * FROM sensor_readings ORDER BY id",
    "epochs": "SELECT * FROM epochs ORDER BY first_seq",
}


def patient(number: int = 1) -> RunSpec:
    return with_catch_up(run(number))


def limited(path: Path, number: int = 1, **store: Any) -> SensorWriter:
    return SensorWriter(path, SETTINGS, patient(number), number, **{"max_bytes": LIMIT, **store})


def files(path: Path) -> list[Path]:
    """Oldest first."""
    return [*sorted(path.parent.glob(f"{path.stem}.rotated-*.db")), path]


def readings(path: Path) -> list[tuple[Any, ...]]:
    return [row for file in files(path) for row in select(file, TABLES["sensor_readings"])]


def roles(kept: list[Path]) -> list[str]:
    return [str(select(file, "SELECT role FROM database_info")[0][0]) for file in kept]


def unrotated(folder: Path, seconds: float) -> list[tuple[Any, ...]]:
    folder.mkdir(exist_ok=True)
    path = folder / f"{IDENTITY.sensor_id}.db"
    with closing(SensorWriter(path, SETTINGS, patient()).sink):
        pass
    writer = SensorWriter(path, SETTINGS, patient(), 1)
    writer.deliver(seconds)
    writer.sink.close()
    return readings(path)


def sound(path: Path) -> None:
    verdict = verify(path.parent)
    assert () == verdict.findings
    assert verdict.ok


@pytest.mark.claim("001.configuration-options.14")
def test_a_full_database_is_kept_and_another_goes_on(path: Path, tmp_path: Path) -> None:
    """Row for row what one database would have, with the same ids; each file says what it is."""
    writer = limited(path)
    for second in range(0, 4_000, 50):
        writer.deliver(second)
    writer.sink.close()

    kept = files(path)
    assert set(kept) == set(tmp_path.iterdir())
    assert len(kept) > 4
    assert ["rotated"] * (len(kept) - 1) + ["live"] == roles(kept)
    assert len(kept) == len({select(file, "SELECT generation FROM database_info")[0][0] for file in kept})
    assert all(file.stat().st_size < LIMIT * 1.5 for file in kept)
    assert unrotated(tmp_path / "whole", 3_950) == readings(path)
    sound(path)


@pytest.mark.parametrize("final", [False, True])
def test_later_runs_go_on_in_the_new_one(final: bool, path: Path) -> None:
    """Whether the worker was killed or drained, catches up or skips: its episodes and epochs are right in each file."""
    end = 0
    for number in range(1, 12):
        during = patient(number) if number % 3 else run(number, NEW_YEAR + (end + 5_000) * 1_000_000)
        begun = end if number % 3 else 0
        writer = SensorWriter(path, SETTINGS, during, number, max_bytes=LIMIT)
        writer.deliver(begun + 150)
        writer.deliver(begun + 300, final=final)
        writer.sink.close()
        end = begun + 300 if number % 3 else end
        sound(path)
    assert len(files(path)) > 2


def test_a_reader_keeps_it_open_and_it_is_rotated_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Commits go on in the meantime, and the reader sees them."""
    monkeypatch.setattr(rotation, "ROTATION_RETRY_SECONDS", 0.0)
    writer = limited(path)
    writer.deliver(100)
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.execute("SELECT count(*) FROM sensor_readings").fetchall()
        for second in range(100, 1_500, 100):
            writer.deliver(second)
        assert [path] == files(path)
        (last,) = reader.execute("SELECT max(seq) FROM sensor_readings").fetchone() or (0,)
        assert last > 1_390
    with caplog.at_level(logging.INFO):
        writer.deliver(1_500)
    writer.sink.close()

    assert 2 == len(files(path))
    assert f"kept as {path.stem}.rotated-0001.db" in caplog.text
    sound(path)


@pytest.mark.process
@pytest.mark.parametrize(
    ("wal", "stride"),
    [(True, 8), (False, 13), *(pytest.param(wal, 1, marks=pytest.mark.slow) for wal in (True, False))],
)
def test_a_worker_that_is_killed_at_any_step_is_followed(wal: bool, stride: int, path: Path, tmp_path: Path) -> None:
    """By one that loses nothing and doubles nothing, and verification finds nothing wrong with what was left."""
    step, ended = 0, False
    expected = unrotated(tmp_path / "whole", 900)
    while not ended:
        step += stride
        home = tmp_path / f"{step}" / path.name
        home.parent.mkdir()
        limited(home, wal=wal).deliver(300)
        ended = not dies_at(step, home, wal)
        sound(home)
        writer = limited(home, 3, wal=wal)
        writer.deliver(900)
        writer.sink.close()
        assert expected == readings(home), step
        kept = files(home)
        assert ["rotated"] * (len(kept) - 1) + ["live"] == roles(kept), step
        assert 2 <= len(kept) <= 5, step
        sound(home)
    assert step > 40


def dies_at(step: int, path: Path, wal: bool) -> bool:
    """Have a process commit and rotate, and kill itself at its so-manyth SQL statement or change to a folder. Returns
    whether it had so many."""
    pid = os.fork()
    if pid == 0:
        left = [step]

        def count(*_: object) -> bool:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return True

        def changes(event: str, _arguments: object) -> None:
            if event in ("os.link", "os.rename", "os.remove"):
                count()

        def trace(connection: apsw.Connection) -> None:
            connection.exec_trace = count

        writer = limited(path, 2, wal=wal)
        assert writer.sink._connection
        trace(writer.sink._connection)
        apsw.connection_hooks.append(trace)
        sys.addaudithook(changes)
        writer.deliver(601)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_an_interrupted_rotation_is_finished_when_the_database_is_opened(path: Path) -> None:
    """Before anything is written into it."""
    writer = limited(path)
    writer.deliver(100)
    writer.sink.close()
    with closing(apsw.Connection(str(path))) as connection:
        assert mark_rotated(connection, 1)
    limited(path, 2).sink.close()

    assert ["rotated", "live"] == roles(files(path))
    sound(path)


def test_without_second_names_the_database_grows_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on file systems of FAT: that is said once."""
    monkeypatch.setattr(os, "link", refused)
    writer = limited(path)
    with caplog.at_level(logging.INFO):
        for second in range(0, 2_000, 100):
            writer.deliver(second)
    writer.sink.close()

    assert [path] == files(path)
    assert 1 == caplog.text.count("cannot be rotated here")
    assert [path] == list(path.parent.iterdir())
    sound(path)


def refused(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_numbers_go_on(path: Path) -> None:
    """Also beyond files that were moved away, and where others have names that look alike."""
    path.touch()
    for name in ("CHI_123456.rotated-0007.db", "CHI_123456.rotated-9.rotated-0009.db", "CHI_123456.rotated-x.db"):
        path.with_name(name).touch()

    assert "CHI_123456.rotated-0008.db" == rotated_path(path).name


def test_a_shared_database_is_left_alone(path: Path) -> None:
    writer = limited(path, shared=True)
    writer.deliver(2_000)
    writer.sink.close()

    assert [path] == files(path)


@pytest.fixture
def several(path: Path) -> list[Path]:
    writer = limited(path)
    for second in range(0, 1_500, 50):
        writer.deliver(second)
    writer.sink.close()
    return files(path)


def test_a_rotated_one_that_is_gone_is_missed(several: list[Path]) -> None:
    """What follows on it is judged all the same."""
    several[0].unlink()

    verdict = verify(several[0].parent)
    assert {"hole"} == set(verdict.counts)
    (finding,) = verdict.findings
    assert (several[1].name, 0) == (finding.database, finding.first_seq)
    assert f"they are in {several[0].name}, which does not exist" == finding.detail


def test_links_that_do_not_meet_are_found(several: list[Path]) -> None:
    """Rows that vanish at the seam with the checkpoint, as in an older copy of the file."""
    with closing(apsw.Connection(str(several[0]))) as connection:
        (end,) = connection.execute("SELECT next_seq FROM checkpoints").fetchone() or (0,)
        connection.execute("DELETE FROM sensor_readings WHERE seq >= ?", (end - 5,))
        connection.execute("DELETE FROM anomaly_episodes WHERE first_seq >= ?", (end - 5,))
        connection.execute("UPDATE checkpoints SET next_seq = ?", (end - 5,))

    (finding,) = verify(several[0].parent).findings
    assert ("checkpoint", several[1].name) == (finding.kind, finding.database)
    assert f"{several[0].name} ends at {end - 5}, and its successor begins at {end}" == finding.detail


def test_a_sensor_can_be_verified_alone(several: list[Path]) -> None:
    verdict = verify(several[0].parent, sensor=IDENTITY.sensor_id)

    assert (True, len(several), 1) == (verdict.ok, verdict.databases, verdict.sensors)


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM anomaly_episodes WHERE first_seq < (SELECT first_seq FROM origins)", "episode missing"),
        ("UPDATE anomaly_episodes SET type = 'x' WHERE first_seq < (SELECT first_seq FROM origins)", "episode altered"),
        ("INSERT INTO anomaly_episodes SELECT sensor_id, type, channel, 1, 1, '', '', '' FROM anomaly_episodes LIMIT 1",
         "episode extra"),
    ],
)  # fmt: skip
def test_episodes_over_the_seam_are_judged(statement: str, kind: str, path: Path) -> None:
    """Those that run when a database is rotated are in both files."""
    writer = SensorWriter(path, settings(AnomalySpec("trend", 0.95, 90_000, "readings")), patient(), max_bytes=LIMIT)
    while len(files(path)) < 2:
        writer.deliver(writer.sensor.next_seq + 50)
    writer.deliver(writer.sensor.next_seq + 5)
    writer.sink.close()
    ((carried,),) = select(
        path, "SELECT count(*) FROM anomaly_episodes WHERE first_seq < (SELECT first_seq FROM origins)"
    )
    assert 1 == carried
    sound(path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(statement)

    assert {kind: 1} == dict(verify(path.parent).counts)
