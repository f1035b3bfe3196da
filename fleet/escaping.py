"""Escaping of users' text for error messages, which are one line on a terminal."""

from __future__ import annotations

import re

MAX_QUOTED_CHARACTERS = 60
MAX_SEARCHED_CHARACTERS = 1000
PASSWORD_IN_URL = re.compile(r"(?<=:)(/{0,2})(?!/)[^/?#@\s\[]*:[^\s]*@|^[^/?#@\s:]+:[^/\s@]+@")


def escape_short(text: str) -> str:
    """Return the beginning of a text, escaped, without the user and the password of a URL."""
    text = PASSWORD_IN_URL.sub(r"\1***@", text[:MAX_SEARCHED_CHARACTERS])
    return escape(text if len(text) <= MAX_QUOTED_CHARACTERS else f"{text[: MAX_QUOTED_CHARACTERS - 3]}...")


def repr_short(value: object) -> str:
    """Return the beginning of a value's ASCII representation."""
    return escape_short(ascii(value))


def escape(text: str) -> str:
    """Escape the characters that a terminal would obey or hide, and line breaks."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
