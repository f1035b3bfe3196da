"""What an operator asks of a running fleet from another terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.runtime.commands import Answer
from fleet.runtime.control_client import ANSWER_TIMEOUT_SECONDS, send_command


def ask_fleet(data: Path, **command: Any) -> Answer:
    return send_command(DataDirectory(data).control, ANSWER_TIMEOUT_SECONDS, **command)


def stop(data: Path, timeout: float) -> int:
    """Have the fleet drain, and wait until it has ended."""
    directory = DataDirectory(data)
    pid = ask_fleet(data, command="down")["pid"]
    end = time.monotonic() + timeout
    while directory.holder() is not None:
        if time.monotonic() > end:
            raise UserError(f"{data}: the fleet (pid {pid}) has not ended within {timeout:g} s")
        time.sleep(0.05)
    click.echo(f"{data}: the fleet has ended")
    return 0


def start_rollout(data: Path, firmware: str, share: float, step: float | None, every: float | None) -> int:
    """Begin a roll-out, and say how far its first step went."""
    answer = ask_fleet(data, command="rollout", firmware=firmware, share=share, step=step, every=every)
    click.echo(describe_rollout(answer))
    return 0


def describe_rollout(progress: dict[str, Any]) -> str:
    text = f"roll-out: firmware {progress['firmware']} on {progress['sensors']} of {progress['of']} sensors"
    if progress["next_in"] is None:
        return text
    return f"{text}, to be {progress['target']}; next step in {progress['next_in']:.0f} s"
