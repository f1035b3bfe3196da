"""Durations as people write them: `30s`, `5m`, `1h30m`, `2d`, or plain seconds."""

from __future__ import annotations

import re
from fractions import Fraction

from fleet.errors import UserError

UNITS = {"d": Fraction(86_400), "h": Fraction(3_600), "m": Fraction(60), "s": Fraction(1), "ms": Fraction(1, 1000)}
PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ms|[dhms])")
SHORTEST = Fraction(1, 1000)
LONGEST = 100 * 365 * 86_400


def seconds(text: str, origin: str) -> float:
    """The duration in seconds. UserError, naming `origin`, for anything that is not one or not over 0."""
    whole = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", whole):
        total = Fraction(whole)
    elif re.fullmatch(f"(?:{PART.pattern})+", whole):
        total = sum((Fraction(number) * UNITS[unit] for number, unit in PART.findall(whole)), Fraction(0))
    else:
        raise UserError(f"{origin}: {text[:60]!r} is not a duration such as 30s, 5m, 1h30m or 2d")
    if not SHORTEST <= total <= LONGEST:
        raise UserError(f"{origin}: {text!r} is not between 1ms and 100 years")
    return float(total)
