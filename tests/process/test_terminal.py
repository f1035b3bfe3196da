"""`fleet up` on a pseudo-terminal of 80 columns."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.evidence import assert_complete
from tests.process.running_fleet import DEFAULT_TIMEOUT_SECONDS, ENVIRONMENT, command, session, wait_for

CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal with a fleet, or another command, in its foreground. `seen` is all that was written to it so far."""

    def __init__(self, *arguments: object, name: str = "up") -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("COLUMNS", "NO_COLOR")}
        self.process = subprocess.Popen(
            command(name, *arguments),
            env=environment | {"TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - pytest has one thread
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._bytes = b""

    @property
    def seen(self) -> bytes:
        try:
            while received := os.read(self._ours, 65536):
                self._bytes += received
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EIO:  # which says that all who had it open have ended
                raise
        return self._bytes

    @property
    def lines(self) -> list[str]:
        """The scrollback: the last state of each line, without control sequences."""
        plain = CONTROL.sub(b"", self.seen).decode().replace("\r\n", "\n")
        return [line.rsplit("\r", 1)[-1] for line in plain.split("\n")]

    def shows(self, what: bytes) -> None:
        """Wait until the terminal shows `what`; AssertionError if the fleet ends before."""

        def shown() -> bool:
            ended = self.process.poll() is not None
            assert what in self.seen or not ended, self.seen
            return what in self.seen

        wait_for(shown, f"{what!r} on the terminal")

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def _over(self) -> bool:
        """True once the process has ended. It reads on, because a full terminal buffer would block the writer."""
        return bool(self.seen) and self.process.poll() is not None

    def wait(self) -> int:
        wait_for(self._over, "it ends")
        return self.process.wait()

    def hang_up(self) -> None:
        os.close(self._ours)
        self._ours = -1

    def end(self) -> None:
        for process in session(self.process.pid):
            process.kill()
        self.process.wait()
        if self._ours >= 0:
            self.hang_up()


@pytest.fixture
def terminal(lively: Path, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal("-c", lively, "--data", tmp_path / "data", "--port", 0)
    yield opened
    opened.end()


def test_a_calm_terminal(terminal: Terminal, tmp_path: Path) -> None:
    """A bar while workers start, then lines; Ctrl-C ends with the summary. No line is longer than the terminal is
    wide, the cursor is visible at the end, and nothing of the bar is left."""
    terminal.shows(b"readings/s  ")
    terminal.type(b"\x03")

    assert 0 == terminal.wait()
    text = "\n".join(terminal.lines)
    long = [line for line in terminal.lines if len(line) > 80 and str(tmp_path) not in line]  # a path stays whole
    token = (tmp_path / "data" / "run" / "token").read_text().strip()
    (link,) = [line for line in terminal.lines if "dashboard: " in line]
    assert re.fullmatch(rf"[0-9:]{{8}} dashboard: http://127\.0\.0\.1:[0-9]+/#token={re.escape(token)}", link)
    assert [link] == long
    assert all(token not in path.read_text() for path in (tmp_path / "data" / "run").glob("*.log"))
    assert "starting" in CONTROL.sub(b"", terminal.seen).decode()
    assert "━" not in text.split("all workers have committed")[1]
    assert "3/3 healthy" in text
    assert "run summary" in text
    assert "scheduled readings" in text
    hidden, shown = terminal.seen.rfind(b"\x1b[?25l"), terminal.seen.rfind(b"\x1b[?25h")
    assert shown > hidden
    assert_complete(tmp_path / "data", 3)


def test_a_terminal_that_is_closed(terminal: Terminal, tmp_path: Path) -> None:
    """The fleet drains, leaves no process behind, and its data is complete."""
    terminal.shows(b"all workers have committed")
    terminal.hang_up()

    assert 0 == terminal.process.wait(DEFAULT_TIMEOUT_SECONDS)
    wait_for(lambda: not session(terminal.process.pid), "no process is left", 2.0)
    assert "draining" in (tmp_path / "data" / "run" / "fleet.log").read_text()
    assert_complete(tmp_path / "data", 3)


def test_ctrl_c_while_the_bar_is_shown(terminal: Terminal) -> None:
    """The cursor is shown again."""
    terminal.shows(b"\x1b[?25l")
    terminal.type(b"\x03")

    assert terminal.wait() in (0, 130)
    assert terminal.seen.rfind(b"\x1b[?25h") > terminal.seen.rfind(b"\x1b[?25l")


def test_interrupted_while_python_still_imports(tmp_path: Path) -> None:
    """Ctrl-C during the imports ends the process by the signal, without a traceback."""
    (tmp_path / "click.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join((str(tmp_path), ENVIRONMENT["PYTHONPATH"]))}

    ended = subprocess.run(
        command("up"), env=environment, capture_output=True, text=True, timeout=DEFAULT_TIMEOUT_SECONDS, check=False
    )

    assert (-signal.SIGINT, "", "") == (ended.returncode, ended.stdout, ended.stderr)
