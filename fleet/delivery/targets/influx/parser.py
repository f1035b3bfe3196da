"""Parsing line protocol, as `fleet.delivery.targets.influx.lines` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fleet.delivery.batch import Value

NAME = r"(?:\\[,= ]|[^,= ])+"
"""The name of a tag or field, or the value of a tag. Before any other character a backslash is one."""

TEXT = r'"(?:\\.|[^"\\])*"'
FIELD = rf"{NAME}=(?:{TEXT}|[^, \n]+)"
POINT = re.compile(
    rf"(?P<measurement>(?:\\[, ]|[^, ])+)(?P<tags>(?:,{NAME}={NAME})*) (?P<fields>{FIELD}(?:,{FIELD})*) (?P<time>-?\d+)\n",
    re.DOTALL,
)
TAG = re.compile(rf",({NAME})=({NAME})")
NAME_AND_VALUE = re.compile(rf"({NAME})=({TEXT}|[^, ]+)", re.DOTALL)

NAME_ESCAPE = re.compile(r"\\([,= ])")
TEXT_ESCAPE = re.compile(r'\\(["\\])')


class Point(NamedTuple):
    """A point. `values` has its tags and its fields."""

    measurement: str
    values: dict[str, Value]
    time: int


def parse_points(lines: Iterable[str]) -> Iterator[Point]:
    """Parse lines, each with its line break; a text in a field may have line breaks too. ValueError with the number of the line."""
    pending, begun = "", 0
    known_tags: dict[str, dict[str, Value]] = {}
    for number, line in enumerate(lines, 1):
        begun = begun if pending else number
        pending += line
        found = POINT.fullmatch(pending)
        if found is None:
            # A text that goes on in the next line: its quotation mark is still open.
            if TEXT_OPEN.fullmatch(pending):
                continue
            raise ValueError(f"line {begun} is no point")
        pending = ""
        tags = found["tags"]
        if tags not in known_tags:
            known_tags[tags] = {unescape(name): unescape(value) for name, value in TAG.findall(tags)}
        fields = {unescape(name): field(value) for name, value in NAME_AND_VALUE.findall(found["fields"])}
        yield Point(unescape(found["measurement"]), known_tags[tags] | fields, int(found["time"]))
    if pending:
        raise ValueError(f"line {begun} is no point")


TEXT_OPEN = re.compile(rf'[^"]*(?:{TEXT}[^"]*)*"(?:\\.|[^"\\])*', re.DOTALL)
"""A beginning of a point that ends within a text."""


def field(text: str) -> Value:
    """Return the value of a field: a text, an integer or a float. ValueError if it is none."""
    if text.startswith('"'):
        return TEXT_ESCAPE.sub(r"\1", text[1:-1])
    return int(text[:-1]) if text.endswith("i") else float(text)


def unescape(name: str) -> str:
    return NAME_ESCAPE.sub(r"\1", name)
