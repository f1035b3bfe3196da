"""The table of `fleet top`: a column for each thing that is told of a sensor, sorted, filtered and cut to lines.

To add a column: one entry in `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.cells import set_cell_size

from fleet.quotes import escaped
from fleet.web.health import FINISHED, SHOWN, shown_states
from fleet.web.observation import Observation
from fleet.web.sensors import current_anomalies
from worker.board import KINDS

GAP = 1


class Column(NamedTuple):
    """`values` has one for each sensor, to sort by; `told` is how one is shown. A text column is sorted from a to z, a
    number from the largest down."""

    name: str
    width: int
    values: Callable[[Observation], list[Any]]
    told: Callable[[Any], str] = str
    is_text: bool = False


def field(name: str) -> Callable[[Observation], list[Any]]:
    return lambda seen: list(seen.rows[name].tolist())


def identity(name: str) -> Callable[[Observation], list[Any]]:
    return lambda seen: [escaped(getattr(member.identity, name) or "") for member in seen.members]


def states(seen: Observation) -> list[Any]:
    return [SHOWN[state] for state in shown_states(seen).tolist()]


def anomalies(seen: Observation) -> list[Any]:
    return [KINDS[kind] if kind >= 0 else "" for kind in current_anomalies(seen).tolist()]


def compact(number: float) -> str:
    """A number in at most six letters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            unit = 1e3 if letter == "k" else size
            return f"{number / unit:.{1 if number / unit < 100 else 0}f}{letter}"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


COLUMNS = (
    Column("sensor", 16, lambda seen: [member.sensor_id for member in seen.members], is_text=True),
    Column("state", 10, states, is_text=True),
    Column("anomaly", 12, anomalies, is_text=True),
    Column("per s", 7, lambda seen: list(seen.pace.tolist()), compact),
    Column("readings", 8, field("readings"), compact),
    Column("anomalous", 9, lambda seen: list(seen.rows["anomalies"].sum(axis=1).tolist()), compact),
    Column("lag s", 6, lambda seen: list((seen.rows["lag_us"] / 1e6).tolist()), lambda lag: f"{lag:.1f}"),
    Column("deaths", 6, field("restarts"), compact),
    Column("errors", 6, field("errors"), compact),
    Column("firmware", 12, identity("firmware_version"), is_text=True),
    Column("location", 30, identity("location"), is_text=True),
)
NAMES = tuple(column.name for column in COLUMNS)


@dataclass(frozen=True, slots=True)
class Sheet:
    """All sensors of one observation that a filter leaves, in order. `cells` has a column each, `order` the places of the
    sensors in it."""

    cells: tuple[list[Any], ...]
    order: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.order)

    def sensor(self, line: int) -> str:
        return str(self.cells[0][self.order[line]])

    def state(self, line: int) -> str:
        return str(self.cells[1][self.order[line]])

    def line(self, number: int, width: int) -> str:
        """One sensor in so many cells of a terminal."""
        place = self.order[number]
        told = (column.told(cells[place]) for column, cells in zip(COLUMNS, self.cells, strict=True))
        return laid_out(tuple(told), width)


def sheet(observation: Observation, sort: int = 0, wanted: str = "", *, backwards: bool = False) -> Sheet:
    """`wanted` is a part of any text of a sensor, in upper or lower case."""
    cells = tuple(column.values(observation) for column in COLUMNS)
    texts = [found for column, found in zip(COLUMNS, cells, strict=True) if column.is_text]
    wanted = wanted.casefold()
    places = range(len(observation.members))
    left = [place for place in places if any(wanted in text[place].casefold() for text in texts)] if wanted else places
    downwards = backwards if COLUMNS[sort].is_text else not backwards
    keys = cells[sort]
    return Sheet(cells, tuple(sorted(left, key=lambda place: keys[place], reverse=downwards)))


def heading(width: int) -> str:
    return laid_out(NAMES, width)


def laid_out(texts: Sequence[str], width: int) -> str:
    """Texts at the left of their columns, numbers at the right; columns that there is no room for are left out."""
    parts: list[str] = []
    left = width
    for column, text in zip(COLUMNS, texts, strict=True):
        room = min(column.width, left) if column.is_text else column.width
        if left < min(room, 6) or room > left:
            break
        parts.append(set_cell_size(text, room) if column.is_text else text[:room].rjust(room))
        left -= room + GAP
    return set_cell_size((" " * GAP).join(parts), width)


def summary(observation: Observation, well: int) -> str:
    """The fleet in a line that fits 80 columns."""
    worst = int(observation.rows["lag_us"].max(initial=0)) / 1e6
    asked = float(observation.rates[~np.isin(shown_states(observation), FINISHED)].sum())
    anomalous = int(np.count_nonzero(current_anomalies(observation) >= 0))
    return (
        f"{well:,}/{len(observation.members):,} healthy  {compact(float(observation.pace.sum()))} of "
        f"{compact(asked)} readings/s  {anomalous:,} in an anomaly  lag {worst:.1f} s"
    )
