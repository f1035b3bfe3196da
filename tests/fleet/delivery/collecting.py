"""The `fleet collect` command as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from tests.process.running_fleet import ENVIRONMENT, command

CLEAN_ENVIRONMENT = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("COLLECT_")}


class CollectProcess:
    """One collector that runs until it is ended."""

    def __init__(self, data: Path, target: str, *arguments: object, **environment: str) -> None:
        self.process = subprocess.Popen(
            command("collect", "--data-dir", data, "--to", target, "--json", *arguments),
            env=CLEAN_ENVIRONMENT | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait(self, seconds: float = 60.0) -> tuple[int, dict[str, Any], str]:
        """Its exit code, its summary, what it said on stderr."""
        out, said = self.process.communicate(timeout=seconds)
        return self.process.returncode, json.loads(out) if out.strip() else {}, said

    def terminate(self) -> tuple[int, dict[str, Any], str]:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def collect(data: Path, target: str, *arguments: object, **environment: str) -> tuple[int, dict[str, Any], str]:
    """One sweep."""
    return CollectProcess(data, target, "--once", *arguments, **environment).wait()


def count_delivered(summary: dict[str, Any]) -> int:
    return sum(database["delivered"] for database in summary["databases"])


def count_duplicates(summary: dict[str, Any]) -> int:
    return sum(database["duplicates"] for database in summary["databases"])
