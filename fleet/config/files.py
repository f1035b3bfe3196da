"""Names of files and folders in a config, and the format of the log: what they may be.

Only the last part of a path counts: everything of a fleet lies in its data directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from worker.log import format_sample_line

RESERVED_FILE_NAMES = frozenset(("..", "fleet.json", "fleet.new", "identities", "run"))


def file_path(value: str) -> str:
    """A path that the system can be asked about. 255 bytes is what file systems allow, 200 leave room for `-journal`."""
    if any(len(os.fsencode(part)) > 200 for part in Path(value).parts):
        raise ValueError("has a part of more than 200 bytes")
    return value


def database_file(value: str) -> str:
    """A path whose last part can be the name of a database among the files of a fleet."""
    name = Path(value).name
    if not name or name in RESERVED_FILE_NAMES:
        raise ValueError("does not end in the name of a database, such as data/sensor_data.db")
    return file_path(value)


def unreserved_file(value: str) -> str:
    """A path whose last part can be the name of a file or folder of another kind among the files of a fleet."""
    name = Path(value).name
    if not name or name in RESERVED_FILE_NAMES or name.endswith(".db"):
        raise ValueError("does not end in a name that is free among the files of a fleet")
    return file_path(value)


def log_format(value: str) -> str:
    try:
        format_sample_line(value)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"is no format of log lines, such as %(asctime)s %(levelname)s %(message)s: {error}") from None
    return value
