"""What `fleet top` shows of the table, and what a key changes about that: pure, for a screen to carry out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fleet.commands.top_sheet import NAMES, Sheet
from worker.anomalies import NAMES as TYPES

HELP = "q quit  arrows page home end  s S sort  / filter  p pause  r resume  i inject"
LONGEST_TEXT = 40
SECONDS = "30"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question on the last line. `about` is what it is for: filter, type or seconds; `kind` the type that was told,
    `sensor` whom it is for: the lines may be sorted anew while somebody types."""

    about: str
    question: str
    text: str = ""
    kind: str = ""
    sensor: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """`cursor` is the sensor that commands are for, `top` the first line shown, `sort` a column's number, `message` what
    became of the last command, `command` what the fleet is to be told now."""

    sort: int = 0
    backwards: bool = False
    wanted: str = ""
    cursor: int = 0
    top: int = 0
    prompt: Prompt | None = None
    message: str = ""
    over: bool = False
    command: dict[str, Any] = field(default_factory=dict)

    def fitting(self, count: int, height: int) -> View:
        """With the cursor on a line that there is, and that line among those shown."""
        cursor = max(0, min(self.cursor, count - 1))
        top = max(0, min(self.top, cursor, count - height))
        return replace(self, cursor=cursor, top=max(top, cursor - height + 1))


def pressed(view: View, key: str, sheet: Sheet, height: int) -> View:
    """The view after a key, by its name or letter; `height` is how many lines there are for sensors."""
    view = replace(view, command={})
    if view.prompt is not None:
        return answered(view, view.prompt, key)
    steps = {"up": -1, "down": 1, "pgup": -height, "pgdn": height, "home": -len(sheet), "end": len(sheet)}
    if key in steps:
        return replace(view, cursor=view.cursor + steps[key]).fitting(len(sheet), height)
    view = replace(view, message="")
    if key in FOR_A_SENSOR:
        if not len(sheet):
            return replace(view, message="there is no sensor to do that to")
        return FOR_A_SENSOR[key](view, sheet.sensor(view.cursor))
    return KEYS[key](view) if key in KEYS else view


def at_the_top(view: View, **changes: Any) -> View:
    return replace(view, cursor=0, top=0, **changes)


def switched(command: str) -> Callable[[View, str], View]:
    return lambda view, sensor: replace(view, command={"command": command, "sensors": [sensor]})


KEYS: dict[str, Callable[[View], View]] = {
    "q": lambda view: replace(view, over=True),
    "s": lambda view: at_the_top(view, sort=(view.sort + 1) % len(NAMES), backwards=False),
    "S": lambda view: at_the_top(view, backwards=not view.backwards),
    "/": lambda view: replace(view, prompt=Prompt("filter", "filter: ", view.wanted)),
    "escape": lambda view: at_the_top(view, wanted=""),
}

FOR_A_SENSOR: dict[str, Callable[[View, str], View]] = {
    "p": switched("pause"),
    "r": switched("resume"),
    "i": lambda view, sensor: replace(
        view, prompt=Prompt("type", f"inject into {sensor}: {', '.join(TYPES)}? ", sensor=sensor)
    ),
}


def answered(view: View, prompt: Prompt, key: str) -> View:
    """What a key does while a question is asked; a filter holds while it is typed."""
    if key == "escape":
        return replace(view, prompt=None, wanted="" if prompt.about == "filter" else view.wanted)
    if key == "enter":
        return settled(view, prompt)
    if key == "backspace":
        text = prompt.text[:-1]
    elif len(key) == 1 and len(prompt.text) < LONGEST_TEXT:
        text = prompt.text + key
    else:
        return view
    view = replace(view, prompt=replace(prompt, text=text))
    return replace(view, wanted=text, cursor=0, top=0) if prompt.about == "filter" else view


def settled(view: View, prompt: Prompt) -> View:
    """What an answer leads to: the next question, or a command."""
    view = replace(view, prompt=None)
    if prompt.about == "type":
        return typed(view, prompt)
    if prompt.about == "seconds":
        return timed(view, prompt)
    return view


def typed(view: View, prompt: Prompt) -> View:
    """The beginning of a type's name is enough."""
    kinds = [kind for kind in TYPES if prompt.text and kind.startswith(prompt.text)]
    if len(kinds) != 1:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is one of {', '.join(TYPES)}")
    question = f"{kinds[0]} into {prompt.sensor}, for how many seconds? "
    return replace(view, prompt=Prompt("seconds", question, SECONDS, kinds[0], prompt.sensor))


def timed(view: View, prompt: Prompt) -> View:
    try:
        seconds = float(prompt.text)
    except ValueError:
        return replace(view, message=f"{prompt.text or 'nothing'}: allowed is a number of seconds")
    told = {"command": "inject", "type": prompt.kind, "seconds": seconds, "sensors": [prompt.sensor]}
    return replace(view, command=told)
