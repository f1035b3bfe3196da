"""What befalls the databases of a running fleet: other programs that use them, and those that ruin them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw

from tests.faults.arena import Arena, signalled


def lock(arena: Arena) -> bool:
    """Another program holds the write lock for a while."""
    return held(arena, "BEGIN IMMEDIATE", arena.dice.uniform(0.3, 2.0))


def read_long(arena: Arena) -> bool:
    """Another program reads for a while, and so keeps the log from being used again."""
    return held(arena, "BEGIN; SELECT count(*) FROM checkpoints", arena.dice.uniform(1.0, 4.0))


def held(arena: Arena, statements: str, seconds: float) -> bool:
    database = arena.database()
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

    arena.later(seconds, release)
    return True


def collect(arena: Arena) -> bool:
    """Another program marks rows as delivered."""
    database = arena.database()
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


def delete(arena: Arena) -> bool:
    """The database disappears, with or without what belongs to it."""
    database = arena.database()
    if database is None:
        return False
    database.unlink(missing_ok=True)
    if arena.dice.random() < 0.5:
        for ending in ("-wal", "-shm"):
            database.with_name(database.name + ending).unlink(missing_ok=True)
    return True


def replace(arena: Arena) -> bool:
    """An earlier copy is put in its place, the log of the other still beside it."""
    database = arena.database()
    copy = arena.folder / "copy"
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
    time.sleep(arena.dice.uniform(0.1, 0.6))
    copy.replace(database)
    return True


def spoil(arena: Arena, damage: Callable[[Arena, Path], None]) -> bool:
    """Damage the files of a worker that is killed with them: as it was not closed, it is looked at.

    Not with a connection of ours open: closing a file drops the locks that this process has on it, and then it would be
    we who ruin the database.
    """
    victim = arena.victim()
    if victim is None or arena.shape == "shared" or not signalled(victim, signal.SIGSTOP):
        return False
    arena.undo(all_of_it=True)
    try:
        damage(arena, victim.database)
    except FileNotFoundError:
        return False
    finally:
        signalled(victim, signal.SIGKILL)
    return True


def corrupt(arena: Arena) -> bool:
    return spoil(arena, corrupt_page)


def garbage(arena: Arena) -> bool:
    return spoil(arena, fill_with_garbage)


def truncate(arena: Arena) -> bool:
    return spoil(arena, cut_log)


def corrupt_page(arena: Arena, database: Path) -> None:
    with database.open("r+b") as file:
        pages = os.fstat(file.fileno()).st_size // 4096
        file.seek(arena.dice.randrange(max(1, pages)) * 4096)
        file.write(arena.dice.randbytes(4096))


def fill_with_garbage(arena: Arena, database: Path) -> None:
    database.write_bytes(arena.dice.randbytes(arena.dice.randrange(1, 50_000)))


def cut_log(arena: Arena, database: Path) -> None:
    log = database.with_name(database.name + "-wal")
    os.truncate(log, int(log.stat().st_size * arena.dice.random()))
