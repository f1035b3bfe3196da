"""The screen of `fleet top`: it reads keys, and draws the table after each key and once a second.

The terminal is left in the state in which it was found, whatever ends the command.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import click
from rich.cells import set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from fleet.commands.top.table import SensorTable, build_table, columns_beyond, fleet_kinds, fleet_summary
from fleet.commands.top.view import HELP_LINES, KEY_HELP, ViewState, handle_key
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.escaping import escape, escape_short
from fleet.monitoring.health import DISPLAY_STATES, count_by_state, count_healthy, display_states, failing_targets
from fleet.monitoring.observation import FleetUnavailable, Observation, Observer
from fleet.runtime.control_client import send_command
from fleet.runtime.progress import ignoring_closed_output
from fleet.runtime.selectors import kind_names
from worker.supervision.signals import SignalSocket

REFRESH_SECONDS = 1.0
COMMAND_TIMEOUT_SECONDS = 5.0
ESCAPE_TIMEOUT_SECONDS = 0.05
"""After this time an escape character alone is the escape key, not the beginning of a longer sequence."""

FRAME_LINES = 5
"""Lines that show no sensor: two about the fleet, the heading, the message, the help."""

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

# One key: a control sequence, a character of UTF-8, or a single byte.
KEY_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|.",
    re.DOTALL,
)
PARTIAL_KEY = re.compile(rb"\x1b(?:\[[0-9;]*|O)?|[\xc2-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf4][\x80-\xbf]{0,2}")

KEY_NAMES = {
    **{b"\x1b" + start + letter: name for start in (b"[", b"O") for letter, name in (
        (b"A", "up"), (b"B", "down"), (b"C", "right"), (b"D", "left"), (b"H", "home"), (b"F", "end"),
    )},
    b"\x1b[5~": "pgup",
    b"\x1b[6~": "pgdn",
    b"\x1b[1~": "home",
    b"\x1b[7~": "home",
    b"\x1b[4~": "end",
    b"\x1b[8~": "end",
    b"\x1b": "escape",
    b"\r": "enter",
    b"\n": "enter",
    b"\x7f": "backspace",
    b"\x08": "backspace",
}  # fmt: skip


class Screen:
    """The table on a terminal, or printed once. FleetUnavailable if the fleet cannot be read at the beginning, UserError if
    it has no column to sort by as asked."""

    def __init__(self, directory: DataDirectory, view: ViewState) -> None:
        self._directory, self._view = directory, view
        self._observer = Observer(directory.run, tick=REFRESH_SECONDS / 2)
        self._observation = self._observer.observe()
        if view.kind:
            self._view = view = replace(view, kind=self._kind_named(view.kind))
        names = self._table().column_names
        if view.sort not in names:
            raise UserError(f"--sort: {escape_short(view.sort)} is not one of {', '.join(names)}")
        self._console = Console(highlight=False)
        self._received = b""
        self._exit_message = ""
        self._exit_code = 0

    def _kind_named(self, name: str) -> str:
        """Return the kind that a user has named. Raises UserError with the kinds of the fleet."""
        kinds = fleet_kinds(self._observation)
        found = next((kind for kind in kinds if name.casefold() in kind_names(kind)), None)
        if found is None:
            raise UserError(f"--kind: {escape_short(name)} is not one of {', '.join(map(escape, kinds)) or 'none'}")
        return found

    def run(self) -> int:
        """Draw until a key, a signal or the end of the fleet ends it. Returns the exit code."""
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
        refresh_at = 0.0
        while not self._view.finished:
            now = time.monotonic()
            if now >= refresh_at:
                refresh_at = now + REFRESH_SECONDS
                if not self._refresh():
                    return
            live.update(self._render(), refresh=True)
            timeout = ESCAPE_TIMEOUT_SECONDS if self._received else max(0.0, refresh_at - time.monotonic())
            ready = [key.fileobj for key, _ in selector.select(timeout)]
            if wakeup.socket in ready:
                self._handle_signals(wakeup.received())
            if any(source != wakeup.socket for source in ready):
                self._read(selector)
            elif self._received:
                self._handle_keys([key_name(self._received)])
                self._received = b""

    def _refresh(self) -> bool:
        """Read the fleet. False if it has ended or cannot be read any more."""
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
        names, self._received = parse_keys(self._received + received)
        self._handle_keys(names)

    def _handle_keys(self, names: list[str]) -> None:
        for name in names:
            if name and not self._view.finished:
                self._view = handle_key(self._view, name, self._table(), self._height)
                if self._view.command:
                    self._view = replace(self._view, message=self._send_command(), command={})

    def _send_command(self) -> str:
        """Send the pending command to the fleet, and return the message about its result."""
        command = self._view.command
        try:
            answer = send_command(self._directory.control, COMMAND_TIMEOUT_SECONDS, by="fleet top", **command)
        except UserError as error:
            return str(error)
        change = f"{command['type']} for {command['seconds']:g} s" if "type" in command else f"{command['command']}d"
        unchanged = "" if answer.get("changed", 1) else ", no change"
        return f"{command['sensors'][0]}: {change}{unchanged}"

    # Drawing

    @property
    def supports_drawing(self) -> bool:
        """True if the terminal can move its cursor."""
        return not self._console.is_dumb_terminal

    def print(self) -> None:
        """Print the whole table once, with all columns, as plain text."""
        table = self._table()
        width = table.width
        lines = [
            *header_lines(self._observation, table, self._view, width),
            table.heading(width, self._view.sort, backwards=self._view.backwards, first=self._view.first_column),
        ]
        lines += [table.line(number, width) for number in range(len(table))]
        with ignoring_closed_output():
            click.echo("\n".join(line.rstrip() for line in lines))

    @property
    def _height(self) -> int:
        return max(1, self._console.size.height - FRAME_LINES)

    def _table(self) -> SensorTable:
        view = self._view
        kind = view.kind
        if kind and kind not in fleet_kinds(self._observation):
            kind = ""  # its last sensor has left
        return build_table(self._observation, view.sort, view.filter_text, backwards=view.backwards, kind=kind)

    def _render(self) -> Text:
        width, height, table = self._console.size.width, self._height, self._table()
        view = self._view = self._view.following(table, height)
        lines = [Text(set_cell_size(line, width)) for line in header_lines(self._observation, table, view, width)]
        lines.append(
            Text(table.heading(width, view.sort, backwards=view.backwards, first=view.first_column), style="reverse")
        )
        if view.help_shown:
            lines += [Text(set_cell_size(line, width)) for line in HELP_LINES[:height]]
        else:
            lines += self._sensor_lines(table, view, width, height)
        lines += [Text(" " * width)] * (height + 3 - len(lines))
        message = f"{view.prompt.question}{escape(view.prompt.text)}▏" if view.prompt else view.message
        lines += [Text(set_cell_size(message, width), style="bold"), Text(set_cell_size(KEY_HELP, width), style="dim")]
        return Text("\n", no_wrap=True, overflow="crop", end="").join(lines[: self._console.size.height])

    def _sensor_lines(self, table: SensorTable, view: ViewState, width: int, height: int) -> list[Text]:
        lines = []
        for number in range(view.top, min(view.top + height, len(table))):
            is_under_cursor = table.sensor(number) == view.sensor
            style = "bold reverse" if is_under_cursor else STATE_STYLES.get(table.state(number), "yellow")
            lines.append(Text(table.line(number, width, view.first_column), style=style))
        return lines


@contextmanager
def terminal_input() -> Iterator[int | None]:
    """Yield the file descriptor of the terminal that keys are read from, None if stdin is not a terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    with cbreak_mode(sys.stdin.fileno()):
        yield sys.stdin.fileno()


