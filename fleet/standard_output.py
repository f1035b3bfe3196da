"""Standard output as a place for readings: the lines for people then go to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout

STANDARD_OUTPUT = "-"


def is_standard_output(url: str) -> bool:
    """Return whether a target is standard output: `jsonl:-`, `csv:-`."""
    return url.partition(":")[2] == STANDARD_OUTPUT


def kept_for_readings(urls: Iterable[str]) -> AbstractContextManager[object]:
    """While the context is open, print what is for people to standard error if one of the targets is standard output."""
    return redirect_stdout(sys.stderr) if any(map(is_standard_output, urls)) else nullcontext()
