"""The view of `fleet top`: the part of the table that is shown, and what each key does to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fleet.commands.top.table import SensorTable
from worker.readings.anomalies import ANOMALY_TYPES

KEY_HELP = "q quit  ? help  arrows  s S sort  / filter  k kind  p pause  r resume  i inject"
HELP_LINES = (
    "up, down, page up, page down   move the cursor, which stays on its sensor when the order changes",
    "home, end                      the first, the last sensor",
    "left, right                    show other columns; the first one stays",
    "s, S                           sort by the next column; reverse the order",
    "/                              show only sensors with a text in a column; escape shows all again",
    "k                              show only the next kind of sensor, with its channels; at last all",
    "p, r                           pause, resume the sensor under the cursor",
    "i                              inject an anomaly into it: asks for the type and the seconds",
    "?                              this help; any key closes it",
    "q, Ctrl-C                      quit; the fleet goes on",
)
MAX_PROMPT_CHARS = 40
DEFAULT_INJECTION_SECONDS = "30"


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
    changes, the id does not. `sort` is the name of a column, `kind` the only kind of sensor that is shown, empty for all, `top` the first line on the screen, `first_column` the first
    column beside the ids, `message` the result of the last command, and `command` a command to send to the fleet now.
    """

    sort: str = "sensor"
    backwards: bool = False
    filter_text: str = ""
    kind: str = ""
    sensor: str = ""
    cursor: int = 0
    top: int = 0
    first_column: int = 1
    prompt: Prompt | None = None
    message: str = ""
    help_shown: bool = False
    finished: bool = False
    command: dict[str, Any] = field(default_factory=dict)

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
    number = (table.column_number(view.sort) + 1) % len(table.columns)
    first = min(view.first_column, max(number, 1))
    return scroll_to_top(view, sort=table.column_names[number], backwards=False, first_column=first)


def show_next_kind(view: ViewState, table: SensorTable) -> ViewState:
    """Return the view of the kind of sensor after the present one; of all kinds after the last one."""
    if len(table.kinds) < 2:
        return replace(view, message="all sensors are of one kind")
    shown = ("", *table.kinds)
    following = shown.index(view.kind) + 1 if view.kind in shown else 0
    return scroll_to_top(view, kind=shown[following % len(shown)], first_column=1)


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
    "k": show_next_kind,
    "escape": lambda view, _: scroll_to_top(view, filter_text="", kind=""),
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
