"""Quotes: text of a user as it can stand in an error, which is one line on a terminal."""

from __future__ import annotations

SHOWN = 60


def legible(text: str) -> str:
    """The beginning of a text, escaped."""
    return escaped(text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...")


def spelled(value: object) -> str:
    """The beginning of a value as Python spells it."""
    return legible(ascii(value))


def escaped(text: str) -> str:
    """A text with escapes for what a terminal would obey, hide or break the line at."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
