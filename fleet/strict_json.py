"""Strict reading of a text or JSON file that a user wrote; every error is one line.

It refuses what the standard reader accepts: a duplicate key, bytes that are not UTF-8, unbounded nesting. NaN is
left to the validation of the value, which knows its key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from fleet.errors import UserError
from fleet.escaping import escape_short

MAX_FILE_BYTES = 64_000_000
MAX_JSON_DEPTH = 100
CONTROL_CHARACTERS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
JSON_WHITESPACE = re.compile(r"[ \t\n\r]*")
TRAILING_COMMA = re.compile(r",[ \t\n\r]*[]}]")
DECODER = json.JSONDecoder()


class DuplicateKey(ValueError):
    """An object with the same key twice."""


def read_text_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Read the whole file, without a byte order mark, with newlines as line ends; UserError if it is not a text file
    of at most `max_bytes`."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would keep us waiting
            raise UserError(f"{path}: is not a file")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise UserError(f"{path}: is larger than {max_bytes // 1_000_000} MB")
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a directory, not a file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if "\0" in text:
        raise UserError(f"{path}: not a text file (byte {text.index(chr(0))} is NUL)")
    return text


def parse_json(text: str, path: Path) -> Any:
    """Parse `text`; UserError with line and column of `path` if it is invalid."""
    try:
        document = json.loads(text, object_pairs_hook=reject_duplicate_keys)
        if is_nested_deeper(document, MAX_JSON_DEPTH):
            raise UserError(f"{path}: invalid JSON: nested too deeply")
        return document
    except json.JSONDecodeError as error:
        line, column, reason = describe_error(error)
        raise UserError(f"{path}:{line}:{column}: invalid JSON: {reason}") from None
    except DuplicateKey as error:
        raise UserError(f"{path}: invalid JSON: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: invalid JSON: nested too deeply") from None
    except ValueError:  # the one that is left: Python reads no whole number of more than 4300 digits
        raise UserError(f"{path}: invalid JSON: a number of thousands of digits") from None


def is_nested_deeper(document: Any, levels: int) -> bool:
    """Return True if values are nested in more than that many levels. Others can be compared and written without
    reaching the recursion limit."""
    level = [document]
    for _ in range(levels):
        level = [inner for value in level for inner in child_values(value)]
        if not level:
            return False
    return True


def child_values(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def describe_error(error: json.JSONDecodeError) -> tuple[int, int, str]:
    """Return line, column and reason, the same on all versions of Python: before 3.13 a trailing comma was reported
    at the token after it."""
    comma = TRAILING_COMMA.search(error.doc, len(error.doc[: error.pos].rstrip(" \t\n\r,")))
    if comma is None or error.pos not in (comma.start(), comma.end() - 1):
        return error.lineno, error.colno, error.msg
    at = comma.start()
    return error.doc.count("\n", 0, at) + 1, at - error.doc.rfind("\n", 0, at), "a comma after the last element"


def reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DuplicateKey(f"the key {short_json(repeated)} occurs twice in one object")
    return fields


def raise_json_error(path: Path, text: str, keys: Sequence[str | int], value: object, allowed: str) -> NoReturn:
    """Raise the error about a value of a JSON file: file, line, column, key, value, what is allowed."""
    line, column = locate(text, keys)
    name = "".join(f"[{key}]" if isinstance(key, int) else f".{escape_short(key)}" for key in keys).lstrip(".")
    raise UserError(f"{path}:{line}:{column}: {name}: {short_json(value)} {allowed}")


def short_json(value: object) -> str:
    """Format `value` as JSON, shortened."""
    return escape_short(json.dumps(value, ensure_ascii=False))


def is_one_line(text: str) -> bool:
    """Return True if `text` fits on one line of a file, a log and a database: no control characters, no line ends,
    no half of a surrogate pair (which JSON can spell and UTF-8 cannot)."""
    return not CONTROL_CHARACTERS.search(text)


def locate(text: str, keys: Sequence[str | int]) -> tuple[int, int]:
    """Return line and column, from 1, of the value under `keys` in valid JSON; of the innermost one that exists."""
    at = skip_space(text, 0)
    for key in keys:
        inner = find_element(text, at, key) if isinstance(key, int) else find_member(text, at, key)
        if inner is None:
            break
        at = inner
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def find_member(text: str, at: int, wanted: str) -> int | None:
    """Return the position of the value of the member `wanted` of the object at `at`, None if it has none."""
    while text[at] in "{,":
        at = skip_space(text, at + 1)
        if text[at] == "}":
            return None
        key, at = DECODER.raw_decode(text, at)
        at = skip_space(text, skip_space(text, at) + 1)
        if key == wanted:
            return at
        at = skip_value(text, at)
    return None


def find_element(text: str, at: int, wanted: int) -> int | None:
    """Return the position of the element number `wanted` of the list at `at`."""
    if text[at] != "[":
        return None
    at = skip_space(text, at + 1)
    for _ in range(wanted):
        at = skip_space(text, skip_value(text, at) + 1)
    return at


def skip_value(text: str, at: int) -> int:
    _, end = DECODER.raw_decode(text, at)
    return skip_space(text, end)


def skip_space(text: str, at: int) -> int:
    space = JSON_WHITESPACE.match(text, at)
    return space.end() if space else at
