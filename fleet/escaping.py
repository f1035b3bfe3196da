"""Quotes: text of a user as it can stand in an error, which is one line on a terminal."""

from __future__ import annotations

MAX_QUOTED_CHARACTERS = 60


def escape_short(text: str) -> str:
    """The beginning of a text, escaped."""
    return escape(text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[: MAX_QUOTED_CHARACTERS - 3]}...")


def repr_short(value: object) -> str:
    """The beginning of a value as Python spells it."""
    return escape_short(ascii(value))


def escape(text: str) -> str:
    """A text with escapes for what a terminal would obey, hide or break the line at."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