def header_lines(observation: Observation, table: SensorTable, view: ViewState, width: int) -> tuple[str, str]:
    """Return the two lines above the table: about the fleet, and about the part of the table that is shown on lines of that
    width."""
    states = display_states(observation)
    counts = ", ".join(f"{count:,} {state}" for state, count in count_by_state(states).items())
    cursor = f"{view.cursor + 1:,} of {len(table):,}" if len(table) else "none"
    order = f"by {table.column_names[table.column_number(view.sort)]}{' backwards' if view.backwards else ''}"
    filtered = f", filter {escape(view.filter_text)}" if view.filter_text else ""
    kind = f", only {escape(view.kind)}" if view.kind else ""
    beyond = columns_beyond(table.columns, width, view.first_column)
    more = f"  {beyond} more columns →" if beyond else ""
    degraded = len(failing_targets(observation.delivery, observation.now.timestamp(), observation.catch_up_rate))
    targets = (
        f"  {degraded} of {len(observation.delivery.targets)} targets fail" if degraded and observation.delivery else ""
    )
    return fleet_summary(
        observation, count_healthy(states)
    ), f"{cursor}, {order}{kind}{filtered}{more}{targets}  {counts}"


def parse_keys(received: bytes) -> tuple[list[str], bytes]:
    """Split terminal input into keys. Returns their names, printable characters as they are, and an incomplete rest."""
    names: list[str] = []
    position = 0
    while position < len(received):
        if PARTIAL_KEY.fullmatch(received, position):
            break
        match = KEY_SEQUENCE.match(received, position)
        assert match is not None  # it matches any byte
        position = match.end()
        names.append(key_name(match[0]))
    return [name for name in names if name], received[position:]


def key_name(key: bytes) -> str:
    """Return the name of a key; an empty text for keys that are not used."""
    text = KEY_NAMES.get(key) or key.decode(errors="replace")
    return text if text in KEY_NAMES.values() or (text.isprintable() and len(text) == 1) else ""


@contextmanager
def cbreak_mode(terminal: int) -> Iterator[None]:
    """Deliver each key at once and without echo while the context is open. Ctrl-C is still a signal; Ctrl-Z is a key,
    because a stopped program would leave the terminal in this mode."""
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    mode = termios.tcgetattr(terminal)
    mode[6][termios.VSUSP] = os.fpathconf(terminal, "PC_VDISABLE").to_bytes(1, "little")
    termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(terminal, termios.TCSANOW, before)


assert set(STATE_STYLES) <= set(DISPLAY_STATES)
