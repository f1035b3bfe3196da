"""A database or log that is cut or overwritten while its writer runs: seen, moved aside, begun again."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import pytest

from tests.worker.stores import SETTINGS, SensorWriter, expected_seqs, select, stored_seqs
from worker.storage import live_files
from worker.storage.live_files import LastFrame, holds
from worker.storage.sinks import Portion, Unavailable

Damage = Callable[[Path], object]


def wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


DAMAGES: dict[str, Damage] = {
    "log emptied": lambda path: os.truncate(wal(path), 0),
    "log cut to half": lambda path: os.truncate(wal(path), wal(path).stat().st_size // 2),
    "last frame cut off": lambda path: os.truncate(wal(path), wal(path).stat().st_size - 4096 - 24),
    "log overwritten": lambda path: wal(path).write_bytes(b"\xee" * wal(path).stat().st_size),
    "header of the log overwritten": lambda path: overwrite(wal(path), 0, b"\xee" * 32),
    "header overwritten": lambda path: overwrite(path, 0, b"\xee" * 100),
    "database emptied": lambda path: os.truncate(path, 0),
}


def deliver_damaging(writer: SensorWriter, damage: Callable[[], object]) -> None:
    """Deliver while the damage happens inside the transaction, before its pages are written."""

    class Damaging(list[Portion]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            damage()
            return super().__iter__()

    writer.sink.deliver(Damaging(writer.due_portions(50)))


def damage_then_deliver(writer: SensorWriter, damage: Callable[[], object]) -> None:
    damage()
    writer.deliver(50)


def damage_then_check(writer: SensorWriter, damage: Callable[[], object]) -> None:
    damage()
    writer.sink.check()


ACTIONS: dict[str, Callable[[SensorWriter, Callable[[], object]], None]] = {
    "before a delivery": damage_then_deliver,
    "during it": deliver_damaging,
    "before the end": damage_then_check,
}


@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("when", ACTIONS)
def test_damage_to_open_files_is_seen(path: Path, damage: Damage, when: str, shared: bool) -> None:
    """The database is moved aside, and the next has everything from the start on."""
    writer = SensorWriter(path, shared=shared)
    for second in range(1, 40):
        writer.deliver(second)
    with pytest.raises(Unavailable, match=r"moved aside as CHI_123456\.db\.quarantined-1") as caught:
        ACTIONS[when](writer, partial(damage, path))
    assert caught.value.recreated
    assert (path.with_name(path.name + ".quarantined-1-wal")).exists()

    writer.claim_again()
    writer.deliver(60)
    writer.sink.check()
    writer.sink.close()
    assert expected_seqs(SETTINGS, 61) == stored_seqs(path)
    assert [("ok",)] == select(path, "PRAGMA integrity_check")


def test_a_page_that_was_overwritten_is_seen_at_the_end(path: Path, writer: SensorWriter) -> None:
    """Also one that the writer does not need, and one that it has in its cache."""
    writer.deliver(200)
    connection = writer.sink._connection
    assert connection is not None
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    overwrite(path, path.stat().st_size // 4096 // 2 * 4096, b"\xee" * 4096)

    with pytest.raises(Unavailable, match="moved aside"):
        writer.sink.check()


def test_a_cut_through_the_last_frame_is_seen(path: Path, writer: SensorWriter) -> None:
    writer.deliver(20)
    os.truncate(wal(path), wal(path).stat().st_size - 1)

    with pytest.raises(Unavailable, match="log was cut"):
        writer.deliver(21)


@pytest.mark.parametrize("mode", ["RESTART", "TRUNCATE"])
def test_a_log_that_is_begun_again_during_the_look(path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """By another writer of a shared database, between the looks at the index and at the log: it is no damage."""
    writer = SensorWriter(path, shared=True)
    writer.deliver(20)
    with closing(apsw.Connection(str(path))) as other:

        def holds_later(log: int, frame: LastFrame) -> bool:
            assert writer.sink._connection is not None
            if not writer.sink._connection.in_transaction:
                other.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
                other.execute("UPDATE sensor_readings SET synced = 1 WHERE id = 1")
            return holds(log, frame)

        monkeypatch.setattr(live_files, "holds", holds_later)
        writer.deliver(40)
        writer.deliver(60)
    writer.sink.close()

    assert expected_seqs(SETTINGS, 61) == stored_seqs(path)
    assert not list(path.parent.glob("*quarantined*"))


def test_what_other_programs_may_do_is_no_damage(path: Path, writer: SensorWriter) -> None:
    """Checkpoints of each kind, VACUUM, updates, a backup: none of it takes anything away."""
    with closing(apsw.Connection(str(path))) as other:
        for second, mode in enumerate(["PASSIVE", "FULL", "RESTART", "TRUNCATE"] * 5, 1):
            writer.deliver(second * 20)
            other.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            writer.deliver(second * 20 + 5)
            other.execute("UPDATE sensor_readings SET synced = 1 WHERE synced = 0")
            if mode == "FULL":
                other.execute("VACUUM")
    writer.deliver(3000)
    writer.sink.check()
    writer.sink.close()

    assert expected_seqs(SETTINGS, 3001) == stored_seqs(path)
    assert not list(path.parent.glob("*quarantined*"))
