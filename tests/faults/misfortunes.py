"""What befalls a running fleet from outside or, by order, from inside its workers. Each is a function that takes the
arena and says how often it took place; one that is an order says so later, in the sabotage's log."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from tests.e2e.running import fleet, session
from tests.faults.arena import Arena, signalled
from tests.faults.database_misfortunes import collect, corrupt, delete, garbage, lock, read_long, replace, truncate

Misfortune = Callable[[Arena], int]


# Processes


def kill(arena: Arena) -> int:
    """Up to three at once."""
    victims = {arena.victim() for _ in range(arena.dice.randint(1, 3))}
    return sum(signalled(victim, signal.SIGKILL) for victim in victims)


def stop(arena: Arena) -> bool:
    return signalled(arena.victim(), signal.SIGSTOP)


def kill_template(arena: Arena) -> bool:
    return killed(arena.beside("template"))


def kill_http(arena: Arena) -> bool:
    return killed(arena.beside("http"))


def killed(process: psutil.Process | None) -> bool:
    if process is None:
        return False
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def sleep(arena: Arena) -> bool:
    """Everybody stands still for a while, as in a closed laptop."""
    processes = session(arena.running.pid)
    send(processes, signal.SIGSTOP)
    time.sleep(arena.dice.uniform(1.0, 2.5))
    send(processes, signal.SIGCONT)
    return bool(processes)


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def want_of_descriptors(arena: Arena) -> bool:
    """The supervisor, or the template, can open nothing more for a while, just when a worker has to be replaced."""
    victim = arena.victim()
    process = arena.dice.choice([psutil.Process(arena.running.pid), arena.beside("template")])
    if victim is None or process is None:
        return False
    try:
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        if before[0] <= 3:  # there are none left from the last time, and it is not this that is to be restored
            return False
        process.rlimit(psutil.RLIMIT_NOFILE, (3, before[1]))
    except psutil.NoSuchProcess:
        return False

    def restore() -> None:
        with suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_NOFILE, before)

    arena.later(arena.dice.uniform(0.5, 1.5), restore)
    return signalled(victim, signal.SIGKILL)


def second_fleet(arena: Arena) -> bool:
    """Somebody starts the same fleet once more: refused, with the name of the holder. Not before there is one, or it
    may be the first to take the lock; nor may the holder go meanwhile."""
    if arena.victim() is None or not arena.staying.acquire(blocking=False):
        return False
    threading.Thread(target=refused, args=(arena, arena.running.pid)).start()
    return False


def refused(arena: Arena, holder: int) -> None:
    try:
        told = fleet("up", "--data", arena.data, "--port", 0, *arena.arguments)
        as_meant = 1 == told.returncode and f"another fleet runs here (pid {holder})" in told.stderr
        arena.happened("second fleet on the directory", 1)
        if not as_meant:
            arena.trouble.append(f"{arena.shape}: a second fleet: {told}")
    finally:
        arena.staying.release()


def set_clock(arena: Arena) -> bool:
    """An hour forward, an hour back, or right again."""
    new = arena.clock.with_suffix(".new")
    new.write_text(str(arena.dice.choice([-3600, 0, 3600])))
    new.replace(arena.clock)
    return True


# Orders to whoever comes by


def order(action: str) -> Misfortune:
    """One that is carried out once, by the next worker to come by."""

    def place(arena: Arena) -> bool:
        database = arena.database()
        if database is not None:
            moments = {"pages": arena.dice.randrange(3), "moment": arena.dice.choice(["torn", "committed", ""])}
            details: dict[str, Any] = moments if action == "kill" else {}
            arena.sabotage.order(database.name, action, **details)
        return False

    return place


def lasting(action: str) -> Misfortune:
    """One that lasts a moment, for all who come by."""

    def place(arena: Arena) -> bool:
        database = arena.database()
        if database is not None:
            arena.sabotage.order(database.name, action, lasting=arena.dice.uniform(0.6, 1.5))
        return False

    return place


def at_start(action: str) -> Misfortune:
    """One that hits whoever opens the database next: the worker that has it open is killed."""

    def place(arena: Arena) -> bool:
        victim = arena.victim()
        if victim is not None:
            arena.sabotage.order(victim.database.name, action)
            signalled(victim, signal.SIGKILL)
        return False

    return place


MISFORTUNES: dict[str, Misfortune] = {
    "worker killed at a random moment": kill,
    "worker killed in a transaction": order("kill"),
    "worker stopped past the hang limit": stop,
    "worker stopped in a transaction": order("hold"),
    "worker's loop stuck, its threads alive": order("stuck"),
    "worker's segmentation fault": order("segfault"),
    "worker's exit at start": at_start("exit"),
    "worker out of memory": order("starve"),
    "template killed": kill_template,
    "HTTP process killed": kill_http,
    "whole fleet asleep": sleep,
    "no descriptors left": want_of_descriptors,
    "second fleet on the directory": second_fleet,
    "wall clock set": set_clock,
    "disk full": lasting("full"),
    "file system read-only": lasting("readonly"),
    "write error": order("ioerr_write"),
    "read error": order("ioerr_read"),
    "fsync error": order("ioerr_fsync"),
    "permission lost": at_start("cantopen"),
    "database locked by another program": lock,
    "long-running reader": read_long,
    "rows marked by a collector": collect,
    "database deleted": delete,
    "database replaced": replace,
    "page corrupted": corrupt,
    "garbage in the database's place": garbage,
    "log truncated": truncate,
}
"""All of them by the names that they have in the report."""

ORDERED = {
    "kill": "worker killed in a transaction",
    "hold": "worker stopped in a transaction",
    "stuck": "worker's loop stuck, its threads alive",
    "segfault": "worker's segmentation fault",
    "exit": "worker's exit at start",
    "starve": "worker out of memory",
    "full": "disk full",
    "readonly": "file system read-only",
    "ioerr_write": "write error",
    "ioerr_read": "read error",
    "ioerr_fsync": "fsync error",
    "cantopen": "permission lost",
}
"""Those that are orders, by the action that the sabotage's log tells of."""
