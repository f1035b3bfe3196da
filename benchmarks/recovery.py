"""How soon a fault is seen and how soon the sensor commits again: three sensors at 20 readings a second, packaged delays
but for hang_seconds 2, each death the first of its window; median of three. The data is verified at the end."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.process.running_fleet import FleetProcess, fleet, session, wait_for  # noqa: E402

CONFIG = """
version: 2
replicas: {count: 3, prefix: S}
simulation: {readings_per_second: 20}
supervision: {hang_seconds: 2, restart_window_seconds: 1}
"""
VICTIM = "S_000002"
TIMES = 3


class Took(NamedTuple):
    """Seconds from the fault until the scoreboard shows it, and until the sensor has committed again."""

    seen: float
    recovered: float


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(CONFIG)
        running = FleetProcess(Path(folder, "data"), Path(folder, "output"), "-c", config).ready()
        try:
            print(f"{'fault':44} seen after  committing after")
            for name, fault in FAULTS.items():
                took = [measured(running, fault) for _ in range(TIMES)]
                seen, recovered = (statistics.median(each) for each in zip(*took, strict=True))
                print(f"{name:44} {seen:8.2f} s  {recovered:14.2f} s")
            print(f"{'supervisor killed: everybody is gone':44} {orphans(running):8.2f} s")
            print(fleet("verify", "--data", running.data).stdout)
        finally:
            running.end()


def measured(running: FleetProcess, fault: Callable[[FleetProcess, Path], None]) -> Took:
    database = running.data / f"{VICTIM}.db"
    wait_for(lambda: running.state(VICTIM) == "healthy", "it is healthy")
    time.sleep(1.1)  # the window of restarts
    before = running.row(VICTIM).copy()
    begun = time.monotonic()
    fault(running, database)
    wait_for(lambda: noticed(running, before), "it is seen", 60)
    seen = time.monotonic() - begun
    wait_for(lambda: caught_up(running, before), "it commits again", 60)
    return Took(seen, time.monotonic() - begun)


def noticed(running: FleetProcess, before: object) -> bool:
    row = running.row(VICTIM)
    return any(row[name] != before[name] for name in ("restarts", "renewals", "retries"))  # type: ignore[index]


def caught_up(running: FleetProcess, before: object) -> bool:
    row = running.row(VICTIM)
    return bool(running.state(VICTIM) == "healthy" and row["next_seq"] > before["next_seq"])  # type: ignore[index]


def kill(running: FleetProcess, database: Path) -> None:
    running.worker(VICTIM).kill()


def stop(running: FleetProcess, database: Path) -> None:
    running.worker(VICTIM).suspend()


def lock(running: FleetProcess, database: Path) -> None:
    connection = apsw.Connection(str(database))
    connection.execute("BEGIN IMMEDIATE")
    wait_for(lambda: running.state(VICTIM) == "unready", "it says that it waits", 60)
    connection.execute("ROLLBACK")
    connection.close()


def delete(running: FleetProcess, database: Path) -> None:
    database.unlink()


def spoil(running: FleetProcess, database: Path) -> None:
    worker = running.worker(VICTIM)
    worker.suspend()
    database.write_bytes(b"garbage" * 1000)
    worker.kill()


def orphans(running: FleetProcess) -> float:
    begun = time.monotonic()
    running.process.kill()
    running.process.wait()
    wait_for(lambda: not session(running.pid), "everybody is gone")
    return time.monotonic() - begun


FAULTS: dict[str, Callable[[FleetProcess, Path], None]] = {
    "worker killed (SIGKILL)": kill,
    "worker stopped (SIGSTOP), hang limit 2 s": stop,
    "database locked until the worker is unready": lock,
    "database deleted": delete,
    "garbage in its place, worker killed": spoil,
}

if __name__ == "__main__":
    main()
