"""A database that is damaged, deleted or replaced: seen, moved aside whole, and begun anew with what it held."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from tests.worker.samples import IDENTITY
from tests.worker.stores import SETTINGS, SensorWriter, expected_seqs, select, stored_seqs
from worker.spec import StoreSpec
from worker.storage.connection import checkpoint_wal
from worker.storage.database import Database
from worker.storage.database_files import inode
from worker.storage.sinks import Unavailable

pytestmark = pytest.mark.claim("000.testing.5", "001.troubleshooting.14")

JUNK = [b"not a database, " * 1000, b"\x00" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "CHI_123456.db"


def again(writer: SensorWriter) -> None:
    """Claim once more, as a worker does that was told that its place is unknown."""
    (position,) = writer.sink.claim([IDENTITY], 1)
    writer.sensor.resume(position)


@pytest.mark.parametrize("junk", JUNK, ids=["text", "zeros", "header"])
@pytest.mark.claim("000.error-handling.4")
def test_garbage_is_moved_aside_with_its_companions(path: Path, junk: bytes) -> None:
    """Not a byte of it is changed, and a new database can be begun."""
    path.write_bytes(junk)
    for ending in ("-wal", "-journal"):
        path.with_name(path.name + ending).write_bytes(junk + ending.encode())
    with pytest.raises(
        Unavailable, match=r"CHI_123456\.db: .* moved aside as CHI_123456\.db\.quarantined-1 "
    ) as caught:
        SensorWriter(path)

    assert caught.value.outcome_unknown
    assert caught.value.recreated
    assert not path.exists()
    aside = {file.name.removeprefix("CHI_123456.db.quarantined-1"): file.read_bytes() for file in path.parent.iterdir()}
    assert {"": junk, "-wal": junk + b"-wal", "-journal": junk + b"-journal"} == {
        ending: content for ending, content in aside.items() if ending != "-shm"
    }
    SensorWriter(path).deliver(5)
    assert expected_seqs(SETTINGS, 6) == stored_seqs(path)


def test_each_quarantine_has_a_name_of_its_own(path: Path) -> None:
    for number in (1, 2, 3):
        path.write_bytes(JUNK[0] + bytes([number]))
        with pytest.raises(Unavailable):
            SensorWriter(path)
        assert JUNK[0] + bytes([number]) == path.with_name(f"{path.name}.quarantined-{number}").read_bytes()


@pytest.mark.parametrize("fate", ["deleted", "moved", "replaced", "log deleted"])
def test_nothing_goes_silently_into_a_file_that_is_gone(fate: str, path: Path) -> None:
    """The delivery during which it happened is refused, and the new database gets everything from the start on."""
    writer = SensorWriter(path)
    writer.deliver(5)
    gone = path.with_name("gone")
    match fate:
        case "deleted":
            path.unlink()
        case "moved":
            path.rename(gone)
        case "replaced":
            other = SensorWriter(path.with_name("other.db"))
            other.sink.close()
            os.replace(path.with_name("other.db"), path)
        case "log deleted":
            path.with_name(path.name + "-wal").unlink()
    with pytest.raises(Unavailable, match=r"CHI_123456\.db was deleted or replaced") as caught:
        writer.deliver(10)
    assert caught.value.outcome_unknown
    assert caught.value.recreated

    again(writer)
    writer.deliver(10)
    writer.sink.close()
    assert expected_seqs(SETTINGS, 11) == stored_seqs(path)
    assert [("ok",)] == select(path, "PRAGMA integrity_check")


def test_a_worker_that_lost_its_database_leaves_the_next_ones_log_alone(path: Path) -> None:
    """SQLite deletes the log by its name when the last connection closes: it would be the new database's."""
    old = SensorWriter(path)
    old.deliver(5)
    for file in list(path.parent.iterdir()):
        file.rename(path.parent / f"old-{file.name}")
    new = SensorWriter(path)
    new.deliver(5)
    with pytest.raises(Unavailable):
        old.deliver(10)

    new.deliver(20)
    new.sink.close()
    assert expected_seqs(SETTINGS, 21) == stored_seqs(path)


