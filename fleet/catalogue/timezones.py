"""The time zones there are: those of the pinned tzdata package, the same on every machine."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def timezones() -> frozenset[str]:
    """Names such as `America/Denver`."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
