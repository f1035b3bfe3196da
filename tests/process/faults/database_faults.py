"""What befalls the databases of a running fleet: other programs that use them, and those that ruin them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw

from tests.process.faults.chaos_fleet import ChaosFleet, send_signal


def lock(chaos_fleet: ChaosFleet) -> bool:
    """Another program holds the write lock for a while."""
    return held(chaos_fleet, "BEGIN IMMEDIATE", chaos_fleet.rng.uniform(0.3, 2.0))


def read_long(chaos_fleet: ChaosFleet) -> bool:
    """Another program reads for a while, and so keeps the log from being used again."""
    return held(chaos_fleet, "BEGIN; SELECT count(*) FROM checkpoints", chaos_fleet.rng.uniform(1.0, 4.0))


def held(chaos_fleet: ChaosFleet, statements: str, seconds: float) -> bool:
    database = chaos_fleet.database()
    if database is None:
        return False
    try:
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(200)
        connection.execute(statements).fetchall()
    except apsw.Error:
        return False

    def release() -> None:
        with suppress(apsw.Error):
            connection.close(True)

    chaos_fleet.undo_after(seconds, release)
    return True


def collect(chaos_fleet: ChaosFleet) -> bool:
    """Another program marks rows as delivered."""
    database = chaos_fleet.database()
    if database is None:
        return False
    try:
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(500)
        mark = "UPDATE sensor_readings SET synced = 1 WHERE id IN (SELECT id FROM sensor_readings WHERE synced = 0 LIMIT 500)"
        connection.execute(mark)
        connection.close(True)
    except apsw.Error:
        return False
    return True


def delete(chaos_fleet: ChaosFleet) -> bool:
    """The database disappears, with or without what belongs to it."""
    database = chaos_fleet.database()
    if database is None:
        return False
    database.unlink(missing_ok=True)
    if chaos_fleet.rng.random() < 0.5:
        for ending in ("-wal", "-shm"):
            database.with_name(database.name + ending).unlink(missing_ok=True)
    return True


def replace(chaos_fleet: ChaosFleet) -> bool:
    """An earlier copy is put in its place, the log of the other still beside it."""
    database = chaos_fleet.database()
    copy = chaos_fleet.folder / "copy"
    if database is None:
        return False
    try:
        source = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        target = apsw.Connection(str(copy))
        with target.backup("main", source, "main") as backup:
            backup.step()
        target.close(True)
        source.close(True)
    except apsw.Error:
        copy.unlink(missing_ok=True)
        return False
    time.sleep(chaos_fleet.rng.uniform(0.1, 0.6))
    copy.replace(database)
    return True


def damage_and_kill(chaos_fleet: ChaosFleet, damage: Callable[[ChaosFleet, Path], None]) -> bool:
    """Damage the files of a worker that is killed with them: as it was not closed, it is looked at.

    Not with a connection of ours open: closing a file drops the locks that this process has on it, and then it would be
    we who ruin the database.
    """
    victim = chaos_fleet.victim()
    if victim is None or chaos_fleet.shape == "shared" or not send_signal(victim, signal.SIGSTOP):
        return False
    chaos_fleet.undo(everything=True)
    try:
        damage(chaos_fleet, victim.database)
    except FileNotFoundError:
        return False
    finally:
        send_signal(victim, signal.SIGKILL)
    return True


def corrupt(chaos_fleet: ChaosFleet) -> bool:
    return damage_and_kill(chaos_fleet, corrupt_page)


def garbage(chaos_fleet: ChaosFleet) -> bool:
    return damage_and_kill(chaos_fleet, fill_with_garbage)


def truncate(chaos_fleet: ChaosFleet) -> bool:
    return damage_and_kill(chaos_fleet, truncate_wal)


def corrupt_page(chaos_fleet: ChaosFleet, database: Path) -> None:
    with database.open("r+b") as file:
        pages = os.fstat(file.fileno()).st_size // 4096
        file.seek(chaos_fleet.rng.randrange(max(1, pages)) * 4096)
        file.write(chaos_fleet.rng.randbytes(4096))


def fill_with_garbage(chaos_fleet: ChaosFleet, database: Path) -> None:
    database.write_bytes(chaos_fleet.rng.randbytes(chaos_fleet.rng.randrange(1, 50_000)))


def truncate_wal(chaos_fleet: ChaosFleet, database: Path) -> None:
    log = database.with_name(database.name + "-wal")
    os.truncate(log, int(log.stat().st_size * chaos_fleet.rng.random()))
