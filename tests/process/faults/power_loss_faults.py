"""What ends a whole fleet, before the same command starts it again. Each is a function that takes the chaos_fleet, finds it
running and leaves it running, and says whether it took place as it was meant."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import apsw

from tests.process.faults.chaos_fleet import ChaosFleet, send_signal
from tests.process.faults.database_faults import corrupt_page, fill_with_garbage, truncate_wal

FleetFault = Callable[[ChaosFleet], bool]


def kill_supervisor(chaos_fleet: ChaosFleet) -> bool:
    """Everybody else is gone soon after."""
    chaos_fleet.running.process.kill()
    chaos_fleet.wait_until_gone()
    chaos_fleet.start()
    return True


def resume_after_takeover(chaos_fleet: ChaosFleet) -> bool:
    """A worker is stopped, and the supervisor killed; the next fleet takes over; then the worker is continued, and must
    not write any more. One that was stopped within a transaction would keep the next fleet from writing till then."""
    victim = chaos_fleet.victim()
    if victim is None or not send_signal(victim, signal.SIGSTOP):
        return False
    chaos_fleet.running.process.kill()
    chaos_fleet.running.process.wait(60)
    old = chaos_fleet.running
    chaos_fleet.start()
    time.sleep(chaos_fleet.rng.uniform(0.5, 2.0))
    chaos_fleet.resume_and_wait(old)
    return True


def terminate_early(chaos_fleet: ChaosFleet) -> bool:
    """SIGTERM while it starts, at any moment: a fleet that has not come up yet ends as orderly as any."""
    end(chaos_fleet)
    starting = chaos_fleet.start()
    time.sleep(chaos_fleet.rng.uniform(0.0, 2.0))
    starting.process.terminate()
    code = starting.process.wait(60)
    assert code in (0, 1, -signal.SIGTERM), starting.output
    assert "Traceback" not in starting.output, starting.output
    chaos_fleet.wait_until_gone()
    chaos_fleet.start()
    return True


def interrupt_twice(chaos_fleet: ChaosFleet) -> bool:
    """The second Ctrl-C kills at once."""
    os.killpg(chaos_fleet.running.pid, signal.SIGINT)
    time.sleep(chaos_fleet.rng.uniform(0.0, 0.3))
    with suppress(ProcessLookupError):
        os.killpg(chaos_fleet.running.pid, signal.SIGINT)
    chaos_fleet.wait_until_gone()
    chaos_fleet.start()
    return True


def terminate_locked(chaos_fleet: ChaosFleet) -> bool:
    """SIGTERM while another program keeps a database locked: it ends in time, fails, and says what is not written."""
    victim = chaos_fleet.victim()
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
        chaos_fleet.running.process.terminate()
        code = chaos_fleet.running.process.wait(60)
        output = chaos_fleet.running.output
    finally:
        with suppress(apsw.Error):
            connection.close(True)
    chaos_fleet.wait_until_gone()
    chaos_fleet.start()
    return code == 1 and "not written" in output


def damage(chaos_fleet: ChaosFleet) -> bool:
    """The files are damaged while nobody has them open, but nobody has closed them either."""
    chaos_fleet.running.process.kill()
    chaos_fleet.wait_until_gone()
    chaos_fleet.undo(everything=True)  # see misfortunes.damage_and_kill
    database = chaos_fleet.database()
    if database is not None:
        with suppress(FileNotFoundError):
            chaos_fleet.rng.choice([corrupt_page, fill_with_garbage, truncate_wal])(chaos_fleet, database)
    chaos_fleet.start()
    return database is not None


def end(chaos_fleet: ChaosFleet) -> None:
    chaos_fleet.running.process.terminate()
    chaos_fleet.wait_until_gone()


FLEET_FAULTS: dict[str, FleetFault] = {
    "supervisor killed": kill_supervisor,
    "stopped worker outlives its fleet": resume_after_takeover,
    "SIGTERM during start-up": terminate_early,
    "Ctrl-C twice": interrupt_twice,
    "SIGTERM while a database is locked": terminate_locked,
    "database damaged while the fleet is down": damage,
}
"""All of them by the names that they have in the report."""
