"""The stats of a collector: readings found, delivered and given up, per database and in all."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import reduce


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """The stats of one database.

    `delivered` counts readings that the target has acknowledged, `duplicates` those among them that it already had,
    `dead` those that it rejected, `left` those of the last batch that it neither acknowledged nor rejected. `skipped` is
    the reason why the database is not swept, `error` the current error, `blame` who causes it, `database` or `target`.
    `note` is what a user should know although it is no error. `last_us` is the time of the last delivery in microseconds since 1970, 0 for never.
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
    note: str | None = None
    last_us: int = 0

    @property
    def found(self) -> int:
        """Readings that were found to be delivered."""
        return self.delivered + self.dead + self.left

    @property
    def rate(self) -> float:
        """Readings delivered per second spent on this database."""
        return self.delivered / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class CollectorStats:
    """Stats by the name of the database. Thread-safe."""

    databases: dict[str, DatabaseStats] = field(default_factory=dict)
    sweeps: int = 0
    databases_done: int = 0
    """Databases that the current sweep has finished, of `databases_total`."""

    databases_total: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Failed sweeps by kind: database, target."""

    retries: int = 0
    """Deliveries that failed and are made again."""

    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def unfinished(self) -> int:
        """Databases that the last sweep had not finished when the collector was stopped."""
        return self.databases_total - self.databases_done

    def add(self, more: DatabaseStats) -> None:
        """Add numbers to those of the database of the same name; `left` replaces the old value."""
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
        """Record how the last sweep of a database ended."""
        with self._lock:
            self.databases[name] = replace(self._of(name), skipped=skipped, error=error, blame=kind)
            if error:
                self.errors[kind] += 1

    def add_retry(self) -> None:
        with self._lock:
            self.retries += 1

    def add_note(self, name: str, note: str) -> None:
        """Set the note of a database; the first one stays."""
        with self._lock:
            database = self._of(name)
            self.databases[name] = replace(database, note=database.note or note)

    def forget_vanished(self, names: set[str]) -> None:
        """Clear the errors of databases that no longer exist; their numbers stay."""
        with self._lock:
            for name in self.databases.keys() - names:
                self.databases[name] = replace(self.databases[name], error=None, skipped="is gone")

    def totals(self) -> DatabaseStats:
        with self._lock:
            return reduce(merge_stats, self.databases.values(), DatabaseStats("in all"))

    def notes(self) -> dict[str, str]:
        """The notes by the name of their database."""
        with self._lock:
            return {name: database.note for name, database in self.databases.items() if database.note}

    def failing(self) -> list[DatabaseStats]:
        """The databases with an error."""
        with self._lock:
            return [database for database in self.databases.values() if database.error]


def merge_stats(one: DatabaseStats, other: DatabaseStats) -> DatabaseStats:
    """The sums of the numbers; everything else is taken from `one`."""
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
