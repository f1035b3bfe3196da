"""The table of `fleet top`: its columns, the part of it that is shown, and what keys change. Nothing here draws.

To add a column: one entry in `table_columns`. To add a key: one entry in KEY_HANDLERS or SENSOR_KEY_HANDLERS, and in
HELP_LINES.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from rich.cells import cell_len, set_cell_size

from fleet.escaping import escape
from fleet.monitoring.health import DISPLAY_STATES, IDLE_STATES, display_states
from fleet.monitoring.observation import Observation
from fleet.monitoring.sensors import channel_column, current_anomalies
from fleet.monitoring.stats import compact_number, format_value
from worker.readings.anomalies import ANOMALY_TYPES

COLUMN_GAP_CELLS = 1
MIN_TEXT_CELLS = 6
"""Cells of a text column at the right edge below which it is left out."""

MIN_CHANNEL_CELLS = 12
"""Cells of a column of readings: six digits with separators, and a unit."""

KEY_HELP = "q quit  ? help  arrows  s S sort  / filter  p pause  r resume  i inject"
HELP_LINES = (
    "up, down, page up, page down   move the cursor, which stays on its sensor when the order changes",
    "home, end                      the first, the last sensor",
    "left, right                    show other columns; the first one stays",
    "s, S                           sort by the next column; reverse the order",
    "/                              show only sensors with a text in a column; escape shows all again",
    "p, r                           pause, resume the sensor under the cursor",
    "i                              inject an anomaly into it: asks for the type and the seconds",
    "?                              this help; any key closes it",
    "q, Ctrl-C                      quit; the fleet goes on",
)
MAX_PROMPT_CHARS = 40
DEFAULT_INJECTION_SECONDS = "30"
ASCENDING_MARK, DESCENDING_MARK = "▲", "▼"


# Columns


class TableColumn(NamedTuple):
    """A column. `values` returns a value for each sensor, to sort by; `format` returns the text of one.

    Text columns are sorted in ascending order, numbers in descending order; None comes last in any order.
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


def sensor_ids(observation: Observation) -> list[Any]:
    return [member.sensor_id for member in observation.members]


def states(observation: Observation) -> list[Any]:
    return [DISPLAY_STATES[state] for state in display_states(observation).tolist()]


def anomalies(observation: Observation) -> list[Any]:
    return [ANOMALY_TYPES[kind] if kind >= 0 else "" for kind in current_anomalies(observation).tolist()]


def measured_values(channel: str, observation: Observation) -> list[Any]:
    """Return the last reading of a channel, None where there is none."""
    return [value if np.isfinite(value) else None for value in channel_column(observation, channel).tolist()]


def channel_table_column(name: str, unit: str) -> TableColumn:
    """Return the column of a channel, whose readings have their unit."""

    def with_unit(value: float | None) -> str:
        return format_value(value) if value is None else f"{format_value(value)} {escape(unit)}".rstrip()

    heading = escape(name)
    return TableColumn(
        heading, max(cell_len(heading) + 1, MIN_CHANNEL_CELLS), partial(measured_values, name), with_unit
    )


COLUMNS_BEFORE_CHANNELS = (
    TableColumn("sensor", 16, sensor_ids, is_text=True),
    TableColumn("state", 10, states, is_text=True),
    TableColumn("anomaly", 12, anomalies, is_text=True),
    TableColumn("per s", 7, lambda observation: list(observation.measured_rates.tolist()), compact_number),
)
COLUMNS_AFTER_CHANNELS = (
    TableColumn("readings", 9, row_field("readings"), compact_number),
    TableColumn(
        "anomalous", 10, lambda observation: list(observation.rows["anomalies"].sum(axis=1).tolist()), compact_number
    ),
    TableColumn(
        "lag s", 6, lambda observation: list((observation.rows["lag_us"] / 1e6).tolist()), lambda lag: f"{lag:.1f}"
    ),
    TableColumn("deaths", 7, row_field("restarts"), compact_number),
    TableColumn("errors", 7, row_field("errors"), compact_number),
    TableColumn("firmware", 12, identity_field("firmware_version"), is_text=True),
    TableColumn("location", 30, identity_field("location"), is_text=True),
)


