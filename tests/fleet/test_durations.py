"""Durations as people write them."""

from __future__ import annotations

import pytest

from fleet.durations import parse_duration
from fleet.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("250ms", 0.25),
        ("1.5m", 90),
        ("7", 7),
        (" 2H ", 7200),
    ],
)
def test_durations_are_read(text: str, expected: float) -> None:
    """Units add up; a plain number is seconds; case and spaces around do not matter."""
    assert expected == parse_duration(text, "--for")


@pytest.mark.parametrize(
    "text", ["", "s", "5 m", "-5s", "1e3", "nan", "inf", "5x", "0", "0s", "0.1ms", "101y", "40000d", "٣s", "9" * 400]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """In one line that names where it was given and stays readable."""
    with pytest.raises(UserError, match=r"^--for: ") as refused:
        parse_duration(text, "--for")

    assert len(str(refused.value)) < 150
