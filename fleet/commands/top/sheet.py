"""The table of `fleet top`: a column for each thing that is told of a sensor, sorted, filtered and cut to lines.

To add a column: one entry in `SHEET_COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.cells import set_cell_size

from fleet.escaping import escape
from fleet.monitoring.health import DISPLAY_STATES, IDLE_STATES, display_states
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import current_anomalies
from fleet.monitoring.stats import compact_number
from worker.scoreboard import SCOREBOARD_ANOMALIES

COLUMN_GAP_CELLS = 1


class SheetColumn(NamedTuple):
    """`values` has one for each sensor, to sort by; `format` is how one is shown. A text column is sorted from a to z, a
    number from the largest down."""

    name: str
    width: int
    values: Callable[[Observation], list[Any]]
    format: Callable[[Any], str] = str
    is_text: bool = False


def row_field(name: str) -> Callable[[Observation], list[Any]]:
    return lambda seen: list(seen.rows[name].tolist())


def identity_field(name: str) -> Callable[[Observation], list[Any]]:
    return lambda seen: [escape(getattr(member.identity, name) or "") for member in seen.members]


def states(seen: Observation) -> list[Any]:
    return [DISPLAY_STATES[state] for state in display_states(seen).tolist()]


def anomalies(seen: Observation) -> list[Any]:
    return [SCOREBOARD_ANOMALIES[kind] if kind >= 0 else "" for kind in current_anomalies(seen).tolist()]


SHEET_COLUMNS = (
    SheetColumn("sensor", 16, lambda seen: [member.sensor_id for member in seen.members], is_text=True),
    SheetColumn("state", 10, states, is_text=True),
    SheetColumn("anomaly", 12, anomalies, is_text=True),
    SheetColumn("per s", 7, lambda seen: list(seen.measured_rates.tolist()), compact_number),
    SheetColumn("readings", 8, row_field("readings"), compact_number),
    SheetColumn("anomalous", 9, lambda seen: list(seen.rows["anomalies"].sum(axis=1).tolist()), compact_number),
    SheetColumn("lag s", 6, lambda seen: list((seen.rows["lag_us"] / 1e6).tolist()), lambda lag: f"{lag:.1f}"),
    SheetColumn("deaths", 6, row_field("restarts"), compact_number),
    SheetColumn("errors", 6, row_field("errors"), compact_number),
    SheetColumn("firmware", 12, identity_field("firmware_version"), is_text=True),
    SheetColumn("location", 30, identity_field("location"), is_text=True),
)
COLUMN_NAMES = tuple(column.name for column in SHEET_COLUMNS)


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
        told = (column.format(cells[place]) for column, cells in zip(SHEET_COLUMNS, self.cells, strict=True))
        return format_line(tuple(told), width)


def build_sheet(observation: Observation, sort: int = 0, filter_text: str = "", *, backwards: bool = False) -> Sheet:
    """`filter_text` is a part of any text of a sensor, in upper or lower case."""
    cells = tuple(column.values(observation) for column in SHEET_COLUMNS)
    texts = [found for column, found in zip(SHEET_COLUMNS, cells, strict=True) if column.is_text]
    filter_text = filter_text.casefold()
    places = range(len(observation.members))
    left = (
        [place for place in places if any(filter_text in text[place].casefold() for text in texts)]
        if filter_text
        else places
    )
    downwards = backwards if SHEET_COLUMNS[sort].is_text else not backwards
    keys = cells[sort]
    return Sheet(cells, tuple(sorted(left, key=lambda place: keys[place], reverse=downwards)))


def heading(width: int) -> str:
    return format_line(COLUMN_NAMES, width)


def format_line(texts: Sequence[str], width: int) -> str:
    """Texts at the left of their columns, numbers at the right; columns that there is no room for are left out."""
    parts: list[str] = []
    left = width
    for column, text in zip(SHEET_COLUMNS, texts, strict=True):
        room = min(column.width, left) if column.is_text else column.width
        if left < min(room, 6) or room > left:
            break
        parts.append(set_cell_size(text, room) if column.is_text else text[:room].rjust(room))
        left -= room + COLUMN_GAP_CELLS
    return set_cell_size((" " * COLUMN_GAP_CELLS).join(parts), width)


def fleet_summary(observation: Observation, well: int) -> str:
    """The fleet in a line that fits 80 columns."""
    worst = int(observation.rows["lag_us"].max(initial=0)) / 1e6
    asked = float(observation.target_rates[~np.isin(display_states(observation), IDLE_STATES)].sum())
    anomalous = int(np.count_nonzero(current_anomalies(observation) >= 0))
    return (
        f"{well:,}/{len(observation.members):,} healthy  {compact_number(float(observation.measured_rates.sum()))} of "
        f"{compact_number(asked)} readings/s  {anomalous:,} in an anomaly  lag {worst:.1f} s"
    )
