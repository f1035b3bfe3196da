"""Readers of a database leave nothing behind, and need no permission to write."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.datadir.readings import DatabaseChanged, DatabaseUnreadable, record_count
from fleet.verify.verification import verify
from tests.fleet.verify.damage import damage, write_database, write_sample_manifest
from tests.worker.samples import IDENTITY
from worker.storage.connection import connect

OWNER, READER, GROUP = 65533, 65534, 65534
NAME = f"{IDENTITY.sensor_id}.db"
ROOT = Path(__file__).resolve().parents[3]

AS_READER = """
import os, shutil, sys, tempfile
from pathlib import Path
from fleet.datadir.readings import DatabaseUnreadable, read_only_connection, record_count
from fleet.verify.verification import verify
data = Path(sys.argv[1])
(database,) = data.glob("*.db")
with tempfile.TemporaryDirectory() as folder:  # loads all modules while their files can be read
    verify(Path(shutil.copytree(data, Path(folder, "data"))))
os.setegid(65534)
os.seteuid(65534)
try:
    verdict = verify(data)
    with read_only_connection(database, held=True) as opened:
        held = opened.execute("SELECT count(*) FROM sensor_readings").get
    print(record_count(database) == held == verdict.readings, verdict.counts, [str(f.detail) for f in verdict.findings])
except DatabaseUnreadable as error:
    print(error)
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory of one user that others can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir()
        write_database(data / NAME, 50)
        write_sample_manifest(data)
        yield data


def hand_over(data: Path, *, may_write: bool) -> None:
    for path in (data, *data.iterdir()):
        os.chown(path, OWNER, GROUP)
        path.chmod((0o775 if path.is_dir() else 0o664) if may_write else (0o755 if path.is_dir() else 0o644))


def read_as_another_user(data: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AS_READER, str(data)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def keep_log(path: Path) -> None:
    """Write to a database as a worker that is killed: its log and the index of that remain."""
    pid = os.fork()
    if not pid:
        connection = connect(path)
        connection.execute("UPDATE sensor_readings SET synced = 1")
        os._exit(0)
    os.waitpid(pid, 0)
    assert path.with_name(path.name + "-wal").stat().st_size


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@as_root
@pytest.mark.process
@pytest.mark.parametrize("may_write", [True, False])
@pytest.mark.parametrize("killed", [False, True])
def test_another_user_reads_a_stopped_fleet(killed: bool, may_write: bool, data: Path) -> None:
    """All of it, also what a killed worker has left in its log; with and without permission to write."""
    if killed:
        keep_log(data / NAME)
    hand_over(data, may_write=may_write)
    before = {(path.name, path.stat().st_uid) for path in data.iterdir()}

    assert "True {} []" == read_as_another_user(data)

    assert before == {(path.name, path.stat().st_uid) for path in data.iterdir()}


COLLECT_AS_READER = """
import os, shutil, sys, tempfile
from pathlib import Path
from fleet.commands.collect import CollectOptions, collect_readings
data, state = Path(sys.argv[1]), Path(sys.argv[2])
def collect(data, cursor):
    return collect_readings(CollectOptions(
        data, f"sqlite:///{state}/{cursor}.db", None, 100, 1, interval=None, max_runtime=None, state=state, cursor=cursor,
        retry_dead=False, gzip=False, health_port=None, as_json=True, show_readings=False))
with tempfile.TemporaryDirectory() as folder:  # loads all modules while their files can be read
    collect(Path(shutil.copytree(data, Path(folder, "data"))), True)
shutil.rmtree(state)
state.mkdir()
os.chown(state, 65534, 65534)
os.setegid(65534)
os.seteuid(65534)
print([collect(data, cursor) for cursor in (True, False)])
"""


@as_root
@pytest.mark.process
def test_a_collector_of_another_user_leaves_no_log(data: Path) -> None:
    """By cursor, and with marks: the owner's next run opens its database."""
    hand_over(data, may_write=True)
    state = data.parent / "state"
    state.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", COLLECT_AS_READER, str(data), str(state)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    assert "[0, 0]" == done.stdout.splitlines()[-1]
    assert [NAME] == sorted(path.name for path in data.glob("*.db*"))


@as_root
@pytest.mark.process
@pytest.mark.parametrize("may_write", [True, False])
def test_a_log_that_cannot_be_read_is_told(may_write: bool, data: Path) -> None:
    """Without its index, where none can be created, or only one that its owner could not write to."""
    keep_log(data / NAME)
    (data / f"{NAME}-shm").unlink()
    hand_over(data, may_write=may_write)
    before = {path.name for path in data.iterdir()}

    told = read_as_another_user(data)

    assert f"{data / NAME}: its log {NAME}-wal cannot be read here: copy both files to a folder" in told
    assert before == {path.name for path in data.iterdir()}


def test_a_writer_that_comes_meanwhile_is_noticed(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of a single file is not trusted; `fleet verify` reads it again."""
    from fleet.datadir import readings

    count = record_count(data / NAME)
    calls: list[int] = []

    def version(path: Path) -> readings.FileVersion | None:
        calls.append(0)
        if len(calls) == 2:  # after the first reading
            damage(path, "UPDATE sensor_readings SET synced = 1")
        return original(path)

    original = readings.file_version
    monkeypatch.setattr(readings, "file_version", version)
    with pytest.raises(DatabaseChanged):
        record_count(data / NAME)
    calls.clear()

    assert count == verify(data).readings
    assert verify(data).ok
    assert len(calls) > 2


def test_readings_of_this_user_leave_nothing(data: Path) -> None:
    assert verify(data).ok

    assert sorted([NAME, "fleet.json"]) == sorted(path.name for path in data.iterdir())
    with pytest.raises(DatabaseUnreadable):
        record_count(data / "nothing.db")
