"""The backlog of a target: the number of readings that it lacks, by their row ids, and how long the oldest has been waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fleet.datadir.computed_readings import add_computed_readings
from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.delivery.source_database import id_bounds
from fleet.delivery.sources import SKIPPED_ROLES, find_databases

LOOKUP_SECONDS = 0.02
"""Seconds that one update spends on looking into databases; those that it does not reach have their turn at the next one."""


class SourceIds(NamedTuple):
    """The first and the last row id of a database, and the key of the source that it is."""

    key: str
    first: int
    last: int


class StoredIds:
    """The row ids of the fleet's databases below `directory`, as last looked up."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ids: dict[Path, SourceIds | None] = {}

    def update(self) -> None:
        """Look into databases for up to LOOKUP_SECONDS, those first whose last look is longest ago."""
        end = time.monotonic() + LOOKUP_SECONDS
        with suppress(OSError):  # the directory is gone, which the sweeps report
            present = set(find_databases(self._directory))
            known = {path: ids for path, ids in self._ids.items() if path in present}
            waiting = [*sorted(present - known.keys()), *known]
            for path in waiting:
                known.pop(path, None)
                known[path] = look_up_ids(path)  # now the last of the dictionary
                if time.monotonic() > end:
                    break
            self._ids = known

    def sources(self) -> list[SourceIds]:
        return [ids for ids in self._ids.values() if ids is not None]


def look_up_ids(path: Path) -> SourceIds | None:
    """Return the row ids of a database, None if it is no database of a fleet or cannot be read."""
    with suppress(DatabaseUnreadable), read_only_connection(path) as connection:
        add_computed_readings(connection)
        role, key = connection.execute("SELECT role, generation FROM database_info").fetchone() or (None, None)
        if isinstance(key, str) and role not in SKIPPED_ROLES:
            return SourceIds(key, *id_bounds(connection))
    return None


class Mark(NamedTuple):
    """All undelivered readings were stored after `since`; those up to the id `last` were stored by `at`."""

    since: float
    last: int
    at: float


class Backlog:
    """The readings that one target lacks. `readings` is their number, `since` the time by which none of them was stored yet,
    in seconds since 1970; None if it lacks nothing."""

    def __init__(self, since: float | None = None) -> None:
        """`since` is the time that an earlier process has found."""
        self.readings, self.since = 0, since
        self._marks: dict[str, Mark] = {}

    def update(self, sources: list[SourceIds], settled_id: Callable[[str], int], now: float) -> None:
        """Count again. `settled_id` returns the id up to which the readings of a source are settled, 0 if it is unknown."""
        marks: dict[str, Mark] = {}
        readings = 0
        for key, first, last in sources:
            settled = max(settled_id(key), first - 1)
            if last > settled:
                readings += last - settled
                marks[key] = self._mark(key, last, settled, now)
        self._marks, self.readings = marks, readings
        self.since = oldest(marks)

    def _mark(self, key: str, last: int, settled: int, now: float) -> Mark:
        before = self._marks.get(key)
        if before is None:
            since = now if self.since is None or self._marks else self.since
            return Mark(since, last, now)
        return Mark(before.at, last, now) if settled >= before.last else before


def oldest(marks: Mapping[str, Mark]) -> float | None:
    return min((mark.since for mark in marks.values()), default=None)
