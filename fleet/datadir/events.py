"""The event log of a fleet: `run/events.jsonl`, one line each, appended by the supervising process, read by all others.

The log is bounded: once it has twice MAX_EVENTS lines, the older half is removed.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("events")

MAX_EVENTS = 1000
MAX_SENSORS_PER_EVENT = 20
MAX_EVENT_TEXT_LENGTH = 500
MAX_EVENT_LOG_BYTES = 8_000_000
"""The most bytes that are read; the log is far smaller."""

EVENT_KEYS = {"id", "time", "kind", "who", "what", "effect", "sensors"}
SUPERVISOR = "supervisor"

EventRecord = dict[str, Any]


class EventLog:
    """The one writer of the log, which continues that of an earlier run. An error of the disk is logged and ignored."""

    def __init__(self, path: Path) -> None:
        self._path, self._who = path, SUPERVISOR
        self._kept: deque[EventRecord] = deque(read_events(path), MAX_EVENTS)
        self._last = self._kept[-1]["id"] if self._kept else 0
        self._lines = MAX_EVENTS * 2  # the first event rewrites the file

    @contextmanager
    def on_behalf_of(self, who: str) -> Iterator[None]:
        """Attribute the events within the block to `who`."""
        self._who = who
        try:
            yield
        finally:
            self._who = SUPERVISOR

    def add(self, time: float, kind: str, what: str, effect: str = "", sensors: Sequence[str] = ()) -> None:
        """Append an event. `time` is in seconds since 1970."""
        self._last += 1
        moment = datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {
            "id": self._last,
            "time": moment,
            "kind": kind,
            "who": self._who,
            "what": what[:MAX_EVENT_TEXT_LENGTH],
            "effect": effect[:MAX_EVENT_TEXT_LENGTH],
            "sensors": list(sensors[:MAX_SENSORS_PER_EVENT]),
        }
        self._kept.append(record)
        try:
            self._write(record)
        except OSError as error:
            self._lines = MAX_EVENTS * 2
            log.warning("%s: cannot be written: %s", self._path, error.strerror)

    def _write(self, record: EventRecord) -> None:
        if self._lines < MAX_EVENTS * 2:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(format_line(record))
            self._lines += 1
            return
        temporary = self._path.with_suffix(".new")
        temporary.write_text("".join(map(format_line, self._kept)), encoding="utf-8")
        os.replace(temporary, self._path)
        self._lines = len(self._kept)


def format_line(record: EventRecord) -> str:
    return json.dumps(record, ensure_ascii=True, separators=(",", ":")) + "\n"


def read_events(path: Path) -> list[EventRecord]:
    """Read all events, in order. A line that is cut off, or is not an event, is left out."""
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_EVENT_LOG_BYTES).split(b"\n")
    except OSError:
        return []
    events = []
    last = 0
    for text in lines:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(record, dict)
            and record.keys() == EVENT_KEYS
            and type(record["id"]) is int
            and record["id"] > last
        ):
            events.append(record)
            last = record["id"]
    return events
