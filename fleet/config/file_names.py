"""Names of files that a config may state."""

from __future__ import annotations

import os
from pathlib import Path

from fleet.validation.names import not_derived_name

RESERVED_FILE_NAMES = frozenset(("..", "fleet.json", "fleet.new", "identities", "run"))


def file_path(value: str) -> str:
    """Accept a path that the file system can look up: it allows 255 bytes a part, 200 leave room for `-journal`."""
    if any(len(os.fsencode(part)) > 200 for part in Path(value).parts):
        raise ValueError("has a part of more than 200 bytes")
    return value


def database_file(value: str) -> str:
    """Accept a path whose last part can be the name of a database in a data directory."""
    name = Path(value).name
    if not name or name in RESERVED_FILE_NAMES:
        raise ValueError("does not end in the name of a database, such as data/sensor_data.db")
    not_derived_name(name)
    return file_path(value)


def unreserved_file(value: str) -> str:
    """Accept a path whose last part can be the name of another file or folder in a data directory."""
    name = Path(value).name
    if not name or name in RESERVED_FILE_NAMES or name.endswith(".db"):
        raise ValueError("does not end in a name that is free among the files of a fleet")
    return file_path(value)