def table_columns(observation: Observation) -> tuple[TableColumn, ...]:
    """Return the columns for the channels that the sensors have."""
    channels = [channel_table_column(name, unit) for name, unit in observation.channels.units]
    return (*COLUMNS_BEFORE_CHANNELS, *channels, *COLUMNS_AFTER_CHANNELS)


# Table


@dataclass(frozen=True, slots=True)
class SensorTable:
    """The sensors of one observation that match a filter, sorted.

    `values` has the values of all sensors for each of `columns`; `order` has the positions of the matching sensors in
    them.
    """

    columns: tuple[TableColumn, ...]
    values: tuple[list[Any], ...]
    order: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.order)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def sensor(self, number: int) -> str:
        """Return the sensor id on a line."""
        return str(self.values[0][self.order[number]])

    def line_of(self, sensor: str) -> int | None:
        """Return the line of a sensor, None if it is not in the table."""
        return next((line for line, position in enumerate(self.order) if self.values[0][position] == sensor), None)

    def state(self, number: int) -> str:
        """Return the state on a line."""
        return str(self.values[1][self.order[number]])

    def line(self, number: int, width: int, first: int = 1) -> str:
        """Return the text of a line, `width` cells of a terminal wide, with the columns from `first` on."""
        position = self.order[number]
        cells = [column.format(values[position]) for column, values in zip(self.columns, self.values, strict=True)]
        return format_line(self.columns, cells, width, first)

    def heading(self, width: int, view: ViewState) -> str:
        """Return the line of the column names. The one that the table is sorted by has a mark."""
        is_text = self.columns[view.sort_number(self)].is_text
        mark = DESCENDING_MARK if is_text == view.backwards else ASCENDING_MARK
        names = [
            f"{column.name}{mark if number == view.sort_number(self) else ''}"
            for number, column in enumerate(self.columns)
        ]
        return format_line(self.columns, names, width, view.first_column)

    @property
    def width(self) -> int:
        """The cells of a line with all columns."""
        return sum(column.width + COLUMN_GAP_CELLS for column in self.columns) - COLUMN_GAP_CELLS


def build_table(
    observation: Observation, sort: str = "sensor", filter_text: str = "", *, backwards: bool = False
) -> SensorTable:
    """Return the sensors that have `filter_text` in any text column, ignoring case, sorted by the column `sort`."""
    columns = table_columns(observation)
    values = tuple(column.values(observation) for column in columns)
    texts = [each for column, each in zip(columns, values, strict=True) if column.is_text]
    filter_text = filter_text.casefold()
    matching = [
        position
        for position in range(len(observation.members))
        if not filter_text or any(filter_text in each[position].casefold() for each in texts)
    ]
    table = SensorTable(columns, values, tuple(matching))
    number = ViewState(sort=sort).sort_number(table)
    keys = values[number]
    known = [position for position in matching if keys[position] is not None]
    unknown = [position for position in matching if keys[position] is None]
    descending = backwards if columns[number].is_text else not backwards
    known.sort(key=lambda position: keys[position], reverse=descending)
    return replace(table, order=(*known, *unknown))


