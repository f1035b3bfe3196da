"""`python -m worker` as a user runs it: one sensor in the foreground, in a folder of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.process.running_fleet import ENVIRONMENT, FleetProcess


def worker(*arguments: object, cwd: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    """Output and error output of a single worker that ends by itself, and its exit code as text."""
    ended = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=ENVIRONMENT | {"MONITORING_PORT": "0"} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [ended.stdout, ended.stderr, str(ended.returncode)]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "worker", *map(str, arguments)]


class SingleWorker(FleetProcess):
    """One that runs. `state` is the folder that it keeps beside its database, seen from `cwd`."""

    def __init__(
        self, cwd: Path, output: Path, state: str, *arguments: object, environment: Mapping[str, str] | None = None
    ) -> None:
        self.data, self._output = cwd / state, output
        with output.open("w") as file:
            self.process = subprocess.Popen(
                command(*arguments),
                cwd=cwd,
                env=ENVIRONMENT | {"MONITORING_PORT": "0"} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def ready(self) -> SingleWorker:
        super().ready()
        return self

    def stop(self) -> int:
        """The exit code after SIGTERM, as `docker stop` sends it: to the first process alone."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()
