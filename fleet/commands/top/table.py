"""The table of `fleet top`: its columns, the part of it that is shown, and what keys change. Nothing here draws.

To add a column: one entry in TABLE_COLUMNS. To add a key: one entry in KEY_HANDLERS or SENSOR_KEY_HANDLERS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from rich.cells import set_cell_size

from fleet.escaping import escape
from fleet.monitoring.health import DISPLAY_STATES, IDLE_STATES, display_states
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import current_anomalies
from fleet.monitoring.stats import compact_number
from worker.readings.anomalies import ANOMALY_TYPES

COLUMN_GAP_CELLS = 1
MIN_TEXT_CELLS = 6
"""Cells of a text column at the right edge below which it is left out."""

KEY_HELP = "q quit  arrows page home end  s S sort  / filter  p pause  r resume  i inject"
MAX_PROMPT_CHARS = 40
DEFAULT_INJECTION_SECONDS = "30"


# Columns


class TableColumn(NamedTuple):
    """A column. `values` returns a value for each sensor, to sort by; `format` returns the text of one.

    Text columns are sorted in ascending order, numbers in descending order.
    """

    name: str
    width: int
    values: Callable[[Observation], list[Any]]
    format: Callable[[Any], str] = str
    is_text: bool = False


def row_field(name: str) -> Callable[[Observation], list[Any]]:
    """Return the values function of a field of the scoreboard."""
    return lambda observation: list(observation.rows[name].tolist())


def identity_field(name: str) -> Callable[[Observation], list[Any]]:
    """Return the values function of a field of the identities."""
    return lambda observation: [escape(getattr(member.identity, name) or "") for member in observation.members]


def states(observation: Observation) -> list[Any]:
    return [DISPLAY_STATES[state] for state in display_states(observation).tolist()]


def anomalies(observation: Observation) -> list[Any]:
    return [ANOMALY_TYPES[kind] if kind >= 0 else "" for kind in current_anomalies(observation).tolist()]


TABLE_COLUMNS = (
    TableColumn("sensor", 16, lambda observation: [member.sensor_id for member in observation.members], is_text=True),
    TableColumn("state", 10, states, is_text=True),
    TableColumn("anomaly", 12, anomalies, is_text=True),
    TableColumn("per s", 7, lambda observation: list(observation.measured_rates.tolist()), compact_number),
    TableColumn("readings", 8, row_field("readings"), compact_number),
    TableColumn(
        "anomalous", 9, lambda observation: list(observation.rows["anomalies"].sum(axis=1).tolist()), compact_number
    ),
    TableColumn(
        "lag s", 6, lambda observation: list((observation.rows["lag_us"] / 1e6).tolist()), lambda lag: f"{lag:.1f}"
    ),
    TableColumn("deaths", 6, row_field("restarts"), compact_number),
    TableColumn("errors", 6, row_field("errors"), compact_number),
    TableColumn("firmware", 12, identity_field("firmware_version"), is_text=True),
    TableColumn("location", 30, identity_field("location"), is_text=True),
)
COLUMN_NAMES = tuple(column.name for column in TABLE_COLUMNS)


# Table


@dataclass(frozen=True, slots=True)
class SensorTable:
    """The sensors of one observation that match a filter, sorted.

    `columns` has the values of all sensors for each column; `order` has the positions of the matching sensors in them.
    """

    columns: tuple[list[Any], ...]
    order: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.order)

    def sensor(self, number: int) -> str:
        """Return the sensor id on a line."""
        return str(self.columns[0][self.order[number]])

    def state(self, number: int) -> str:
        """Return the state on a line."""
        return str(self.columns[1][self.order[number]])

    def line(self, number: int, width: int) -> str:
        """Return the text of a line, `width` cells of a terminal wide."""
        position = self.order[number]
        cells = [column.format(values[position]) for column, values in zip(TABLE_COLUMNS, self.columns, strict=True)]
        return format_line(cells, width)


def build_table(
    observation: Observation, sort: int = 0, filter_text: str = "", *, backwards: bool = False
) -> SensorTable:
    """Return the sensors that have `filter_text` in any text column, ignoring case, sorted by the column `sort`."""
    columns = tuple(column.values(observation) for column in TABLE_COLUMNS)
    texts = [values for column, values in zip(TABLE_COLUMNS, columns, strict=True) if column.is_text]
    filter_text = filter_text.casefold()
    matching = [
        position
        for position in range(len(observation.members))
        if not filter_text or any(filter_text in values[position].casefold() for values in texts)
    ]
    descending = backwards if TABLE_COLUMNS[sort].is_text else not backwards
    keys = columns[sort]
    return SensorTable(columns, tuple(sorted(matching, key=lambda position: keys[position], reverse=descending)))


def heading(width: int) -> str:
    """Return the line of the column names."""
    return format_line(COLUMN_NAMES, width)


def format_line(cells: Sequence[str], width: int) -> str:
    """Join cells into a line, texts left-aligned and numbers right-aligned. Columns that do not fit are left out."""
    parts: list[str] = []
    left = width
    for column, text in zip(TABLE_COLUMNS, cells, strict=True):
        room = min(column.width, left) if column.is_text else column.width
        if left < min(room, MIN_TEXT_CELLS) or room > left:
            break
        parts.append(set_cell_size(text, room) if column.is_text else text[:room].rjust(room))
        left -= room + COLUMN_GAP_CELLS
    return set_cell_size((" " * COLUMN_GAP_CELLS).join(parts), width)


def fleet_summary(observation: Observation, healthy: int) -> str:
    """Return a line about the whole fleet that fits 80 columns."""
    max_lag = int(observation.rows["lag_us"].max(initial=0)) / 1e6
    target_rate = float(observation.target_rates[~np.isin(display_states(observation), IDLE_STATES)].sum())
    anomalous = int(np.count_nonzero(current_anomalies(observation) >= 0))
    return (
        f"{healthy:,}/{len(observation.members):,} healthy  {compact_number(float(observation.measured_rates.sum()))} of "
        f"{compact_number(target_rate)} readings/s  {anomalous:,} in an anomaly  lag {max_lag:.1f} s"
    )


# View


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question on the last line.

    `purpose` is filter, type or seconds. For an injection `sensor` is its sensor, because the order of the lines may
    change while the answer is typed, and `anomaly_type` its type once that is answered.
    """

    purpose: str
    question: str
    text: str = ""
    anomaly_type: str = ""
    sensor: str = ""


