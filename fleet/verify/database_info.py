"""What a database says about itself: the row of `database_info`, and the rotated database that precedes it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from worker.storage.rotation import ROTATED_SUFFIX
from worker.storage.schema import SCHEMA_VERSION

LIVE_ROLES = ("live", "rotated", "backup")
"""The roles of a database under its own name: also in the middle of a rotation, and as a restored backup."""


def info_errors(name: str, role: object, generation: object, version: object) -> Iterator[str]:
    """Yield the errors of the row of `database_info` of the database with that name."""
    rotated = ROTATED_SUFFIX.search(Path(name).stem) is not None
    if role not in (("rotated",) if rotated else LIVE_ROLES):
        yield f"its role is {role!r}, must be {'rotated' if rotated else 'live'}"
    try:
        valid = isinstance(generation, str) and str(uuid.UUID(generation)) == generation
    except ValueError:
        valid = False
    if not valid:
        yield f"its generation is {generation!r}, must be a UUID"
    if not isinstance(version, int) or not 1 <= version <= SCHEMA_VERSION:
        yield f"its schema_version is {version!r}, must be {SCHEMA_VERSION}"


class PreviousDatabase(NamedTuple):
    """The rotated database `file` that has a sensor's readings before `first_seq`."""

    first_seq: int
    file: str


def previous_databases(opened: apsw.Connection) -> dict[str, PreviousDatabase]:
    """Return the rotated database that precedes this one, by sensor. Only a successor of a rotated one has such records."""
    if not opened.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'origins'").get:
        return {}
    rows = opened.execute("SELECT sensor_id, first_seq, file FROM origins").fetchall()
    return {
        str(sensor): PreviousDatabase(first, str(file))
        for sensor, first, file in rows
        if isinstance(first, int) and first > 0
    }
