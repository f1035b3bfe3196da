r"""A `.env` file: a variable in each line, as NAME=VALUE.

Blank lines and lines that begin with # are skipped, and so is the word `export` before a name. A value may be in quotes: between
single ones it is taken as it is written, between double ones \n, \" and \\ stand for a new line, a quote and a backslash.
Without quotes it ends before a # that follows a blank. Variables are not expanded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fleet.errors import UserError
from fleet.validation.issues import format_value
from fleet.validation.yaml_tree import SourceMark

MAX_BYTES = 1_000_000
LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(?P<value>.*)")
SINGLE = re.compile(r"'(?P<text>[^']*)'\s*(?:#.*)?")
DOUBLE = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(?:#.*)?')
ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


class EnvValue(NamedTuple):
    """The value of a variable and its place."""

    text: str
    mark: SourceMark


def read_env_file(path: Path) -> Mapping[str, EnvValue]:
    """Return the variables of a file by name; none if it does not exist. Raises UserError for a file that cannot be read,
    and for a line that is no variable."""
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: has more than {MAX_BYTES} bytes; it is no file of variables")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text in UTF-8") from None
    values: dict[str, EnvValue] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = read_line(line, str(path), number)
            if name in values:
                raise UserError(
                    f"{value.mark}: {name} is there twice, first in line {values[name].mark.line}; keep one"
                )
            values[name] = value
    return values


def read_line(line: str, origin: str, number: int) -> tuple[str, EnvValue]:
    """Return the name and the value of one line. UserError if it has another shape."""
    found = LINE.fullmatch(line)
    if found is None:
        mark = SourceMark(origin, number, len(line) - len(line.lstrip()) + 1)
        raise UserError(f"{mark}: {format_value(line.strip())} is not NAME=VALUE")
    name, written = found["name"], found["value"]
    mark = SourceMark(origin, number, found.start("value") + 1)
    if written[:1] in ("'", '"'):
        quoted = (SINGLE if written[0] == "'" else DOUBLE).fullmatch(written)
        if quoted is None:
            raise UserError(f"{mark}: {name}: {format_value(written)} does not end with the quote it begins with")
        text = quoted["text"]
        if written[0] == '"':
            text = re.sub(r"\\(.)", lambda escape: ESCAPES.get(escape[1], escape[0]), text)
        return name, EnvValue(text, mark)
    return name, EnvValue("" if written.startswith("#") else re.sub(r"\s+#.*", "", written).rstrip(), mark)
