"""Which channels the sensors of a fleet have, and where on the scoreboard each has them: found out once for a roster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleet.datadir.roster import Member
from worker.scoreboard import MAX_CHANNELS


class ChannelIndex(NamedTuple):
    """`units` are (name, unit) of every channel that a sensor has, in the order they come; a name has the unit that it
    comes with first. `positions` says where in a row's values each sensor has it, -1 for none."""

    units: tuple[tuple[str, str], ...]
    positions: dict[str, npt.NDArray[np.intp]]


def index_channels(members: Sequence[Member]) -> ChannelIndex:
    units: dict[str, str] = {}
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    kinds = np.array([numbers.setdefault(member.channels, len(numbers)) for member in members], dtype=np.intp)
    for kind in numbers:
        for name, unit in kind:
            units.setdefault(name, unit)
    positions = {
        name: np.array([channel_position(kind, name) for kind in numbers], dtype=np.intp)[kinds] for name in units
    }
    return ChannelIndex(tuple(units.items()), positions)


def channel_position(channels: tuple[tuple[str, str], ...], name: str) -> int:
    return next((number for number, (other, _) in enumerate(channels[:MAX_CHANNELS]) if other == name), -1)
