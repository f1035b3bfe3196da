"""The check of the row of `database_info`, which says what a database is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

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
