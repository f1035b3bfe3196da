"""How far fuzzing goes: how many examples, how long each may take, what an error must look like.

Every test tries the same examples each time, so a change is never blamed for an old fault. `FUZZ_EXAMPLES=5000` tries
that many new ones of each test instead, and what they find is kept in `.hypothesis` until it is mended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hypothesis import HealthCheck, settings

EXAMPLES_OVERRIDE = int(os.environ.get("FUZZ_EXAMPLES", "0"))
LONGEST_LINE = 1500
"""Characters of an error. The longest of the product's own lists of what is valid are half of that."""


class ProcessorTimeExceeded(AssertionError):
    """An example that took more processor time than it may."""


def examples(count: int) -> settings:
    """That many examples of a test, or FUZZ_EXAMPLES."""
    checks = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
    return settings(
        max_examples=EXAMPLES_OVERRIDE or count,
        derandomize=not EXAMPLES_OVERRIDE,
        deadline=None,  # of real time, of which a busy machine has little: `in_time` counts the processor's
        suppress_health_check=checks,
    )


@contextmanager
def processor_time_limit(seconds: float = 5.0) -> Iterator[None]:
    """Raise ProcessorTimeExceeded in what is inside if it takes more processor time. pytest's own limit ends what only waits."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise ProcessorTimeExceeded(f"not done after {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def assert_line(message: str, *places: str) -> None:
    """The message is one line that a terminal can show, not endless, and begins with one of the places."""
    assert message.isprintable(), repr(message)
    assert len(message) <= LONGEST_LINE, f"{len(message)} characters: {message[:200]}"
    assert message.startswith(places), f"{message!r} does not begin with one of {places}"