def test_one_of_many_writers_leaves_the_log_to_the_others(path: Path) -> None:
    """Between the look whether the database is still in its place and the deletion of the log by its name, another of
    them may have put the two aside and begun a new database with a log of that name."""
    writer = SensorWriter(path, shared=True)
    writer.deliver(5)
    writer.sink.close()

    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size > 0
    checkpoint_wal(path)
    assert not log.exists()
    assert expected_seqs(SETTINGS, 6) == stored_seqs(path)


def test_a_restored_database_does_not_get_the_log_of_the_other(path: Path) -> None:
    """Whoever puts an earlier copy in its place leaves the log behind, of which SQLite would make a mixture."""
    writer = SensorWriter(path)
    writer.deliver(300)
    copy = path.with_name("copy")
    with (
        closing(apsw.Connection(str(path))) as source,
        closing(apsw.Connection(str(copy))) as target,
        target.backup("main", source, "main") as backup,
    ):
        backup.step()
    writer.deliver(1000)
    copy.replace(path)
    with pytest.raises(Unavailable, match="replaced"):
        writer.deliver(1001)

    again(writer)
    assert expected_seqs(SETTINGS, 301) == stored_seqs(path)
    writer.deliver(1002)
    writer.sink.close()
    assert expected_seqs(SETTINGS, 1003) == stored_seqs(path)
    assert [("ok",)] == select(path, "PRAGMA integrity_check")


@pytest.mark.parametrize("opened", ["once", "twice"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_log_that_was_cut_short_is_never_taken_for_the_truth(kept: float, opened: str, path: Path) -> None:
    """Where pages of what is cut off are in the database already, what is left would make a mixture of two states. Whoever
    opens the database of a killed process makes the index anew, and then nobody knows any more how many they are."""
    writer = SensorWriter(path)
    connection = writer.sink._connection
    assert connection
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    for second in range(1, 400):
        writer.deliver(second)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    here = path.with_name("killed")
    here.mkdir()
    for ending in ("", "-wal", "-shm"):  # what a killed process leaves: nobody writes meanwhile
        shutil.copy(path.with_name(path.name + ending), here)
    cut = here / path.name
    if opened == "twice":
        cut.with_name(cut.name + "-shm").unlink()
        with closing(apsw.Connection(str(cut))) as another:
            another.execute("SELECT count(*) FROM sensor_readings").fetchall()
            index = cut.with_name(cut.name + "-shm").read_bytes()
            another.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        cut.with_name(cut.name + "-shm").write_bytes(index)
    log = cut.with_name(cut.name + "-wal")
    os.truncate(log, int(log.stat().st_size * kept))

    if kept:
        with pytest.raises(Unavailable, match=r"cut short; .* moved aside"):
            SensorWriter(cut, incarnation=2)
    other = SensorWriter(cut, incarnation=2)
    other.deliver(400)
    other.sink.close()
    assert expected_seqs(SETTINGS, 401) == stored_seqs(cut)
    assert [("ok",)] == select(cut, "PRAGMA integrity_check")


def test_a_worker_that_was_slower_moves_nothing(path: Path) -> None:
    """Of two that find the same damage one moves it; the other must not move what the first has begun since."""
    path.write_bytes(JUNK[0])
    slow = Database(StoreSpec(path, shared=True))
    os.link(path, path.with_name("kept"))  # or the new file might get the number of the old one
    with pytest.raises(Unavailable, match="moved aside"):
        SensorWriter(path)
    SensorWriter(path).deliver(5)
    slow._opened_inode = inode(path.with_name("kept"))

    assert "replaced by another worker" in str(slow._quarantine("damaged"))
    assert expected_seqs(SETTINGS, 6) == stored_seqs(path)


def test_a_database_left_open_is_checked(path: Path) -> None:
    """One with a damaged page in its middle, where no writer would look, is found when its last user died."""
    writer = SensorWriter(path)
    writer.deliver(2000)
    writer.sink._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # type: ignore[union-attr]
    writer.deliver(2001)  # there is a log again, and it stays behind
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\xee" * 4096
    copy = path.with_name("CHI_123457.db")
    copy.write_bytes(content)
    copy.with_name("CHI_123457.db-wal").write_bytes(path.with_name("CHI_123456.db-wal").read_bytes())

    with pytest.raises(Unavailable, match="moved aside") as caught:
        SensorWriter(copy, incarnation=2)
    assert caught.value.recreated