@dataclass(frozen=True, slots=True)
class ViewState:
    """The part of the table that is shown, and the pending input.

    `sort` is the number of a column, `cursor` the line that commands apply to, `top` the first line on the screen,
    `message` the result of the last command, and `command` a command to send to the fleet now.
    """

    sort: int = 0
    backwards: bool = False
    filter_text: str = ""
    cursor: int = 0
    top: int = 0
    prompt: Prompt | None = None
    message: str = ""
    finished: bool = False
    command: dict[str, Any] = field(default_factory=dict)

    def clamped(self, count: int, height: int) -> ViewState:
        """Return the view with the cursor on one of `count` lines, and that line among the `height` lines shown."""
        cursor = max(0, min(self.cursor, count - 1))
        top = max(0, min(self.top, cursor, count - height))
        return replace(self, cursor=cursor, top=max(top, cursor - height + 1))


def handle_key(view: ViewState, key: str, table: SensorTable, height: int) -> ViewState:
    """Return the view after a key, given by its name or character; `height` lines of sensors are shown."""
    view = replace(view, command={})
    if view.prompt is not None:
        return handle_prompt_key(view, view.prompt, key)
    steps = {"up": -1, "down": 1, "pgup": -height, "pgdn": height, "home": -len(table), "end": len(table)}
    if key in steps:
        return replace(view, cursor=view.cursor + steps[key]).clamped(len(table), height)
    view = replace(view, message="")
    if key in SENSOR_KEY_HANDLERS:
        if not len(table):
            return replace(view, message="there is no sensor under the cursor")
        return SENSOR_KEY_HANDLERS[key](view, table.sensor(view.cursor))
    return KEY_HANDLERS[key](view) if key in KEY_HANDLERS else view


def scroll_to_top(view: ViewState, **changes: Any) -> ViewState:
    """Return the view with the cursor on the first line, and other changes."""
    return replace(view, cursor=0, top=0, **changes)


def sensor_command(command: str) -> Callable[[ViewState, str], ViewState]:
    """Return the handler of a key that sends a command for the sensor under the cursor."""
    return lambda view, sensor: replace(view, command={"command": command, "sensors": [sensor]})


KEY_HANDLERS: dict[str, Callable[[ViewState], ViewState]] = {
    "q": lambda view: replace(view, finished=True),
    "s": lambda view: scroll_to_top(view, sort=(view.sort + 1) % len(COLUMN_NAMES), backwards=False),
    "S": lambda view: scroll_to_top(view, backwards=not view.backwards),
    "/": lambda view: replace(view, prompt=Prompt("filter", "filter: ", view.filter_text)),
    "escape": lambda view: scroll_to_top(view, filter_text=""),
}

SENSOR_KEY_HANDLERS: dict[str, Callable[[ViewState, str], ViewState]] = {
    "p": sensor_command("pause"),
    "r": sensor_command("resume"),
    "i": lambda view, sensor: replace(
        view, prompt=Prompt("type", f"inject into {sensor}: {', '.join(ANOMALY_TYPES)}? ", sensor=sensor)
    ),
}


def handle_prompt_key(view: ViewState, prompt: Prompt, key: str) -> ViewState:
    """Return the view after a key that was pressed at a prompt. A filter applies while it is typed."""
    if key == "escape":
        return replace(view, prompt=None, filter_text="" if prompt.purpose == "filter" else view.filter_text)
    if key == "enter":
        return submit_prompt(view, prompt)
    if key == "backspace":
        text = prompt.text[:-1]
    elif len(key) == 1 and len(prompt.text) < MAX_PROMPT_CHARS:
        text = prompt.text + key
    else:
        return view
    view = replace(view, prompt=replace(prompt, text=text))
    return scroll_to_top(view, filter_text=text) if prompt.purpose == "filter" else view


def submit_prompt(view: ViewState, prompt: Prompt) -> ViewState:
    """Return the view after an answer: with the next question, or a command."""
    view = replace(view, prompt=None)
    if prompt.purpose == "type":
        return submit_type(view, prompt)
    if prompt.purpose == "seconds":
        return submit_seconds(view, prompt)
    return view


def submit_type(view: ViewState, prompt: Prompt) -> ViewState:
    """Ask for the duration of an injection. An unambiguous beginning of a type's name is enough."""
    types = [name for name in ANOMALY_TYPES if prompt.text and name.startswith(prompt.text)]
    if len(types) != 1:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is one of {', '.join(ANOMALY_TYPES)}")
    question = f"{types[0]} into {prompt.sensor}, for how many seconds? "
    return replace(view, prompt=Prompt("seconds", question, DEFAULT_INJECTION_SECONDS, types[0], prompt.sensor))


def submit_seconds(view: ViewState, prompt: Prompt) -> ViewState:
    """Send the command of an injection."""
    try:
        seconds = float(prompt.text)
    except ValueError:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is a number of seconds")
    command = {"command": "inject", "type": prompt.anomaly_type, "seconds": seconds, "sensors": [prompt.sensor]}
    return replace(view, command=command)
