"""Durations as users write them: `30s`, `5m`, `1h30m`, `2d`, or plain seconds."""

from __future__ import annotations

import re
from fractions import Fraction

from fleet.errors import UserError

UNIT_SECONDS = {
    "d": Fraction(86_400),
    "h": Fraction(3_600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 1000),
}
DURATION_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ms|[dhms])")
MIN_DURATION_SECONDS = Fraction(1, 1000)
MAX_DURATION_SECONDS = 100 * 365 * 86_400


def parse_duration(text: str, origin: str) -> float:
    """Return the duration in seconds. UserError, naming `origin`, if it is invalid or out of range."""
    whole = text.strip().lower()
    if re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", whole):
        total = Fraction(whole)
    elif re.fullmatch(f"(?:{DURATION_PART.pattern})+", whole):
        total = sum(
            (Fraction(number) * UNIT_SECONDS[unit] for number, unit in DURATION_PART.findall(whole)), Fraction(0)
        )
    else:
        raise UserError(f"{origin}: {text[:60]!r} is not a duration such as 30s, 5m, 1h30m or 2d")
    if not MIN_DURATION_SECONDS <= total <= MAX_DURATION_SECONDS:
        raise UserError(f"{origin}: {text!r} is not between 1ms and 100 years")
    return float(total)


def format_duration(seconds: float) -> str:
    """Return a duration as `parse_duration` reads it, such as 1h30m: in whole units, the rest below a millisecond left out."""
    parts, rest = [], Fraction(seconds).limit_denominator(1_000_000)
    for unit, size in UNIT_SECONDS.items():
        if count := rest // size:
            parts.append(f"{count}{unit}")
            rest -= count * size
    return "".join(parts) or "0s"
