"""Backups of databases that are written to, and what becomes of one that is put back."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from threading import Event, Thread

import apsw
import pytest

from fleet.datadir import backups
from fleet.datadir.backups import BackupFailed, StopRequested, back_up, backups_of
from fleet.verify.verification import verify
from tests.fleet.verify.damage import later_run, select, write_database
from tests.worker.samples import ANOMALIES, IDENTITY, run, settings, wait_for, with_catch_up
from tests.worker.stores import SensorWriter, stored_seqs

pytestmark = pytest.mark.claim("000.configuration-file.4", "001.configuration-options.13")

NAME = f"{IDENTITY.sensor_id}.db"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_database(tmp_path / NAME, 500)
    return tmp_path / NAME


def role(path: Path) -> str:
    ((found,),) = select(path, "SELECT role FROM database_info")
    return str(found)


def generation(path: Path) -> str:
    ((found,),) = select(path, "SELECT generation FROM database_info")
    return str(found)


def test_a_backup_is_one_file_with_all_that_is_committed(source: Path, tmp_path: Path) -> None:
    """On record as a backup, beside nothing else; the original is as it was."""
    made = back_up(source, tmp_path / "backups", 3)

    assert ([made], "backup", "live") == (list(made.parent.iterdir()), role(made), role(source))
    assert stored_seqs(source) == stored_seqs(made)


@pytest.mark.parametrize("wal", [True, False])
def test_a_backup_of_one_that_is_written_to(wal: bool, tmp_path: Path) -> None:
    """It is of one moment, and the commits go on; without a write-ahead log too, where a copy starts over after each commit."""
    path = tmp_path / NAME
    write_database(path, 20_000, settings(*ANOMALIES), wal=wal)
    ended, slowest = Event(), [0.0]

    def go_on() -> None:
        number = 0
        run_spec = with_catch_up(run(2))
        writer = SensorWriter(path, settings(*ANOMALIES), run_spec, incarnation=2, wal=wal)
        while not ended.is_set():
            number += 1
            begun = time.monotonic()
            writer.deliver(20_000 + number)
            slowest[0] = max(slowest[0], time.monotonic() - begun)
            ended.wait(0.01 if wal else 0.2)  # a fleet commits once a second
        writer.sink.close()

    thread = Thread(target=go_on)
    thread.start()
    try:
        made = [back_up(path, tmp_path / f"backups-{number}", 1) for number in range(4)]
        wait_for(lambda: len(stored_seqs(path)) > len(stored_seqs(made[-1])), "another reading")
    finally:
        ended.set()
        thread.join()

    lengths = [len(stored_seqs(one)) for one in made]
    assert lengths == sorted(lengths)
    whole = stored_seqs(path)
    assert all(stored_seqs(one) == whole[:length] for one, length in zip(made, lengths, strict=True))
    assert lengths[-1] < len(whole)
    assert slowest[0] < 1.0


def test_the_last_ones_are_kept(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this database; those of another whose name begins alike are not counted."""
    folder = tmp_path / "backups"
    folder.mkdir()
    stem = IDENTITY.sensor_id
    old = [folder / f"{stem}.backup-2026010{day}T000000Z.db" for day in (1, 2, 3)]
    other = folder / f"{stem}.backup-2.backup-20250101T000000Z.db"
    for path in (*old, other):
        path.touch()

    made = back_up(source, folder, 2)

    assert [old[2], made] == backups_of(source, folder)
    assert {old[2], made, other} == set(folder.iterdir())


def test_a_damaged_database_gives_no_backup(source: Path, tmp_path: Path) -> None:
    """And takes none away."""
    folder = tmp_path / "backups"
    made = back_up(source, folder, 1)
    with source.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 4))
    with pytest.raises(BackupFailed, match=NAME):
        back_up(source, folder, 1)

    assert [made] == list(folder.iterdir())


def test_rows_beyond_the_checkpoint_give_no_backup(source: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(source))
    connection.execute("UPDATE checkpoints SET next_seq = next_seq - 10")
    connection.close()
    with pytest.raises(BackupFailed, match="beyond a checkpoint"):
        back_up(source, tmp_path / "backups", 1)

    assert [] == list((tmp_path / "backups").iterdir())


def test_a_folder_that_cannot_be_used(source: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").touch()
    with pytest.raises(BackupFailed, match="File exists"):
        back_up(source, tmp_path / "backups", 1)


def test_a_disk_without_room_is_left_to_the_fleet(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "RESERVED_DISK_BYTES", 1 << 62)
    with pytest.raises(BackupFailed, match="no room"):
        back_up(source, tmp_path / "backups", 1)

    assert [] == list((tmp_path / "backups").iterdir())


def test_one_that_is_interrupted_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise StopRequested

    monkeypatch.setattr(backups, "PAGES_PER_STEP", 2)
    with pytest.raises(StopRequested):
        back_up(source, tmp_path / "backups", 1, stop)

    assert [] == list((tmp_path / "backups").iterdir())


def test_a_backup_in_the_place_of_a_lost_database_is_continued(source: Path, tmp_path: Path) -> None:
    """As another generation, for the next readings are not those that came after the backup. The rest is verified."""
    made = back_up(source, tmp_path / "backups", 1)
    write_database(source, 300, run_spec=later_run(2, 1_000))
    for file in tmp_path.glob(f"{NAME}*"):
        file.unlink()
    shutil.copy(made, source)
    write_database(source, 200, run_spec=later_run(3, 5_000))

    assert "live" == role(source) != role(made)
    assert generation(made) != generation(source)
    assert verify(tmp_path).ok
    assert 702 == select(source, "SELECT next_seq FROM checkpoints")[0][0]


def test_backups_are_no_live_data(source: Path, tmp_path: Path) -> None:
    """A backup among the databases is named and not judged, and its sensor is not there twice."""
    back_up(source, tmp_path, 1)

    verdict = verify(tmp_path)
    assert (1, 1) == (verdict.databases, len(verdict.skipped))
    assert "a backup" in verdict.skipped[0]
    assert verdict.ok
