"""What holds for every test: no child process outlives it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

# A shell that starts this in the background has Ctrl-C ignored, and what is ignored stays so in all processes below.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The standard library's own helpers live as long as the interpreter that started them.
PERSISTENT_HELPERS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


PROCESS_TESTS = Path(__file__).parent / "process"

STARTS_PROCESSES = {"process", "thorough", "slow", "browser"}
"""Markers of tests whose children are counted: on a busy machine that takes 24 ms before and after each test."""


def children() -> set[psutil.Process]:
    return set(psutil.Process(os.getpid()).children(recursive=True))


def is_running(process: psutil.Process) -> bool:
    """Whether it still runs and is nobody's to keep; a zombie has ended, and its parent may yet reap it."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return not any(name in argument for argument in process.cmdline() for name in PERSISTENT_HELPERS)
    except psutil.NoSuchProcess:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that lies in tests/process starts processes, without saying so in each file."""
    for item in items:
        if PROCESS_TESTS in item.path.parents:
            item.add_marker(pytest.mark.process)


@pytest.fixture(autouse=True)
def _no_child_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Processes of wider fixtures are there before the test begins and may stay."""
    if not STARTS_PROCESSES & {mark.name for mark in request.node.iter_markers()}:
        yield
        return
    before = children()
    yield
    left = [process for process in children() - before if is_running(process)]
    _, left = psutil.wait_procs(left, timeout=2.0) if left else ([], [])
    names = [f"{process.pid} {process.name()}" for process in left if process.is_running()]
    for process in left:
        process.kill()
    assert not names, f"left running: {', '.join(names)}"
