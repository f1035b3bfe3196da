"""The comparison of delivered episodes and epochs with the generated ones.

An episode of missing readings is their only trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.delivery.batch import Row
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.compare.generated import GeneratedDatabase, GeneratedReadings
from fleet.delivery.history import HISTORY_TABLES
from fleet.delivery.sources import table_columns
from fleet.verify.findings import Finding, FindingLog
from fleet.verify.row_checker import describe_difference

NOUN_BY_TABLE = {"anomaly_episodes": "episode", "epochs": "epoch"}
END_OF_SEQS = 1 << 63

# `+`: by id, as the index of (sensor_id, seq) would need a sort.
SELECT_FIRST_SEQ = "SELECT seq FROM sensor_readings WHERE +sensor_id = ? ORDER BY id LIMIT 1"
SELECT_LAST_SEQ = "SELECT seq FROM sensor_readings WHERE +sensor_id = ? AND id <= ? ORDER BY id DESC LIMIT 1"

TRUNCATION_COLUMNS = {"last_seq", "end_time"}
"""The columns that change when an episode is cut short."""


def compare_histories(
    generated: GeneratedReadings,
    database: GeneratedDatabase,
    delivered: DeliveredReadings,
    first_pending: Mapping[object, int] | None,
    finding_log: FindingLog,
) -> tuple[int, int]:
    """Compare the episodes and epochs of one database. Returns the numbers of those that must have arrived.

    `first_pending` has the first pending seq of the sensors with pending readings, as history is delivered with readings;
    None if all history must have arrived. Raises apsw.Error and DatabaseUnreadable.
    """
    opened = generated.connection(database)
    sensors = [sensor for sensor in sorted(database.sensors) if generated.sensor in (None, sensor)]
    counts = []
    for name, columns in HISTORY_TABLES.items():
        count = 0
        if set(columns) <= set(table_columns(opened, name)):
            query = f"SELECT {','.join(columns)} FROM {name} WHERE sensor_id = ? ORDER BY first_seq"
            for sensor in sensors:
                delivered_rows = delivered.history(name, columns, database.source.key, sensor)
                if delivered_rows is not None:
                    until = delivered_end(generated, database, sensor, first_pending)
                    right = generated.connection(database).execute(query, (sensor,)).fetchall()
                    history = HistoryComparison(
                        NOUN_BY_TABLE[name], columns, sensor, database.source.name, until, finding_log
                    )
                    count += history.compare(right, delivered_rows)
        counts.append(count)
    episodes, epochs = counts
    return episodes, epochs


def delivered_end(
    generated: GeneratedReadings, database: GeneratedDatabase, sensor: str, first_pending: Mapping[object, int] | None
) -> int:
    """Return the seq before which all history must have arrived: that of the first pending reading, 0 if none of the
    database has arrived. A rotated database is followed by one whose first epoch began before its readings."""
    if first_pending is None:
        return END_OF_SEQS
    if sensor in first_pending:
        first_seq = generated.connection(database).execute(SELECT_FIRST_SEQ, (sensor,)).get
        return 0 if first_pending[sensor] == first_seq else first_pending[sensor]
    last_seq = generated.connection(database).execute(SELECT_LAST_SEQ, (sensor, database.last)).get
    return last_seq + 1 if isinstance(last_seq, int) else 0


@dataclass(frozen=True, slots=True)
class HistoryComparison:
    """The comparison of the episodes or epochs of one sensor in one database."""

    noun: str
    columns: Sequence[str]
    sensor: str
    database: str
    until: int
    finding_log: FindingLog

    def compare(self, right: Sequence[Row], delivered_rows: Sequence[Row]) -> int:
        """Note the differences. Returns the number of generated rows that must have arrived."""
        arrived = {self.value(row, "first_seq"): row for row in delivered_rows}
        count = 0
        for row in right:
            first = self.value(row, "first_seq")
            delivered_row = arrived.pop(first, None)
            due = first < self.until
            count += due
            if delivered_row is None and due:
                self.note("not delivered", first, self.label(row))
            elif delivered_row is not None and delivered_row != row and not self.is_earlier_state(row, delivered_row):
                pairs = zip(self.columns, delivered_row, row, strict=True)
                detail = "; ".join(
                    describe_difference(name, value, expected) for name, value, expected in pairs if value != expected
                )
                self.note("delivered altered", first, detail)
        for first, row in arrived.items():
            if first < self.until:
                self.note("delivered altered", first, f"{self.label(row)} never was")
        return count

    def is_earlier_state(self, row: Row, delivered_row: Row) -> bool:
        """Check that the delivered row is an earlier state, whose later state may still be pending."""
        if self.noun == "epoch" or self.until == END_OF_SEQS:
            return False
        changed = {name for name, one, other in zip(self.columns, row, delivered_row, strict=True) if one != other}
        return changed <= TRUNCATION_COLUMNS and self.value(delivered_row, "last_seq") > self.value(row, "last_seq")

    def label(self, row: Row) -> str:
        return str(row[self.columns.index("type" if self.noun == "episode" else "reason")])

    def value(self, row: Row, column: str) -> int:
        value = row[self.columns.index(column)]
        return value if isinstance(value, int) else -1

    def note(self, kind: str, first: int, detail: str) -> None:
        self.finding_log.add(Finding(f"{self.noun} {kind}", self.sensor, self.database, first, None, detail))
