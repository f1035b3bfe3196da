"""`fleet top` on a pseudo-terminal of 80 columns and 24 lines, and without a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.commands.top.screen import cbreak_mode
from fleet.datadir.directory import DataDirectory
from tests.fleet.staged import StagedFleet, sensor_name
from tests.process.conftest import Up
from tests.process.running_fleet import FleetProcess, fleet, wait_for
from tests.process.test_terminal import CONTROL, Terminal

ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


class Top(Terminal):
    """A `fleet top`."""

    def __init__(self, data: Path, *arguments: object) -> None:
        super().__init__("--data", data, *arguments, name="top")
        self.before = termios.tcgetattr(self._ours)

    @property
    def screen(self) -> list[str]:
        """The lines of the last drawing; none before the first."""
        drawn = self.seen.rpartition(ENTER_SCREEN)[2].split(b"\x1b[H")
        whole = [part for part in drawn if b"q quit" in part]
        return CONTROL.sub(b"", whole[-1]).decode(errors="replace").replace("\r", "").split("\n") if whole else []

    def lines_with(self, text: str) -> list[str]:
        return [line for line in self.screen if text in line]

    def until(self, text: str) -> str:
        """Wait until a line contains `text`, and return the line."""
        return wait_for(lambda: (self.lines_with(text) or [""])[0], f"{text!r} in {self.screen}")

    def under_cursor(self) -> str:
        """Return the first word of the line that is shown in reverse and bold."""
        found = re.findall(rb"\x1b\[1;7m(\S+)", self.seen.rpartition(b"\x1b[H")[2])
        return found[-1].decode() if found else ""

    def points_at(self, sensor: str) -> None:
        wait_for(lambda: self.under_cursor() == sensor, f"the cursor is on {sensor}")

    def assert_restored(self) -> None:
        """Check that the modes are as before, the other screen is left, and the cursor is shown."""
        assert self.before == termios.tcgetattr(self._ours)
        assert self.seen.rfind(LEAVE_SCREEN) > self.seen.rfind(ENTER_SCREEN) >= 0
        assert self.seen.rfind(SHOW_CURSOR) > self.seen.rfind(HIDE_CURSOR)


@pytest.fixture
def tops() -> Iterator[list[Top]]:
    """A list whose terminals end with the test."""
    started: list[Top] = []
    yield started
    for top in started:
        top.end()


@pytest.fixture
def held(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StagedFleet]:
    """A data directory of 100 sensors, or of the parameter, whose lock is held as by a fleet."""
    staged = StagedFleet(tmp_path / "many", getattr(request, "param", 100))
    lock = DataDirectory(staged.data).run / "lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield staged


def test_a_fleet_is_looked_at_and_changed(up: Up, lively: Path, tops: list[Top]) -> None:
    """Sorted, filtered, paused, resumed and injected into, by keys; then the fleet ends, and it says so and leaves the
    terminal as it was."""
    running = up("-c", lively).ready()
    top = Top(running.data)
    tops.append(top)
    first, second, third = sorted(running.sensors)
    top.until("3/3 healthy")

    assert top.under_cursor() == first
    top.type(b"\x1b[B")
    top.points_at(second)
    top.type(b"p")
    top.until(f"{second}: paused")
    wait_for(lambda: "paused" in top.lines_with(second)[0], "the line says so")
    assert "paused" == running.state(second)
    top.type(b"/" + third.encode() + b"\r")
    wait_for(lambda: not top.lines_with(first), "the others are left out")
    top.type(b"isp\r")
    top.until(f"spike into {third}, for how many seconds? 30")
    top.type(b"600\r")
    top.until(f"{third}: spike for 600 s")
    top.until("spike ")
    top.type(b"\x1b")
    top.until(first)
    top.type(b"s")
    top.until("by state")
    top.type(b"/" + second.encode() + b"\rr")
    top.until(f"{second}: resumed")
    wait_for(lambda: running.state(second) == "healthy", "it goes on")
    assert injected(running, third)
    running.interrupt()

    assert 0 == top.wait()
    assert "the fleet has ended" in top.lines[-2]
    top.assert_restored()


def injected(running: FleetProcess, sensor: str) -> Any:
    (injection,) = running.get("/api/injections")[1]["injections"]
    return ("spike", [sensor]) == (injection["type"], injection["ids"])


@pytest.mark.timed
@pytest.mark.parametrize("held", [10_000], indirect=True)
def test_ten_thousand_sensors_on_80_by_24(held: StagedFleet, tops: list[Top]) -> None:
    """One page is shown, each line exactly as wide as the terminal; keys take effect within three seconds."""
    held.set(1234, "failed", "gave up", anomalies=[0, 0, 7, 0, 0])
    top = Top(held.data)
    tops.append(top)
    top.until("9,999/10,000 healthy")

    assert 24 == len(top.screen)
    assert {80} == {len(line) for line in top.screen}
    assert (sensor_name(0), sensor_name(18)) == (top.screen[3].split()[0], top.screen[21].split()[0])
    for key, last in ((b"\x1b[6~", 19), (b"\x1b[F", 9999), (b"\x1b[A", 9998), (b"\x1b[5~", 9979), (b"\x1b[1~", 0)):
        begun = time.monotonic()
        top.type(key)
        top.points_at(sensor_name(last))
        assert time.monotonic() - begun < 3
    top.type(b"sS")
    wait_for(
        lambda: top.screen[3].startswith(sensor_name(0)) and "by state backwards" in top.screen[1], "sorted by state"
    )
    top.type(b"/failed\r")
    wait_for(
        lambda: top.screen[3].split()[:2] == [sensor_name(1234), "failed"] and "1 of 1" in top.screen[1], "filtered"
    )
    top.type(b"q")

    assert 0 == top.wait()
    top.assert_restored()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGHUP, 129)]
)
def test_whatever_ends_it_the_terminal_is_restored(
    held: StagedFleet, tops: list[Top], number: signal.Signals, code: int
) -> None:
    """A signal restores the terminal, also during a prompt."""
    top = Top(held.data)
    tops.append(top)
    top.until("100/100 healthy")
    top.type(b"/half")
    top.until("filter: half")
    os.kill(top.process.pid, number)

    assert code == top.wait()
    top.assert_restored()


def test_a_terminal_that_is_closed(held: StagedFleet, tops: list[Top]) -> None:
    """It ends by SIGHUP."""
    top = Top(held.data)
    tops.append(top)
    top.until("100/100 healthy")
    top.hang_up()

    assert 129 == top.process.wait(30)


def test_ctrl_z_is_not_for_it(held: StagedFleet, tops: list[Top]) -> None:
    """Ctrl-Z is ignored, because it would leave the shell on the wrong screen."""
    top = Top(held.data)
    tops.append(top)
    top.until("100/100 healthy")
    top.type(b"\x1aq")

    assert 0 == top.wait()


def test_files_that_get_damaged_meanwhile(held: StagedFleet, tops: list[Top]) -> None:
    """The error is printed after the terminal was restored."""
    top = Top(held.data)
    tops.append(top)
    top.until("100/100 healthy")
    (held.run / "roster.json").write_text("{")

    top.wait()
    assert "roster.json:1:2: invalid JSON: " in "".join(top.lines)
    top.assert_restored()


def test_on_no_terminal(held: StagedFleet, tmp_path: Path) -> None:
    """The whole table is printed once, sorted and filtered; where no fleet runs, one line of error."""
    held.set(34, lag_us=5_000_000)
    printed = fleet("top", "--data", held.data, "--sort", "lag s").stdout.splitlines()

    assert 103 == len(printed)
    assert printed[3].startswith(f"{sensor_name(34)}       healthy")
    assert not [line for line in printed if "\x1b" in line or line != line.rstrip()]
    assert 4 == len(fleet("top", "--data", held.data, "--filter", "ber_000077").stdout.splitlines())
    wrong = fleet("top", "--data", held.data, "--sort", "nonsense")
    assert (1, "fleet: --sort: nonsense is not one of sensor, state") == (
        wrong.returncode,
        wrong.stderr[:56].removesuffix(", ano"),
    )
    refused = fleet("top", "--data", tmp_path)
    assert 1 == refused.returncode
    assert refused.stderr.startswith(f"fleet: {tmp_path}: no fleet is running here; ")


def test_an_error_leaves_the_mode_as_it_was() -> None:
    ours, theirs = pty.openpty()
    try:
        before = termios.tcgetattr(theirs)
        with pytest.raises(ZeroDivisionError), cbreak_mode(theirs):
            assert 1 // int(before == termios.tcgetattr(theirs))
        assert before == termios.tcgetattr(theirs)
    finally:
        os.close(ours)
        os.close(theirs)
