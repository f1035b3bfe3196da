"""What `fleet top` shows of the table, and what a key changes about that: pure, for a screen to carry out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fleet.commands.top.sheet import COLUMN_NAMES, Sheet
from worker.readings.anomalies import ANOMALY_TYPES

HELP = "q quit  arrows page home end  s S sort  / filter  p pause  r resume  i inject"
MAX_PROMPT_CHARS = 40
DEFAULT_INJECTION_SECONDS = "30"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question on the last line. `purpose` is what it is for: filter, type or seconds; `kind` the type that was told,
    `sensor` whom it is for: the lines may be sorted anew while somebody types."""

    purpose: str
    question: str
    text: str = ""
    kind: str = ""
    sensor: str = ""


@dataclass(frozen=True, slots=True)
class ViewState:
    """`cursor` is the sensor that commands are for, `top` the first line shown, `sort` a column's number, `message` what
    became of the last command, `command` what the fleet is to be told now."""

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
        """With the cursor on a line that there is, and that line among those shown."""
        cursor = max(0, min(self.cursor, count - 1))
        top = max(0, min(self.top, cursor, count - height))
        return replace(self, cursor=cursor, top=max(top, cursor - height + 1))


def handle_key(view: ViewState, key: str, sheet: Sheet, height: int) -> ViewState:
    """The view after a key, by its name or letter; `height` is how many lines there are for sensors."""
    view = replace(view, command={})
    if view.prompt is not None:
        return handle_prompt_key(view, view.prompt, key)
    steps = {"up": -1, "down": 1, "pgup": -height, "pgdn": height, "home": -len(sheet), "end": len(sheet)}
    if key in steps:
        return replace(view, cursor=view.cursor + steps[key]).clamped(len(sheet), height)
    view = replace(view, message="")
    if key in SENSOR_KEY_HANDLERS:
        if not len(sheet):
            return replace(view, message="there is no sensor to do that to")
        return SENSOR_KEY_HANDLERS[key](view, sheet.sensor(view.cursor))
    return KEY_HANDLERS[key](view) if key in KEY_HANDLERS else view


def scroll_to_top(view: ViewState, **changes: Any) -> ViewState:
    return replace(view, cursor=0, top=0, **changes)


def command_handler(command: str) -> Callable[[ViewState, str], ViewState]:
    return lambda view, sensor: replace(view, command={"command": command, "sensors": [sensor]})


KEY_HANDLERS: dict[str, Callable[[ViewState], ViewState]] = {
    "q": lambda view: replace(view, finished=True),
    "s": lambda view: scroll_to_top(view, sort=(view.sort + 1) % len(COLUMN_NAMES), backwards=False),
    "S": lambda view: scroll_to_top(view, backwards=not view.backwards),
    "/": lambda view: replace(view, prompt=Prompt("filter", "filter: ", view.filter_text)),
    "escape": lambda view: scroll_to_top(view, filter_text=""),
}

SENSOR_KEY_HANDLERS: dict[str, Callable[[ViewState, str], ViewState]] = {
    "p": command_handler("pause"),
    "r": command_handler("resume"),
    "i": lambda view, sensor: replace(
        view, prompt=Prompt("type", f"inject into {sensor}: {', '.join(ANOMALY_TYPES)}? ", sensor=sensor)
    ),
}


def handle_prompt_key(view: ViewState, prompt: Prompt, key: str) -> ViewState:
    """What a key does while a question is asked; a filter holds while it is typed."""
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
    return replace(view, filter_text=text, cursor=0, top=0) if prompt.purpose == "filter" else view


def submit_prompt(view: ViewState, prompt: Prompt) -> ViewState:
    """What an answer leads to: the next question, or a command."""
    view = replace(view, prompt=None)
    if prompt.purpose == "type":
        return submit_type(view, prompt)
    if prompt.purpose == "seconds":
        return submit_seconds(view, prompt)
    return view


def submit_type(view: ViewState, prompt: Prompt) -> ViewState:
    """The beginning of a type's name is enough."""
    kinds = [kind for kind in ANOMALY_TYPES if prompt.text and kind.startswith(prompt.text)]
    if len(kinds) != 1:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is one of {', '.join(ANOMALY_TYPES)}")
    question = f"{kinds[0]} into {prompt.sensor}, for how many seconds? "
    return replace(view, prompt=Prompt("seconds", question, DEFAULT_INJECTION_SECONDS, kinds[0], prompt.sensor))


def submit_seconds(view: ViewState, prompt: Prompt) -> ViewState:
    try:
        seconds = float(prompt.text)
    except ValueError:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is a number of seconds")
    told = {"command": "inject", "type": prompt.kind, "seconds": seconds, "sensors": [prompt.sensor]}
    return replace(view, command=told)
