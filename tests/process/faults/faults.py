"""What befalls a running fleet from outside or, by order, from inside its workers. Each is a function that takes the
chaos_fleet and says how often it took place; one that is an order says so later, in the sabotage's log."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from tests.process.faults.chaos_fleet import ChaosFleet, send_signal
from tests.process.faults.database_faults import collect, corrupt, delete, garbage, lock, read_long, replace, truncate
from tests.process.running_fleet import fleet, session

Fault = Callable[[ChaosFleet], int]


# Processes


def kill(chaos_fleet: ChaosFleet) -> int:
    """Up to three at once."""
    victims = {chaos_fleet.victim() for _ in range(chaos_fleet.rng.randint(1, 3))}
    return sum(send_signal(victim, signal.SIGKILL) for victim in victims)


def stop(chaos_fleet: ChaosFleet) -> bool:
    return send_signal(chaos_fleet.victim(), signal.SIGSTOP)


def kill_template(chaos_fleet: ChaosFleet) -> bool:
    return killed(chaos_fleet.helper_process("template"))


def kill_http(chaos_fleet: ChaosFleet) -> bool:
    return killed(chaos_fleet.helper_process("http"))


def killed(process: psutil.Process | None) -> bool:
    if process is None:
        return False
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def sleep(chaos_fleet: ChaosFleet) -> bool:
    """Everybody stands still for a while, as in a closed laptop."""
    processes = session(chaos_fleet.running.pid)
    send(processes, signal.SIGSTOP)
    time.sleep(chaos_fleet.rng.uniform(1.0, 2.5))
    send(processes, signal.SIGCONT)
    return bool(processes)


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def exhaust_descriptors(chaos_fleet: ChaosFleet) -> bool:
    """The supervisor, or the template, can open nothing more for a while, just when a worker has to be replaced."""
    victim = chaos_fleet.victim()
    process = chaos_fleet.rng.choice([psutil.Process(chaos_fleet.running.pid), chaos_fleet.helper_process("template")])
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

    chaos_fleet.undo_after(chaos_fleet.rng.uniform(0.5, 1.5), restore)
    return send_signal(victim, signal.SIGKILL)


def second_fleet(chaos_fleet: ChaosFleet) -> bool:
    """Somebody starts the same fleet once more: refused, with the name of the holder. Not before there is one, or it
    may be the first to take the lock; nor may the holder go meanwhile."""
    if chaos_fleet.victim() is None or not chaos_fleet.supervisor_lock.acquire(blocking=False):
        return False
    threading.Thread(target=refused, args=(chaos_fleet, chaos_fleet.running.pid)).start()
    return False


def refused(chaos_fleet: ChaosFleet, holder: int) -> None:
    try:
        told = fleet("up", "--data", chaos_fleet.data, "--port", 0, *chaos_fleet.arguments)
        as_meant = 1 == told.returncode and f"another fleet runs here (pid {holder})" in told.stderr
        chaos_fleet.record_fault("second fleet on the directory", 1)
        if not as_meant:
            chaos_fleet.failures.append(f"{chaos_fleet.shape}: a second fleet: {told}")
    finally:
        chaos_fleet.supervisor_lock.release()


def set_clock(chaos_fleet: ChaosFleet) -> bool:
    """An hour forward, an hour back, or right again."""
    new = chaos_fleet.clock.with_suffix(".new")
    new.write_text(str(chaos_fleet.rng.choice([-3600, 0, 3600])))
    new.replace(chaos_fleet.clock)
    return True


# Orders to whoever comes by


def injected_once(action: str) -> Fault:
    """One that is carried out once, by the next worker to come by."""

    def place(chaos_fleet: ChaosFleet) -> bool:
        database = chaos_fleet.database()
        if database is not None:
            moments = {
                "pages": chaos_fleet.rng.randrange(3),
                "moment": chaos_fleet.rng.choice(["torn", "committed", ""]),
            }
            details: dict[str, Any] = moments if action == "kill" else {}
            chaos_fleet.fault_injector.inject(database.name, action, **details)
        return False

    return place


def injected_for_a_while(action: str) -> Fault:
    """One that lasts a moment, for all who come by."""

    def place(chaos_fleet: ChaosFleet) -> bool:
        database = chaos_fleet.database()
        if database is not None:
            chaos_fleet.fault_injector.inject(database.name, action, lasting=chaos_fleet.rng.uniform(0.6, 1.5))
        return False

    return place


def injected_at_start(action: str) -> Fault:
    """One that hits whoever opens the database next: the worker that has it open is killed."""

    def place(chaos_fleet: ChaosFleet) -> bool:
        victim = chaos_fleet.victim()
        if victim is not None:
            chaos_fleet.fault_injector.inject(victim.database.name, action)
            send_signal(victim, signal.SIGKILL)
        return False

    return place


FAULTS: dict[str, Fault] = {
    "worker killed at a random moment": kill,
    "worker killed in a transaction": injected_once("kill"),
    "worker stopped past the hang limit": stop,
    "worker stopped in a transaction": injected_once("hold"),
    "worker's loop stuck, its threads alive": injected_once("stuck"),
    "worker's segmentation fault": injected_once("segfault"),
    "worker's exit at start": injected_at_start("exit"),
    "worker out of memory": injected_once("starve"),
    "template killed": kill_template,
    "HTTP process killed": kill_http,
    "whole fleet asleep": sleep,
    "no descriptors left": exhaust_descriptors,
    "second fleet on the directory": second_fleet,
    "wall clock set": set_clock,
    "disk full": injected_for_a_while("full"),
    "file system read-only": injected_for_a_while("readonly"),
    "write error": injected_once("ioerr_write"),
    "read error": injected_once("ioerr_read"),
    "fsync error": injected_once("ioerr_fsync"),
    "permission lost": injected_at_start("cantopen"),
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

FAULT_BY_ACTION = {
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
