"""Databases swept into a central one, in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.collection.collector import Collector
from fleet.collection.leases import Leases
from fleet.collection.state import FOLDER, State
from fleet.collection.tally import Tally
from fleet.collection.target import Target
from fleet.collection.visit import Round
from fleet.targets.sqlite_target import SqliteTarget


def now() -> datetime:
    return datetime.now(UTC)


def sweep(
    data: Path,
    central: Path,
    *,
    received_at: Callable[[], datetime] = now,
    batch_size: int = 1000,
    marking: bool = True,
) -> Tally:
    """Everything that is new in the databases under `data`, into the central database."""
    return sweep_into(SqliteTarget(central, received_at), data, batch_size=batch_size, marking=marking)


def sweep_into(target: Target, data: Path, *, batch_size: int = 1000, marking: bool = True) -> Tally:
    """The same into any target; nothing may stand in the way."""
    tally = swept(target, data, batch_size=batch_size, marking=marking)
    assert not tally.failing()
    return tally


def swept(target: Target, data: Path, **given: Any) -> Tally:
    """One sweep, whatever comes of it; `given` as for `collecting`."""
    with collecting(target, data, **given) as (collector, round_):
        collector.sweep()
    return round_.tally


@contextmanager
def collecting(
    target: Target,
    data: Path,
    *,
    batch_size: int = 1000,
    marking: bool = True,
    retry_dead: bool = False,
    patience_ms: int = 5_000,
) -> Iterator[tuple[Collector, Round]]:
    """A collector with one thread, to sweep with, and what its sweeps share."""
    folder = data / FOLDER
    with closing(target), closing(State(folder, target.name, patience_ms)) as state:
        leases = Leases(None if marking else folder)
        tally, stop = Tally(), threading.Event()
        round_ = Round(target, state, leases, tally, stop, now, batch_size, marking, patience_ms, retry_dead)
        yield Collector(data, round_, 1), round_
