"""Which channels the sensors of a fleet have, and where on the board each has them: found out once for a roster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleet.storage.roster import Member
from worker.board import MAX_CHANNELS


class Channels(NamedTuple):
    """`units` are (name, unit) of every channel that a sensor has, in the order they come; a name has the unit that it
    comes with first. `places` says where in a row's values each sensor has it, -1 for none."""

    units: tuple[tuple[str, str], ...]
    places: dict[str, npt.NDArray[np.intp]]


def channels_of(members: Sequence[Member]) -> Channels:
    units: dict[str, str] = {}
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    kinds = np.array([numbers.setdefault(member.channels, len(numbers)) for member in members], dtype=np.intp)
    for kind in numbers:
        for name, unit in kind:
            units.setdefault(name, unit)
    places = {name: np.array([place(kind, name) for kind in numbers], dtype=np.intp)[kinds] for name in units}
    return Channels(tuple(units.items()), places)


def place(channels: tuple[tuple[str, str], ...], name: str) -> int:
    return next((number for number, (other, _) in enumerate(channels[:MAX_CHANNELS]) if other == name), -1)
