"""The positions of a subscriber in the topics of a broker: kept where its readings are, so that both are committed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apsw

CREATE_POSITIONS = """
CREATE TABLE IF NOT EXISTS broker_positions (
    cluster TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (cluster, topic, partition)
) WITHOUT ROWID
"""
SELECT_POSITIONS = "SELECT topic, partition, position FROM broker_positions WHERE cluster = ?"
SAVE_POSITION = "INSERT OR REPLACE INTO broker_positions VALUES (?,?,?,?)"

Partition = tuple[str, int]
"""A topic, and the number of one of its partitions."""


@dataclass(frozen=True, slots=True)
class Positions:
    """The offsets of the messages to read next in the partitions of a cluster."""

    cluster: str
    offsets: Mapping[Partition, int]

    def save(self, connection: apsw.Connection) -> None:
        """Save them, inside a transaction."""
        connection.execute(CREATE_POSITIONS)
        rows = [(self.cluster, topic, number, offset) for (topic, number), offset in self.offsets.items()]
        connection.executemany(SAVE_POSITION, rows)


def load_positions(connection: apsw.Connection, cluster: str) -> Positions:
    """Load what is saved for a cluster. Raises apsw.Error."""
    if not connection.table_exists(None, "broker_positions"):
        return Positions(cluster, {})
    rows: Any = connection.execute(SELECT_POSITIONS, (cluster,)).fetchall()
    return Positions(cluster, {(topic, number): offset for topic, number, offset in rows})
