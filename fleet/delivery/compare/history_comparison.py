"""Episodes and epochs at a target, compared with those of the databases: the only trace of readings that are missing."""

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

SELECT_LAST_SEQ = "SELECT seq FROM sensor_readings WHERE sensor_id = ? AND id <= ? ORDER BY id DESC LIMIT 1"

TRUNCATION_COLUMNS = {"last_seq", "end_time"}
"""What changes in an episode that is cut short."""


def compare_histories(
    generated: GeneratedReadings,
    database: GeneratedDatabase,
    delivered: DeliveredReadings,
    first_pending: Mapping[object, int] | None,
    finding_log: FindingLog,
) -> tuple[int, int]:
    """Compare those of one database. `first_pending` has for each sensor that has any its first reading which is still to be
    delivered, with which its history may come; None if all must be there. Returns how many episodes and epochs there
    are that must be. Raises apsw.Error and Unreadable."""
    opened = generated.connection(database)
    asked = [sensor for sensor in sorted(database.sensors) if generated.sensor in (None, sensor)]
    counts = []
    for name, columns in HISTORY_TABLES.items():
        count = 0
        if set(columns) <= set(table_columns(opened, name)):
            query = f"SELECT {','.join(columns)} FROM {name} WHERE sensor_id = ? ORDER BY first_seq"
            for sensor in asked:
                found = delivered.history(name, columns, database.source.key, sensor)
                if found is not None:
                    until = delivered_end(generated, database, sensor, first_pending)
                    right = generated.connection(database).execute(query, (sensor,)).fetchall()
                    history = HistoryComparison(
                        NOUN_BY_TABLE[name], columns, sensor, database.source.name, until, finding_log
                    )
                    count += history.compare(right, found)
        counts.append(count)
    episodes, epochs = counts
    return episodes, epochs


def delivered_end(
    generated: GeneratedReadings, database: GeneratedDatabase, sensor: str, first_pending: Mapping[object, int] | None
) -> int:
    """The seq up to which everything must have been delivered."""
    if first_pending is None:
        return END_OF_SEQS
    if sensor in first_pending:
        return first_pending[sensor]
    found = generated.connection(database).execute(SELECT_LAST_SEQ, (sensor, database.last)).get
    return found + 1 if isinstance(found, int) else 0


@dataclass(frozen=True, slots=True)
class HistoryComparison:
    """The episodes or the epochs of one sensor in one database."""

    noun: str
    columns: Sequence[str]
    sensor: str
    database: str
    until: int
    finding_log: FindingLog

    def compare(self, right: Sequence[Row], found: Sequence[Row]) -> int:
        """Note what differs. Returns how many of the right ones must have arrived."""
        arrived = {self.value(row, "first_seq"): row for row in found}
        count = 0
        for row in right:
            first = self.value(row, "first_seq")
            came = arrived.pop(first, None)
            due = first < self.until
            count += due
            if came is None and due:
                self.note("not delivered", first, self.label(row))
            elif came is not None and came != row and not self.is_earlier_state(row, came):
                pairs = zip(self.columns, came, row, strict=True)
                detail = "; ".join(
                    describe_difference(name, value, must) for name, value, must in pairs if value != must
                )
                self.note("delivered altered", first, detail)
        for first, row in arrived.items():
            if first < self.until:
                self.note("delivered altered", first, f"{self.label(row)} never was")
        return count

    def is_earlier_state(self, row: Row, came: Row) -> bool:
        """Whether what arrived is an earlier state, and the later one is still on its way."""
        if self.noun == "epoch" or self.until == END_OF_SEQS:
            return False
        changed = {name for name, one, other in zip(self.columns, row, came, strict=True) if one != other}
        return changed <= TRUNCATION_COLUMNS and self.value(came, "last_seq") > self.value(row, "last_seq")

    def label(self, row: Row) -> str:
        return str(row[self.columns.index("type" if self.noun == "episode" else "reason")])

    def value(self, row: Row, column: str) -> int:
        value = row[self.columns.index(column)]
        return value if isinstance(value, int) else -1

    def note(self, kind: str, first: int, detail: str) -> None:
        self.finding_log.add(Finding(f"{self.noun} {kind}", self.sensor, self.database, first, None, detail))
