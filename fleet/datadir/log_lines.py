"""Whose a line of the log is: the worker that it is about, in any format that a log may have."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path

from worker.log import JSON_FORMAT

FORMAT_FIELD = re.compile(r"%\((\w+)\)[^a-zA-Z]*[a-zA-Z]")
FIELD_PATTERNS = {
    "name": r"(?P<name>[^:\s]+)",
    "message": r"(?P<message>.*)",
    "asctime": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}",
}
"""What stands in a line for a field of its format; for the others, anything."""

TAIL_BYTES = 512 * 1024
MAX_LINE_LENGTH = 500


def lines_of_worker(worker: str, form: str) -> Callable[[str], bool]:
    """Says of each line in turn, of a log in that format, whether it belongs to the worker."""
    subject = worker_in_json_line if form == JSON_FORMAT else worker_in_format(form)
    current = ""

    def belongs(line: str) -> bool:
        nonlocal current
        current = subject(line) or current  # a traceback follows its line
        return current == worker

    return belongs


def tail_lines(path: Path, wanted: Callable[[str], bool], count: int) -> list[str]:
    """The last `count` wanted lines of the last half megabyte; none where the log cannot be read."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(size - TAIL_BYTES, 0))
            lines = log.read(TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return []
    if size > TAIL_BYTES:
        lines = lines[1:]  # cut in two
    return [line[:MAX_LINE_LENGTH] for line in deque(filter(wanted, lines), maxlen=count)]


def worker_in_json_line(line: str) -> str | None:
    try:
        told = json.loads(line)
        return worker_of(str(told["logger"]), str(told["message"]))
    except (ValueError, TypeError, KeyError):
        return None


def worker_in_format(form: str) -> Callable[[str], str | None]:
    """Tells the worker that a line in that format is about, None where it is the next line of a message."""
    parts = FORMAT_FIELD.split(form)
    written = [FIELD_PATTERNS.get(part, ".*?") if number % 2 else re.escape(part) for number, part in enumerate(parts)]
    head = re.compile("".join(written))

    def subject(line: str) -> str | None:
        found = head.match(line)
        named = found.groupdict() if found else {}
        return worker_of(named.get("name", ""), named.get("message", "")) if found else None

    return subject


def worker_of(logger: str, message: str) -> str:
    """The supervisor and databases begin their messages with the name of the worker."""
    return message.partition(":")[0] if logger in ("supervisor", "database", "") else logger
