"""`fleet pause` and `fleet resume`: stop and restart the readings of sensors of the running fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet.commands.options import DATA_OPTION
from fleet.commands.running_fleet import ask_fleet
from fleet.commands.selection import describe_selection, selection_arguments, selection_options


@click.command()
@selection_options
@DATA_OPTION
def pause(data: Path, **selection: Any) -> int:
    """Have sensors of the running fleet produce nothing until they are resumed."""
    answer = ask_fleet(data, command="pause", **selection_arguments(**selection))
    print_change("paused", answer, "paused already")
    return 0


@click.command()
@selection_options
@DATA_OPTION
def resume(data: Path, **selection: Any) -> int:
    """Have paused sensors continue from now; the time between is left out, on record. Without a selection: all."""
    answer = ask_fleet(data, command="resume", **selection_arguments(needed=False, **selection))
    print_change("resumed", answer, "not paused")
    return 0


def print_change(change: str, answer: dict[str, Any], unchanged_state: str) -> None:
    """Print which sensors a command applied to, and how many of them it did not change."""
    unchanged = answer["sensors"] - answer["changed"]
    remark = f" ({unchanged} of them {'was' if unchanged == 1 else 'were'} {unchanged_state})" if unchanged else ""
    click.echo(f"{change}: {describe_selection(answer)}{remark}")
