"""Children that are forked from this process: their exits, and forks that are refused."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.process.running_fleet import ENVIRONMENT
from tests.worker.samples import wait_for
from worker.supervision.child import (
    EXIT_BUG,
    EXIT_OUT_OF_MEMORY,
    EXIT_OUT_OF_PROCESSES,
    EXIT_UNKNOWN,
    Child,
    fork_child,
    run_logged,
)

# Tests that run in parallel have a thread that talks to the other test processes; the children here do not use it.
pytestmark = [
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def listen(lifeline: socket.socket) -> int:
    """Wait until the lifeline closes."""
    lifeline.recv(1)
    return 7


def bug(_: socket.socket) -> int:
    raise ValueError


def leave(_: socket.socket) -> int:
    raise SystemExit(0)


def run_out_of_memory(_: socket.socket) -> int:
    raise MemoryError


def code(child: Child) -> int:
    codes: list[int] = []

    def over() -> bool:
        codes.extend(found for found in [child.exit_code()] if found is not None)
        return bool(codes)

    wait_for(over, "its end")
    child.close_lifeline()
    return codes[0]


def test_a_child_ends_when_it_is_released() -> None:
    """Not before. Once it is reaped, its exit code is unknown."""
    child = fork_child("test", listen)
    assert child.exit_code() is None
    child.close_lifeline()

    assert 7 == code(child)
    assert EXIT_UNKNOWN == child.exit_code()


@pytest.mark.parametrize(
    ("body", "expected"), [(bug, EXIT_BUG), (leave, EXIT_BUG), (run_out_of_memory, EXIT_OUT_OF_MEMORY)]
)
def test_a_child_never_goes_on_as_its_parent(body: Callable[[socket.socket], int], expected: int) -> None:
    """It exits, whatever its body raises."""
    assert expected == code(fork_child("test", body))


def test_a_child_that_is_killed() -> None:
    child = fork_child("test", listen)
    child.signal(signal.SIGKILL)

    assert -signal.SIGKILL == code(child)


def test_a_suspended_child_is_noticed() -> None:
    """So is its resumption."""
    child = fork_child("test", listen)

    def stopped() -> bool:
        assert child.exit_code() is None
        return child.stopped

    child.signal(signal.SIGSTOP)
    wait_for(stopped, "it is stopped")
    child.signal(signal.SIGCONT)
    wait_for(lambda: not stopped(), "it goes on")
    child.close_lifeline()

    assert 7 == code(child)


def test_a_child_that_has_exited_gets_no_signal() -> None:
    """Once it is reaped, its process id may belong to another process."""
    child = fork_child("test", leave)
    wait_for(child.lifeline_closed, "its end")
    child.signal(signal.SIGKILL)

    assert child.kill_signal is None
    assert EXIT_BUG == code(child)


REFUSED = """
import os, resource
from worker.supervision.child import fork_child
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
if os.getuid() == 0:
    os.setuid(65534)
before = os.listdir("/dev/fd")
for _ in range(10):
    try:
        fork_child("test", lambda _: 0)
    except BlockingIOError:
        continue
    raise SystemExit("not refused")
raise SystemExit(before != os.listdir("/dev/fd"))
"""


def test_forks_that_are_refused_leave_no_descriptor_behind() -> None:
    """They are retried every second, perhaps for hours."""
    command = [sys.executable, "-W", "error", "-c", REFUSED]
    ended = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False)

    assert (0, "") == (ended.returncode, ended.stderr)


def no_thread(_: socket.socket) -> int:
    raise RuntimeError("can't start new thread")


def test_a_child_that_is_refused_a_thread_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    """A line in the log, and a reason."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert EXIT_OUT_OF_PROCESSES == run_logged("http", no_thread, theirs)
    assert "no process or thread can be started: can't start new thread" in caplog.text
    assert "Traceback" not in caplog.text
