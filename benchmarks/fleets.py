"""How whole fleets do: start-up, memory, processor, lag, and whether every due reading was committed.

`python benchmarks/fleets.py [own] [shared] [thousand] [packed]` runs real fleets of 100 (own databases, one shared),
1,000 and 10,000 sensors (500 to a process) and prints a row for each. Memory is proportional (PSS) and needs Linux.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from fleet.datadir.roster import Roster
from fleet.monitoring.stats import fleet_stats
from worker.scoreboard import Scoreboard

QUIET = 4.0
"""Seconds before the end in which nothing is measured: looking at a thousand processes takes one or two."""


@dataclass(frozen=True)
class Case:
    """A fleet: its flags, and its config where flags are not enough."""

    name: str
    flags: str
    seconds: int
    config: str = ""


CASES = {
    "own": Case("100 sensors, 10/s, own databases", "--replicas 100 --rate 10", 20),
    "shared": Case("100 sensors, 10/s, one database", "--replicas 100 --rate 10 --shared-db", 20),
    "thousand": Case("1,000 sensors, 1/s, a process each", "--replicas 1000 --rate 1", 60),
    "packed": Case(
        "10,000 sensors, 1/s, 500 to a process",
        "--rate 1",
        60,
        "replicas: {count: 10000, sensors_per_worker: 500}\n",
    ),
}


def main(names: list[str]) -> None:
    print(f"{'fleet':36} {'settled':>17} {'first row':>9} {'worst lag':>9} {'cpu':>6} {'memory':>8} {'exit':>4}")
    for name in names or CASES:
        print(measured(CASES[name]), flush=True)


def measured(case: Case) -> str:
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        data = Path(folder, "data")
        command = [sys.executable, "-m", "fleet", "up", "--port", "0", "--data", str(data), "--for", f"{case.seconds}s"]
        if case.config:
            config = Path(folder, "config.yaml")
            config.write_text(case.config)
            command += ["--config", str(config)]
        process = subprocess.Popen([*command, *case.flags.split()], stdout=subprocess.DEVNULL)
        try:
            return watched(case, data, process)
        finally:
            process.kill()
            process.wait()


def watched(case: Case, data: Path, process: subprocess.Popen[bytes]) -> str:
    roster_file, board_file = data / "run/roster.json", data / "run/board"
    while not roster_file.exists():
        if process.poll() is not None:
            raise SystemExit(f"{case.name}: the fleet ended with exit code {process.returncode}")
        time.sleep(0.05)
    roster, scoreboard = Roster.read(roster_file), Scoreboard(board_file, writable=False)
    rows = [member.row for member in roster.members]
    end = roster.started_ns / 1e9 + case.seconds
    await_first_rows(scoreboard, rows, end)
    first = (int(scoreboard.rows["first_commit_ns"][rows].max()) - roster.started_ns) / 1e9
    time.sleep(min(5.0, max(0.0, end - time.monotonic() - 5)))  # what start-up left behind is caught up with
    memory = proportional(process.pid)
    begun, used, lag = time.monotonic(), processor(process.pid), 0.0
    while time.monotonic() < end - QUIET:
        time.sleep(0.25)
        lag = max(lag, fleet_stats(scoreboard.snapshot()[rows]).lag)
    share = (processor(process.pid) - used) / (time.monotonic() - begun)
    code = process.wait(timeout=120)
    total = fleet_stats(scoreboard.rows[rows])
    due = int(sum(member.rate for member in roster.members) * case.seconds)
    settled = f"{total.scheduled:,}/{due:,}"
    return f"{case.name:36} {settled:>17} {first:7.1f} s {lag:7.2f} s {share:6.0%} {memory:5.0f} MB {code:4}"


def await_first_rows(scoreboard: Scoreboard, rows: list[int], end: float) -> None:
    while (scoreboard.rows["first_commit_ns"][rows] == 0).any() and time.monotonic() < end:
        time.sleep(0.05)


def tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def processor(pid: int) -> float:
    """Seconds of processor time that the processes of the tree have used."""
    return sum(sum(process.cpu_times()[:2]) for process in tree(pid))


def proportional(pid: int) -> float:
    """Proportional set size of the tree, MB."""
    texts = [Path(f"/proc/{process.pid}/smaps_rollup").read_text() for process in tree(pid)]
    lines = (line for text in texts for line in text.splitlines() if line.startswith("Pss:"))
    return sum(int(line.split()[1]) for line in lines) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
