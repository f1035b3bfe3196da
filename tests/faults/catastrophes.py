"""What ends a whole fleet, before the same command starts it again. Each is a function that takes the arena, finds it
running and leaves it running, and says whether it took place as it was meant."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import apsw

from tests.faults.arena import Arena, signalled
from tests.faults.database_misfortunes import corrupt_page, cut_log, fill_with_garbage

Catastrophe = Callable[[Arena], bool]


def kill_supervisor(arena: Arena) -> bool:
    """Everybody else is gone soon after."""
    arena.running.process.kill()
    arena.gone()
    arena.start()
    return True


def outlive(arena: Arena) -> bool:
    """A worker is stopped, and the supervisor killed; the next fleet takes over; then the worker is continued, and must
    not write any more. One that was stopped within a transaction would keep the next fleet from writing till then."""
    victim = arena.victim()
    if victim is None or not signalled(victim, signal.SIGSTOP):
        return False
    arena.running.process.kill()
    arena.running.process.wait(60)
    old = arena.running
    arena.start()
    time.sleep(arena.dice.uniform(0.5, 2.0))
    arena.released(old)
    return True


def terminate_early(arena: Arena) -> bool:
    """SIGTERM while it starts, at any moment: a fleet that has not come up yet ends as orderly as any."""
    end(arena)
    starting = arena.start()
    time.sleep(arena.dice.uniform(0.0, 2.0))
    starting.process.terminate()
    code = starting.process.wait(60)
    assert code in (0, 1, -signal.SIGTERM), starting.output
    assert "Traceback" not in starting.output, starting.output
    arena.gone()
    arena.start()
    return True


def interrupt_twice(arena: Arena) -> bool:
    """The second Ctrl-C kills at once."""
    os.killpg(arena.running.pid, signal.SIGINT)
    time.sleep(arena.dice.uniform(0.0, 0.3))
    with suppress(ProcessLookupError):
        os.killpg(arena.running.pid, signal.SIGINT)
    arena.gone()
    arena.start()
    return True


def terminate_locked(arena: Arena) -> bool:
    """SIGTERM while another program keeps a database locked: it ends in time, fails, and says what is not written."""
    victim = arena.victim()
    if victim is None:
        return False
    try:
        connection = apsw.Connection(str(victim.database), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(500)
        connection.execute("BEGIN IMMEDIATE")
    except apsw.Error:
        return False
    try:
        time.sleep(0.7)  # so that something is due
        arena.running.process.terminate()
        code = arena.running.process.wait(60)
        output = arena.running.output
    finally:
        with suppress(apsw.Error):
            connection.close(True)
    arena.gone()
    arena.start()
    return code == 1 and "not written" in output


def damage(arena: Arena) -> bool:
    """The files are damaged while nobody has them open, but nobody has closed them either."""
    arena.running.process.kill()
    arena.gone()
    arena.undo(all_of_it=True)  # see misfortunes.spoil
    database = arena.database()
    if database is not None:
        with suppress(FileNotFoundError):
            arena.dice.choice([corrupt_page, fill_with_garbage, cut_log])(arena, database)
    arena.start()
    return database is not None


def end(arena: Arena) -> None:
    arena.running.process.terminate()
    arena.gone()


CATASTROPHES: dict[str, Catastrophe] = {
    "supervisor killed": kill_supervisor,
    "stopped worker outlives its fleet": outlive,
    "SIGTERM during start-up": terminate_early,
    "Ctrl-C twice": interrupt_twice,
    "SIGTERM while a database is locked": terminate_locked,
    "database damaged while the fleet is down": damage,
}
"""All of them by the names that they have in the report."""
