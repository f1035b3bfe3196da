"""`fleet rollout`: give some sensors of the running fleet another firmware, at once or in steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fleet.commands.options import DATA_OPTION, DurationParam, ShareParam
from fleet.commands.running_fleet import ask_fleet


@click.command()
@click.option("--firmware", metavar="V", required=True, help="The new firmware version.")
@click.option("--share", type=ShareParam(), required=True, metavar="P", help="Share of the sensors, such as 20%.")
@click.option("--step", type=ShareParam(), metavar="P", help="Share of the sensors per step. Default: all at once.")
@click.option("--every", type=DurationParam(), metavar="TIME", help="With --step: how long one step lasts, such as 5m.")
@DATA_OPTION
def rollout(firmware: str, share: float, step: float | None, every: float | None, data: Path) -> int:
    """Give a share of the running fleet's sensors another firmware, which they keep.

    The same share of the same fleet always selects the same sensors; a larger share includes those of a smaller one.
    """
    answer = ask_fleet(data, command="rollout", firmware=firmware, share=share, step=step, every=every)
    click.echo(describe_rollout(answer))
    return 0


def describe_rollout(progress: dict[str, Any]) -> str:
    """Return one line on how far a roll-out has got."""
    text = f"roll-out: firmware {progress['firmware']} on {progress['sensors']} of {progress['of']} sensors"
    if progress["next_in"] is None:
        return text
    return f"{text}, to be {progress['target']}; next step in {progress['next_in']:.0f} s"
