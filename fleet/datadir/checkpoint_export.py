"""The checkpoint file: the progress of every sensor, as JSON for other programs.

The fleet never reads it back. The checkpoint that counts is the one in each database, which is committed together with
the rows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fleet.datadir.readings import DatabaseUnreadable, json_value
from fleet.datadir.roster import Roster
from fleet.datadir.shared_connection import shared_connection
from fleet.errors import UserError

SELECT_CHECKPOINTS = "SELECT sensor_id, next_seq, incarnation FROM checkpoints ORDER BY sensor_id"

RESERVED_NAME = re.compile(
    r"^$|\.db(?![a-z0-9])|\.sqlite3?(?![a-z0-9])|^(fleet\.json|run|identities|backups|logs|workers)$"
)
"""Names of databases and of all that is kept beside them, and the other entries of a data directory."""

CheckpointDocument = dict[str, Any]


def write_checkpoint_file(roster: Roster, path: Path) -> None:
    """Replace the file by the checkpoints of all databases of the roster, atomically. Raises OSError, and UserError for a
    name that a file of the fleet may have."""
    check_export_name(path.name, {database.name for database in database_paths(roster)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(checkpoint_document(roster), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def check_export_name(name: str, databases: Collection[str]) -> None:
    """Raise UserError if a file of that name could replace a database, its log, or another file of the fleet."""
    if RESERVED_NAME.search(name) or name.startswith(tuple(databases)):
        raise UserError(f"simulation.checkpoint.file: {name} may be a file of the fleet; take checkpoint.json")


def checkpoint_document(roster: Roster) -> CheckpointDocument:
    sensors: dict[str, CheckpointDocument] = {}
    unreadable: list[str] = []
    for database in database_paths(roster):
        try:
            sensors |= read_checkpoints(database)
        except DatabaseUnreadable as error:
            unreadable.append(str(error))
    return {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": roster.seed,
        "run": roster.run,
        "start_time": roster.start_time,
        "sensors": sensors,
        **({"unreadable": unreadable} if unreadable else {}),
    }


def database_paths(roster: Roster) -> Sequence[Path]:
    return list(dict.fromkeys(member.database for member in roster.members))


def read_checkpoints(database: Path) -> dict[str, CheckpointDocument]:
    """Read the checkpoints in a database by sensor: `next_seq` readings are committed or skipped for good."""
    with shared_connection(database) as shared:
        rows = shared.connection.execute(SELECT_CHECKPOINTS).fetchall()
        return {
            str(sensor): {
                "next_seq": json_value(next_seq),
                "incarnation": json_value(incarnation),
                "database": database.name,
            }
            for sensor, next_seq, incarnation in rows
        }
