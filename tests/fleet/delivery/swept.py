"""Databases swept into a central one, in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.delivery.collector import Collector
from fleet.delivery.leases import Leases
from fleet.delivery.state import STATE_FOLDER, CollectorState
from fleet.delivery.stats import CollectorStats
from fleet.delivery.sweep_database import SweepContext
from fleet.delivery.target import Target
from fleet.delivery.targets.sqlite.target import SqliteTarget


def now() -> datetime:
    return datetime.now(UTC)


def sweep(
    data: Path,
    central: Path,
    *,
    received_at: Callable[[], datetime] = now,
    batch_size: int = 1000,
    marking: bool = True,
) -> CollectorStats:
    """Everything that is new in the databases under `data`, into the central database."""
    return sweep_into(SqliteTarget(central, received_at), data, batch_size=batch_size, marking=marking)


def sweep_into(target: Target, data: Path, *, batch_size: int = 1000, marking: bool = True) -> CollectorStats:
    """The same into any target; nothing may stand in the way."""
    stats = sweep_once(target, data, batch_size=batch_size, marking=marking)
    assert not stats.failing()
    return stats


def sweep_once(target: Target, data: Path, **given: Any) -> CollectorStats:
    """One sweep, whatever comes of it; `given` as for `collecting`."""
    with open_collector(target, data, **given) as (collector, context):
        collector.sweep()
    return context.stats


@contextmanager
def open_collector(
    target: Target,
    data: Path,
    *,
    batch_size: int = 1000,
    marking: bool = True,
    retry_dead: bool = False,
    busy_timeout_ms: int = 5_000,
) -> Iterator[tuple[Collector, SweepContext]]:
    """A collector with one thread, to sweep with, and what its sweeps share."""
    folder = data / STATE_FOLDER
    with closing(target), closing(CollectorState(folder, target.name, busy_timeout_ms)) as state:
        leases = Leases(None if marking else folder)
        stats, stop = CollectorStats(), threading.Event()
        context = SweepContext(
            target, state, leases, stats, stop, now, batch_size, marking, busy_timeout_ms, retry_dead
        )
        yield Collector(data, context, 1), context
