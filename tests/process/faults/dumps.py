"""The whole content of a data directory in an order that does not depend on how it came about."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apsw

Row = tuple[Any, ...]

# id and synced are columns 0 and 11 of sensor_readings, sensor_id and seq 2 and 27.
READINGS = "SELECT * FROM sensor_readings ORDER BY sensor_id, seq, id"
EPISODES = "SELECT * FROM anomaly_episodes ORDER BY sensor_id, first_seq"


def readings(data: Path, *, ids: bool) -> Iterator[Row]:
    """All columns but synced, and but id unless asked for, by sensor and seq."""
    for row in merged(data, READINGS, lambda row: (row[2], row[27])):
        yield row[0 if ids else 1 : 11] + row[12:]


def episodes(data: Path) -> Iterator[Row]:
    yield from merged(data, EPISODES, lambda row: (row[0], row[3]))


def merged(data: Path, query: str, key: Any) -> Iterator[Row]:
    with ExitStack() as stack:
        queries = []
        for path in sorted(data.glob("*.db")):
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            stack.callback(connection.close)
            queries.append(connection.execute(query))
        yield from heapq.merge(*queries, key=key)


def difference(ours: Iterator[Row], theirs: Iterator[Row]) -> tuple[int, str]:
    """How many rows are the same, and where the first one is not, empty if none."""
    count = 0
    missing: Row = ("nothing",)
    while True:
        one, other = next(ours, missing), next(theirs, missing)
        if one is missing and other is missing:
            return count, ""
        if repr(one) != repr(other):
            return count, f"{one} where {other} was expected"
        count += 1
