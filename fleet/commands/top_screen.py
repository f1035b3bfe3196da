"""`fleet top` on a terminal: drawn once a second and after each key, until a key, a signal or the fleet ends it."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import click
from rich.cells import set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fleet.commands.keys import keys, name_of, unbuffered
from fleet.commands.top_sheet import NAMES, Sheet, heading, sheet, summary
from fleet.commands.top_view import HELP, View, pressed
from fleet.control.call import call
from fleet.errors import UserError
from fleet.quotes import escaped
from fleet.running.progress import to_whom_it_may_concern
from fleet.storage.data_directory import DataDirectory
from fleet.web.health import SHOWN, shown_states, unwell
from fleet.web.observation import NoFleet, Observation, Observer
from fleet.web.reports import by_state
from worker.wakeup import Wakeup

PERIOD = 1.0
PATIENCE = 5.0
CUT_OFF = 0.05
"""Seconds after which the rest of a key is not on its way any more: then it was the escape key."""

FRAME = 5
"""Lines that are not for sensors: two of the fleet, the heading, the message, the help."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
STYLES = {
    "healthy": "",
    "done": "dim",
    "stopped": "dim",
    "paused": "dim",
    "failed": "red",
    "hung": "red",
    "unready": "red",
}
ENDED = "the fleet has ended"


class Screen:
    """The terminal as long as it is shown. `run` returns the exit code."""

    def __init__(self, directory: DataDirectory, view: View) -> None:
        self._directory, self._view = directory, view
        self._observer = Observer(directory.run, tick=PERIOD / 2)
        self._console = Console(highlight=False)
        self._received = b""
        self._farewell = ""
        self._code = 0

    def run(self) -> int:
        self._seen = self._observer.observe()
        with to_whom_it_may_concern(), Wakeup(*SIGNALS) as wakeup, typed() as terminal:
            live = Live(
                console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            with live, selectors.DefaultSelector() as selector:
                selector.register(wakeup.socket, selectors.EVENT_READ)
                if terminal is not None:
                    selector.register(terminal, selectors.EVENT_READ)
                self._loop(live, selector, wakeup)
        if self._farewell:
            click.echo(self._farewell)
        return self._code

    def _loop(self, live: Live, selector: selectors.BaseSelector, wakeup: Wakeup) -> None:
        look_at = 0.0
        while not self._view.over:
            now = time.monotonic()
            if now >= look_at:
                look_at = now + PERIOD
                if not self._look():
                    return
            live.update(self._drawn(), refresh=True)
            waiting = CUT_OFF if self._received else max(0.0, look_at - time.monotonic())
            ready = [key.fileobj for key, _ in selector.select(waiting)]
            if wakeup.socket in ready:
                self._signalled(wakeup.numbers())
            if any(source != wakeup.socket for source in ready):
                self._read(selector)
            elif self._received:
                self._press([name_of(self._received)])
                self._received = b""

    def _look(self) -> bool:
        """Whether there is still a fleet to look at."""
        try:
            if self._directory.holder() is None:
                raise NoFleet(ENDED)
            self._seen = self._observer.observe()
        except NoFleet as error:
            self._farewell = f"{self._directory.path}: {error}"
            return False
        return True

    def _signalled(self, numbers: list[int]) -> None:
        for number in numbers:
            if number != signal.SIGWINCH:
                self._view = replace(self._view, over=True)
                self._code = 0 if number == signal.SIGINT else 128 + number

    def _read(self, selector: selectors.BaseSelector) -> None:
        try:
            received = os.read(sys.stdin.fileno(), 4096)
        except OSError:  # the terminal is gone
            received = b""
        if not received:
            selector.unregister(sys.stdin.fileno())
            self._signalled([signal.SIGHUP])
            return
        found, self._received = keys(self._received + received)
        self._press(found)

    def _press(self, names: list[str]) -> None:
        for name in names:
            if name and not self._view.over:
                self._view = pressed(self._view, name, self._sheet(), self._height)
                if self._view.command:
                    self._view = replace(self._view, message=self._told(), command={})

    def _told(self) -> str:
        """What became of a command."""
        command = self._view.command
        try:
            answer = call(self._directory.control, PATIENCE, by="fleet top", **command)
        except UserError as error:
            return str(error)
        what = f"{command['type']} for {command['seconds']:g} s" if "type" in command else f"{command['command']}d"
        again = "" if answer.get("changed", 1) else ", as it was already"
        return f"{command['sensors'][0]}: {what}{again}"

    # What is drawn

    @property
    def capable(self) -> bool:
        """Whether the terminal can be drawn on at all."""
        return not self._console.is_dumb_terminal

    def print(self, width: int) -> None:
        """All lines once, plainly."""
        self._seen = self._observer.observe()
        rows = self._sheet()
        lines = [*head(self._seen, rows, self._view), heading(width)]
        lines += [rows.line(number, width) for number in range(len(rows))]
        with to_whom_it_may_concern():
            click.echo("\n".join(line.rstrip() for line in lines))

    @property
    def _height(self) -> int:
        return max(1, self._console.size.height - FRAME)

    def _sheet(self) -> Sheet:
        view = self._view
        return sheet(self._seen, view.sort, view.wanted, backwards=view.backwards)

    def _drawn(self) -> Text:
        width, height, rows = self._console.size.width, self._height, self._sheet()
        view = self._view = self._view.fitting(len(rows), height)
        lines = [Text(set_cell_size(line, width)) for line in head(self._seen, rows, view)]
        lines.append(Text(heading(width), style="reverse"))
        for number in range(view.top, min(view.top + height, len(rows))):
            style = "bold reverse" if number == view.cursor else STYLES.get(rows.state(number), "yellow")
            lines.append(Text(rows.line(number, width), style=style))
        lines += [Text(" " * width)] * (height + 3 - len(lines))
        told = f"{view.prompt.question}{escaped(view.prompt.text)}▏" if view.prompt else view.message
        lines += [Text(set_cell_size(told, width), style="bold"), Text(set_cell_size(HELP, width), style="dim")]
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines[: self._console.size.height])


@contextmanager
def typed() -> Iterator[int | None]:
    """The terminal that keys come from; None where there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    with unbuffered(sys.stdin.fileno()):
        yield sys.stdin.fileno()


def head(seen: Observation, rows: Sheet, view: View) -> tuple[str, str]:
    shown = shown_states(seen)
    well = len(seen.members) - len(unwell(seen, shown))
    counts = ", ".join(f"{count:,} {state}" for state, count in by_state(shown).items())
    place = f"{view.cursor + 1:,} of {len(rows):,}" if len(rows) else "none"
    turned = " backwards" if view.backwards else ""
    filtered = f", filter {escaped(view.wanted)}" if view.wanted else ""
    return summary(seen, well), f"{place}, by {NAMES[view.sort]}{turned}{filtered}  {counts}"


assert set(STYLES) <= set(SHOWN)
