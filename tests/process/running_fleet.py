"""The `fleet` command as a user runs it: a process in a session of its own, whose processes can all be found."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from fleet.datadir.roster import Roster
from worker.scoreboard import STATES, Scoreboard

ROOT = Path(__file__).resolve().parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
DEFAULT_TIMEOUT_SECONDS = 30.0

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], what: str, seconds: float = DEFAULT_TIMEOUT_SECONDS) -> T:
    """What `condition` returns as soon as it is true. AssertionError when it never is."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return value


def fleet(*arguments: object, cwd: Path | None = None, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """A `fleet` command that ends by itself."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False
    )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "fleet", *map(str, arguments)]


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def suspend(process: psutil.Process) -> None:
    """Stop a process and wait until it stands still: the kernel continues only one that does when its group is orphaned."""
    process.suspend()
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED, "it stands still")


def session(sid: int) -> list[psutil.Process]:
    """The processes of a session that live, also those whose parent is gone."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == sid and alive(process):
                found.append(process)
        except ProcessLookupError:
            continue
    return found


class FleetProcess:
    """One `fleet up`. `pid` leads its session and process group, as a shell's foreground job does. `environment` is
    what its environment has besides the usual, wrapper the command that starts it, such as `nice`."""

    def __init__(
        self,
        data: Path,
        output: Path,
        *arguments: object,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.data, self._output = data, output
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [*wrapper, *command("up", "--data", data, "--port", 0, *arguments)],
                cwd=cwd,
                env=ENVIRONMENT | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def ready(self) -> FleetProcess:
        """Once every sensor has committed in this run."""
        wait_for(lambda: "all workers have committed" in self.output or self._ended(), "all workers commit")
        return self

    def _ended(self) -> bool:
        assert self.process.poll() is None, self.output
        return False

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait(self, seconds: float = DEFAULT_TIMEOUT_SECONDS) -> int:
        """The exit code, once it has ended by itself and left nobody behind."""
        code = self.process.wait(seconds)
        self.wait_until_gone()
        return code

    def wait_until_gone(self, seconds: float = 2.0) -> None:
        wait_for(lambda: not session(self.pid), f"no process of session {self.pid} is left", seconds)

    def interrupt(self) -> None:
        """Ctrl-C: the terminal signals the whole foreground process group."""
        os.killpg(self.pid, signal.SIGINT)

    def processes(self) -> list[psutil.Process]:
        return session(self.pid)

    @property
    def roster(self) -> Roster:
        return Roster.read(self.data / "run" / "roster.json")

    @property
    def sensors(self) -> list[str]:
        return [member.sensor_id for member in self.roster.members]

    def row(self, sensor: str) -> Any:
        """The sensor's row on the scoreboard, a copy."""
        (number,) = [member.row for member in self.roster.members if member.sensor_id == sensor]
        return Scoreboard(self.data / "run" / "board", writable=False).snapshot()[number]

    def state(self, sensor: str) -> str:
        return STATES[self.row(sensor)["state"]]

    def worker(self, sensor: str) -> psutil.Process:
        """The sensor's process, once there is one that commits."""
        wait_for(lambda: self.state(sensor) == "healthy", f"{sensor} is healthy")
        return psutil.Process(int(self.row(sensor)["pid"]))

    def wait_for_replacement(self, sensor: str, old: psutil.Process, seconds: float = 10.0) -> psutil.Process:
        """The process that took over from `old`, once it commits."""

        def another() -> bool:
            row = self.row(sensor)
            return STATES[row["state"]] == "healthy" and row["pid"] not in (0, old.pid)

        wait_for(another, f"{sensor} has a new worker", seconds)
        return self.worker(sensor)

    def helper_processes(self) -> dict[str, psutil.Process]:
        """The template and the http process by those names."""
        workers = {int(self.row(sensor)["pid"]) for sensor in self.sensors}
        children = [process for process in psutil.Process(self.pid).children() if process.pid not in workers]
        found = {}
        for child in children:
            with suppress(psutil.NoSuchProcess):  # or a zombie
                found["template" if "worker.supervision.forkserver" in " ".join(child.cmdline()) else "http"] = child
        return found

    @property
    def url(self) -> str:
        pattern = re.compile(r"dashboard: (http://\S+)/\n")

        def told() -> str | None:
            self._ended()
            found = pattern.search(self.output)
            return found[1] if found else None

        return wait_for(told, "the dashboard's address")

    def get(self, path: str) -> tuple[int, Any]:
        """Status code and JSON of an answer. URLError where nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def end(self) -> None:
        """Whatever became of the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for process in session(self.pid):
            with suppress(psutil.NoSuchProcess):  # it was ending anyway
                process.kill()
