"""The stats of a collector: what it found, delivered and could not, per database and in all."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import reduce


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """What became of one database so far. `delivered` are readings that the target has for sure, `duplicates` those of them
    that it had already, `dead` those it will never take, `left` those of the batch that was offered last which it has not
    settled.

    `skipped` says why it is none of the collector's, `error` what stands in the way now, `blame` whose error that is, the
    database's or the target's. `last_us` is the clock when something was delivered last, microseconds since 1970; 0 for
    never.
    """

    name: str
    left: int = 0
    delivered: int = 0
    duplicates: int = 0
    dead: int = 0
    episodes: int = 0
    seconds: float = 0.0
    skipped: str | None = None
    error: str | None = None
    blame: str = "database"
    last_us: int = 0

    @property
    def found(self) -> int:
        """Readings that were to be delivered when they were seen."""
        return self.delivered + self.dead + self.left

    @property
    def rate(self) -> float:
        """Readings delivered per second of work on this database."""
        return self.delivered / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class CollectorStats:
    """Accounts by the name of the database; several threads add to them."""

    databases: dict[str, DatabaseStats] = field(default_factory=dict)
    sweeps: int = 0
    databases_done: int = 0
    """Databases that this sweep is done with, of `databases_total`."""

    databases_total: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Failed sweeps by kind: database, target."""

    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def unfinished(self) -> int:
        """Databases that the last sweep was not done with when the collector was stopped."""
        return self.databases_total - self.databases_done

    def add(self, more: DatabaseStats) -> None:
        """Add the numbers of an database to that of the same name. What is left is what is left now."""
        with self._lock:
            self.databases[more.name] = replace(merge_stats(self._of(more.name), more), left=more.left)

    def add_seconds(self, name: str, seconds: float) -> None:
        with self._lock:
            database = self._of(name)
            self.databases[name] = replace(database, seconds=database.seconds + seconds)

    def _of(self, name: str) -> DatabaseStats:
        return self.databases.get(name) or DatabaseStats(name)

    def record_outcome(
        self, name: str, *, skipped: str | None = None, error: str | None = None, kind: str = "database"
    ) -> None:
        """Say how the last visit ended."""
        with self._lock:
            self.databases[name] = replace(self._of(name), skipped=skipped, error=error, blame=kind)
            if error:
                self.errors[kind] += 1

    def forget_vanished(self, names: set[str]) -> None:
        """Databases that are not there any more keep their numbers, but no trouble."""
        with self._lock:
            for name in self.databases.keys() - names:
                self.databases[name] = replace(self.databases[name], error=None, skipped="is gone")

    def totals(self) -> DatabaseStats:
        with self._lock:
            return reduce(merge_stats, self.databases.values(), DatabaseStats("in all"))

    def failing(self) -> list[DatabaseStats]:
        """Those that something stands in the way of."""
        with self._lock:
            return [database for database in self.databases.values() if database.error]


def merge_stats(one: DatabaseStats, other: DatabaseStats) -> DatabaseStats:
    """The numbers of both; the rest is the first one's."""
    return replace(
        one,
        left=one.left + other.left,
        delivered=one.delivered + other.delivered,
        duplicates=one.duplicates + other.duplicates,
        dead=one.dead + other.dead,
        episodes=one.episodes + other.episodes,
        seconds=one.seconds + other.seconds,
        last_us=max(one.last_us, other.last_us),
    )
