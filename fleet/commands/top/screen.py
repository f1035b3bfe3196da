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

from fleet.commands.top.keys import cbreak_mode, key_name, parse_keys
from fleet.commands.top.sheet import COLUMN_NAMES, Sheet, build_sheet, fleet_summary, heading
from fleet.commands.top.view import HELP, ViewState, handle_key
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.escaping import escape
from fleet.monitoring.health import DISPLAY_STATES, count_by_state, display_states, unhealthy_positions
from fleet.monitoring.observation import FleetUnavailable, Observation, Observer
from fleet.runtime.control_client import send_command
from fleet.runtime.progress import ignoring_closed_output
from worker.supervision.signals import SignalSocket

REFRESH_SECONDS = 1.0
COMMAND_TIMEOUT_SECONDS = 5.0
ESCAPE_TIMEOUT_SECONDS = 0.05
"""Seconds after which the rest of a key is not on its way any more: then it was the escape key."""

FRAME_LINES = 5
"""Lines that are not for sensors: two of the fleet, the heading, the message, the help."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
STATE_STYLES = {
    "healthy": "",
    "done": "dim",
    "stopped": "dim",
    "paused": "dim",
    "failed": "red",
    "hung": "red",
    "unready": "red",
}
ENDED_MESSAGE = "the fleet has ended"


class Screen:
    """The terminal as long as it is shown. `run` returns the exit code."""

    def __init__(self, directory: DataDirectory, view: ViewState) -> None:
        self._directory, self._view = directory, view
        self._observer = Observer(directory.run, tick=REFRESH_SECONDS / 2)
        self._console = Console(highlight=False)
        self._received = b""
        self._exit_message = ""
        self._exit_code = 0

    def run(self) -> int:
        self._observation = self._observer.observe()
        with ignoring_closed_output(), SignalSocket(*SIGNALS) as wakeup, terminal_input() as terminal:
            live = Live(
                console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            with live, selectors.DefaultSelector() as selector:
                selector.register(wakeup.socket, selectors.EVENT_READ)
                if terminal is not None:
                    selector.register(terminal, selectors.EVENT_READ)
                self._loop(live, selector, wakeup)
        if self._exit_message:
            click.echo(self._exit_message)
        return self._exit_code

    def _loop(self, live: Live, selector: selectors.BaseSelector, wakeup: SignalSocket) -> None:
        look_at = 0.0
        while not self._view.finished:
            now = time.monotonic()
            if now >= look_at:
                look_at = now + REFRESH_SECONDS
                if not self._refresh():
                    return
            live.update(self._render(), refresh=True)
            waiting = ESCAPE_TIMEOUT_SECONDS if self._received else max(0.0, look_at - time.monotonic())
            ready = [key.fileobj for key, _ in selector.select(waiting)]
            if wakeup.socket in ready:
                self._handle_signals(wakeup.received())
            if any(source != wakeup.socket for source in ready):
                self._read(selector)
            elif self._received:
                self._handle_keys([key_name(self._received)])
                self._received = b""

    def _refresh(self) -> bool:
        """Whether there is still a fleet to look at."""
        try:
            if self._directory.holder() is None:
                raise FleetUnavailable(ENDED_MESSAGE)
            self._observation = self._observer.observe()
        except FleetUnavailable as error:
            self._exit_message = f"{self._directory.path}: {error}"
            return False
        return True

    def _handle_signals(self, numbers: list[int]) -> None:
        for number in numbers:
            if number != signal.SIGWINCH:
                self._view = replace(self._view, finished=True)
                self._exit_code = 0 if number == signal.SIGINT else 128 + number

    def _read(self, selector: selectors.BaseSelector) -> None:
        try:
            received = os.read(sys.stdin.fileno(), 4096)
        except OSError:  # the terminal is gone
            received = b""
        if not received:
            selector.unregister(sys.stdin.fileno())
            self._handle_signals([signal.SIGHUP])
            return
        found, self._received = parse_keys(self._received + received)
        self._handle_keys(found)

    def _handle_keys(self, names: list[str]) -> None:
        for name in names:
            if name and not self._view.finished:
                self._view = handle_key(self._view, name, self._sheet(), self._height)
                if self._view.command:
                    self._view = replace(self._view, message=self._send_command(), command={})

    def _send_command(self) -> str:
        """What became of a command."""
        command = self._view.command
        try:
            answer = send_command(self._directory.control, COMMAND_TIMEOUT_SECONDS, by="fleet top", **command)
        except UserError as error:
            return str(error)
        what = f"{command['type']} for {command['seconds']:g} s" if "type" in command else f"{command['command']}d"
        again = "" if answer.get("changed", 1) else ", as it was already"
        return f"{command['sensors'][0]}: {what}{again}"

    # What is drawn

    @property
    def supports_drawing(self) -> bool:
        """Whether the terminal can be drawn on at all."""
        return not self._console.is_dumb_terminal

    def print(self, width: int) -> None:
        """All lines once, plainly."""
        self._observation = self._observer.observe()
        rows = self._sheet()
        lines = [*header_lines(self._observation, rows, self._view), heading(width)]
        lines += [rows.line(number, width) for number in range(len(rows))]
        with ignoring_closed_output():
            click.echo("\n".join(line.rstrip() for line in lines))

    @property
    def _height(self) -> int:
        return max(1, self._console.size.height - FRAME_LINES)

    def _sheet(self) -> Sheet:
        view = self._view
        return build_sheet(self._observation, view.sort, view.filter_text, backwards=view.backwards)

    def _render(self) -> Text:
        width, height, rows = self._console.size.width, self._height, self._sheet()
        view = self._view = self._view.clamped(len(rows), height)
        lines = [Text(set_cell_size(line, width)) for line in header_lines(self._observation, rows, view)]
        lines.append(Text(heading(width), style="reverse"))
        for number in range(view.top, min(view.top + height, len(rows))):
            style = "bold reverse" if number == view.cursor else STATE_STYLES.get(rows.state(number), "yellow")
            lines.append(Text(rows.line(number, width), style=style))
        lines += [Text(" " * width)] * (height + 3 - len(lines))
        told = f"{view.prompt.question}{escape(view.prompt.text)}▏" if view.prompt else view.message
        lines += [Text(set_cell_size(told, width), style="bold"), Text(set_cell_size(HELP, width), style="dim")]
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines[: self._console.size.height])


@contextmanager
def terminal_input() -> Iterator[int | None]:
    """The terminal that keys come from; None where there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    with cbreak_mode(sys.stdin.fileno()):
        yield sys.stdin.fileno()


def header_lines(seen: Observation, rows: Sheet, view: ViewState) -> tuple[str, str]:
    shown = display_states(seen)
    well = len(seen.members) - len(unhealthy_positions(seen, shown))
    counts = ", ".join(f"{count:,} {state}" for state, count in count_by_state(shown).items())
    place = f"{view.cursor + 1:,} of {len(rows):,}" if len(rows) else "none"
    turned = " backwards" if view.backwards else ""
    filtered = f", filter {escape(view.filter_text)}" if view.filter_text else ""
    return fleet_summary(seen, well), f"{place}, by {COLUMN_NAMES[view.sort]}{turned}{filtered}  {counts}"


assert set(STATE_STYLES) <= set(DISPLAY_STATES)
