"""The options behind the `?` in the URL of a target."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from fleet.errors import UserError
from fleet.escaping import escape_short

MAX_WHOLE = 1_000_000


def split_options(url: str, origin: str, allowed: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Split a URL into the part before the `?` and the options. UserError, naming `origin`, for an unknown option."""
    place, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in allowed:
            raise UserError(
                f"{origin}: {escape_short(url)!r} has the option {name!a}: allowed "
                f"{'is' if len(allowed) == 1 else 'are'} {', '.join(allowed)}"
            )
    return place, options


def choice(options: Mapping[str, str], name: str, allowed: tuple[str, ...], origin: str) -> str:
    """Return an option that is one of some words, the first one if it is not given."""
    value = options.get(name, allowed[0])
    if value not in allowed:
        raise UserError(f"{origin}: {name} is {escape_short(value)!a}: allowed is {' or '.join(allowed)}")
    return value


def whole_number(value: str, origin: str) -> int:
    """Return a positive number. UserError, naming `origin`, if it is none."""
    if not (value.isascii() and value.isdecimal() and 1 <= int(value) <= MAX_WHOLE):
        raise UserError(f"{origin}: {escape_short(value)!a} is no whole number from 1 to {MAX_WHOLE}")
    return int(value)


def option_or_variable(
    options: Mapping[str, str], name: str, environment: Mapping[str, str], variable: str, default: str, origin: str
) -> tuple[str, str]:
    """Return the value of an option, or else of a variable of the environment, or the default; and its place for messages."""
    if name in options:
        return options[name], f"{origin}: {name}"
    return environment.get(variable) or default, variable
