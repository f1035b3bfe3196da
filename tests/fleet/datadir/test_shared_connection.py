"""A database used beside its worker, which may move it aside at any time and begin another in its place."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from fleet.datadir.readings import DatabaseUnreadable
from fleet.datadir.shared_connection import shared_connection
from fleet.verify.verification import verify
from tests.fleet.verify.damage import later_run, make_identities, select, write_database
from tests.worker.samples import wait_for
from worker.storage.database_files import folder_lock, inode, quarantine

NAME = "S_000000.db"
MARK = "UPDATE sensor_readings SET synced = 1"


def replaced(path: Path, *, wal: bool = True) -> None:
    """Move a database aside, as a worker does with a damaged one, and create another."""
    quarantine(path, inode(path))
    write_database(path, 99, run_spec=later_run(2, 0), sensors=make_identities(1), wal=wal)


@pytest.mark.parametrize("wal", [True, False])
def test_nothing_is_written_into_the_one_that_has_its_place(wal: bool, tmp_path: Path) -> None:
    """With a log what is written goes into the one that was opened; without one nothing is written at all, for its journal
    would be the other's."""
    path = tmp_path / NAME
    write_database(path, 49, sensors=make_identities(1), wal=wal)
    with shared_connection(path) as opened:
        replaced(path, wal=wal)
        if wal:
            with opened.hold_in_place():
                opened.connection.execute(MARK)
        else:
            with pytest.raises(DatabaseUnreadable, match="was moved or replaced meanwhile"), opened.hold_in_place():
                opened.connection.execute(MARK)

    assert [(0,)] == select(path, "SELECT DISTINCT synced FROM sensor_readings")
    assert verify(tmp_path).ok
    assert [(int(wal),)] == select(tmp_path / f"{NAME}.quarantined-1", "SELECT DISTINCT synced FROM sensor_readings")


def test_the_log_of_the_one_that_has_its_place_stays(tmp_path: Path) -> None:
    """Whoever closes a database last deletes its log, by name."""
    path = tmp_path / NAME
    write_database(path, 49, sensors=make_identities(1))
    with shared_connection(path):
        replaced(path)
        writer = apsw.Connection(str(path))
        writer.execute(MARK)
        log = inode(tmp_path / f"{NAME}-wal")

    assert log is not None
    assert log == inode(tmp_path / f"{NAME}-wal")
    with closing(writer):
        assert [(1,)] == writer.execute("SELECT DISTINCT synced FROM sensor_readings").fetchall()


def test_nobody_moves_it_while_it_is_opened(tmp_path: Path) -> None:
    """Nor is it opened while it is moved."""
    path = tmp_path / NAME
    write_database(path, 9, sensors=make_identities(1))
    opened = threading.Event()

    def look() -> None:
        with shared_connection(path):
            opened.set()

    thread = threading.Thread(target=look)
    with folder_lock(tmp_path):
        thread.start()
        assert not opened.wait(0.2)
    wait_for(opened.is_set, "it is opened")
    thread.join()


def test_one_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreadable, match="there is no such database yet"), shared_connection(tmp_path / NAME):
        pass