def format_line(columns: Sequence[TableColumn], cells: Sequence[str], width: int, first: int = 1) -> str:
    """Join cells into a line, texts left-aligned and numbers right-aligned: the first cell, and those from `first` on.
    Columns that do not fit are left out."""
    parts: list[str] = []
    left = width
    shown = [0, *range(first, len(columns))]
    for column, text in [(columns[number], cells[number]) for number in shown]:
        room = min(column.width, left) if column.is_text else column.width
        if left < min(room, MIN_TEXT_CELLS) or room > left:
            break
        fitting = set_cell_size(text, room) if column.is_text or cell_len(text) > room else text
        parts.append(" " * (room - cell_len(fitting)) + fitting)
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

    `purpose` is filter, type or seconds. For an injection `sensor` is its sensor and `anomaly_type` its type once that is
    answered. `is_default` says that `text` is a proposal, which the first character replaces.
    """

    purpose: str
    question: str
    text: str = ""
    anomaly_type: str = ""
    sensor: str = ""
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class ViewState:
    """The part of the table that is shown, and the pending input.

    `sensor` is the id under the cursor, which commands apply to, and `cursor` the line where it was drawn last: the order
    changes, the id does not. `sort` is the name of a column, `top` the first line on the screen, `first_column` the first
    column beside the ids, `message` the result of the last command, and `command` a command to send to the fleet now.
    """

    sort: str = "sensor"
    backwards: bool = False
    filter_text: str = ""
    sensor: str = ""
    cursor: int = 0
    top: int = 0
    first_column: int = 1
    prompt: Prompt | None = None
    message: str = ""
    help_shown: bool = False
    finished: bool = False
    command: dict[str, Any] = field(default_factory=dict)

    def sort_number(self, table: SensorTable) -> int:
        """Return the number of the column to sort by; the first one if the fleet has no such channel any more."""
        names = table.column_names
        return names.index(self.sort) if self.sort in names else 0

    def clamped(self, count: int, height: int) -> ViewState:
        """Return the view with the cursor on one of `count` lines, and that line among the `height` lines shown."""
        cursor = max(0, min(self.cursor, count - 1))
        top = max(0, min(self.top, cursor, count - height))
        return replace(self, cursor=cursor, top=max(top, cursor - height + 1))

    def following(self, table: SensorTable, height: int) -> ViewState:
        """Return the view with the cursor on the line that its sensor has now. The part that is shown stays, so that a
        list sorted by lag goes on showing the worst; a cursor that is on no sensor yet takes that of its line."""
        line = table.line_of(self.sensor) if self.sensor else None
        cursor = max(0, min(self.cursor if line is None else line, len(table) - 1))
        sensor = self.sensor or (table.sensor(cursor) if len(table) else "")
        return replace(self, sensor=sensor, cursor=cursor, top=max(0, min(self.top, len(table) - height)))


def handle_key(view: ViewState, key: str, table: SensorTable, height: int) -> ViewState:
    """Return the view after a key, given by its name or character; `height` lines of sensors are shown."""
    view = replace(view, command={})
    if view.help_shown:
        return replace(view, help_shown=False)
    if view.prompt is not None:
        return handle_prompt_key(view, view.prompt, key, table)
    steps = {"up": -1, "down": 1, "pgup": -height, "pgdn": height, "home": -len(table), "end": len(table)}
    if key in steps:
        return move_cursor(view.following(table, height), steps[key], table, height)
    view = replace(view, message="")
    if key in SENSOR_KEY_HANDLERS:
        return handle_sensor_key(view, key, table, height)
    return KEY_HANDLERS[key](view, table) if key in KEY_HANDLERS else view


def move_cursor(view: ViewState, step: int, table: SensorTable, height: int) -> ViewState:
    """Return the view with the cursor `step` lines further, on the sensor there."""
    view = replace(view, cursor=view.cursor + step).clamped(len(table), height)
    return replace(view, sensor=table.sensor(view.cursor) if len(table) else "")


def handle_sensor_key(view: ViewState, key: str, table: SensorTable, height: int) -> ViewState:
    """Return the view after a key that acts on the sensor under the cursor. It acts on no sensor that is not on the
    screen: one that has left the table, one that has moved out of sight, one that was never drawn with the cursor."""
    if not len(table) or not view.sensor:
        return replace(view, message="there is no sensor under the cursor")
    if table.line_of(view.sensor) is None:
        return replace(view, message=f"{view.sensor} has left the table: choose a sensor with the arrows")
    view = view.following(table, height)
    if not view.top <= view.cursor < view.top + height:
        message = f"{view.sensor} had moved off the screen, nothing was done: here it is"
        return replace(view, message=message).clamped(len(table), height)
    return SENSOR_KEY_HANDLERS[key](view, view.sensor)


def scroll_to_top(view: ViewState, **changes: Any) -> ViewState:
    """Return the view with the cursor on the first line, whatever sensor that will be, and other changes."""
    return replace(view, sensor="", cursor=0, top=0, **changes)


def sort_by_next(view: ViewState, table: SensorTable) -> ViewState:
    """Return the view sorted by the next column, which is scrolled into view where it is to the left."""
    number = (view.sort_number(table) + 1) % len(table.columns)
    first = min(view.first_column, max(number, 1))
    return scroll_to_top(view, sort=table.column_names[number], backwards=False, first_column=first)


def scroll_columns(step: int) -> Callable[[ViewState, SensorTable], ViewState]:
    """Return the handler of a key that shows further columns to the right or left."""
    return lambda view, table: replace(view, first_column=max(1, min(view.first_column + step, len(table.columns) - 1)))


def sensor_command(command: str) -> Callable[[ViewState, str], ViewState]:
    """Return the handler of a key that sends a command for the sensor under the cursor."""
    return lambda view, sensor: replace(view, command={"command": command, "sensors": [sensor]})


KEY_HANDLERS: dict[str, Callable[[ViewState, SensorTable], ViewState]] = {
    "q": lambda view, _: replace(view, finished=True),
    "?": lambda view, _: replace(view, help_shown=True),
    "s": sort_by_next,
    "S": lambda view, _: scroll_to_top(view, backwards=not view.backwards),
    "left": scroll_columns(-1),
    "right": scroll_columns(1),
    "/": lambda view, _: replace(view, prompt=Prompt("filter", "filter: ", view.filter_text)),
    "escape": lambda view, _: scroll_to_top(view, filter_text=""),
}

SENSOR_KEY_HANDLERS: dict[str, Callable[[ViewState, str], ViewState]] = {
    "p": sensor_command("pause"),
    "r": sensor_command("resume"),
    "i": lambda view, sensor: replace(
        view, prompt=Prompt("type", f"inject into {sensor}: {', '.join(ANOMALY_TYPES)}? ", sensor=sensor)
    ),
}


def handle_prompt_key(view: ViewState, prompt: Prompt, key: str, table: SensorTable) -> ViewState:
    """Return the view after a key that was pressed at a prompt. A filter applies while it is typed."""
    if key == "escape":
        return replace(view, prompt=None, filter_text="" if prompt.purpose == "filter" else view.filter_text)
    if key == "enter":
        return submit_prompt(view, prompt, table)
    before = "" if prompt.is_default else prompt.text
    if key == "backspace":
        text = before[:-1]
    elif len(key) == 1 and len(before) < MAX_PROMPT_CHARS:
        text = before + key
    else:
        return view
    view = replace(view, prompt=replace(prompt, text=text, is_default=False))
    return scroll_to_top(view, filter_text=text) if prompt.purpose == "filter" else view


def submit_prompt(view: ViewState, prompt: Prompt, table: SensorTable) -> ViewState:
    """Return the view after an answer: with the next question, a command, or the cursor on the only sensor found."""
    view = replace(view, prompt=None)
    if prompt.purpose == "type":
        return submit_type(view, prompt)
    if prompt.purpose == "seconds":
        return submit_seconds(view, prompt)
    return replace(view, sensor=table.sensor(0)) if len(table) == 1 else view


def submit_type(view: ViewState, prompt: Prompt) -> ViewState:
    """Ask for the duration of an injection. An unambiguous beginning of a type's name is enough."""
    types = [name for name in ANOMALY_TYPES if prompt.text and name.startswith(prompt.text)]
    if len(types) != 1:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is one of {', '.join(ANOMALY_TYPES)}")
    question = f"{types[0]} into {prompt.sensor}, for how many seconds? "
    seconds = Prompt("seconds", question, DEFAULT_INJECTION_SECONDS, types[0], prompt.sensor, is_default=True)
    return replace(view, prompt=seconds)


def submit_seconds(view: ViewState, prompt: Prompt) -> ViewState:
    """Send the command of an injection."""
    try:
        seconds = float(prompt.text)
    except ValueError:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is a number of seconds")
    command = {"command": "inject", "type": prompt.anomaly_type, "seconds": seconds, "sensors": [prompt.sensor]}
    return replace(view, command=command)
