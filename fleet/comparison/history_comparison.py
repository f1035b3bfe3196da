"""Episodes and epochs at a target, compared with those of the databases: the only trace of readings that are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.collection.batch import Row
from fleet.collection.history import KINDS
from fleet.collection.sources import columns_of
from fleet.comparison.arrivals import Arrivals
from fleet.comparison.originals import Original, Originals
from fleet.verification.findings import Finding, Ledger
from fleet.verification.trail import difference

NOUNS = {"anomaly_episodes": "episode", "epochs": "epoch"}
ENDLESS = 1 << 63

LAST = "SELECT seq FROM sensor_readings WHERE sensor_id = ? AND id <= ? ORDER BY id DESC LIMIT 1"

CUT = {"last_seq", "end_time"}
"""What changes in an episode that is cut short."""


def compare_histories(
    originals: Originals,
    original: Original,
    arrivals: Arrivals,
    waiting: Mapping[object, int] | None,
    ledger: Ledger,
) -> tuple[int, int]:
    """Compare those of one database. `waiting` has for each sensor that has any its first reading which is still to be
    delivered, with which its history may come; None if all must be there. Returns how many episodes and epochs there
    are that must be. Raises apsw.Error and Unreadable."""
    opened = originals.connection(original)
    asked = [sensor for sensor in sorted(original.sensors) if originals.sensor in (None, sensor)]
    counts = []
    for name, columns in KINDS.items():
        count = 0
        if set(columns) <= set(columns_of(opened, name)):
            query = f"SELECT {','.join(columns)} FROM {name} WHERE sensor_id = ? ORDER BY first_seq"
            for sensor in asked:
                found = arrivals.history(name, columns, original.source.key, sensor)
                if found is not None:
                    until = horizon(originals, original, sensor, waiting)
                    right = originals.connection(original).execute(query, (sensor,)).fetchall()
                    history = History(NOUNS[name], columns, sensor, original.source.name, until, ledger)
                    count += history.compare(right, found)
        counts.append(count)
    episodes, epochs = counts
    return episodes, epochs


def horizon(originals: Originals, original: Original, sensor: str, waiting: Mapping[object, int] | None) -> int:
    """The seq up to which everything must have been delivered."""
    if waiting is None:
        return ENDLESS
    if sensor in waiting:
        return waiting[sensor]
    found = originals.connection(original).execute(LAST, (sensor, original.last)).get
    return found + 1 if isinstance(found, int) else 0


@dataclass(frozen=True, slots=True)
class History:
    """The episodes or the epochs of one sensor in one database."""

    noun: str
    columns: Sequence[str]
    sensor: str
    database: str
    until: int
    ledger: Ledger

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
                self.note("not delivered", first, self.described(row))
            elif came is not None and came != row and not self.may_follow(row, came):
                pairs = zip(self.columns, came, row, strict=True)
                told = "; ".join(difference(name, value, must) for name, value, must in pairs if value != must)
                self.note("delivered altered", first, told)
        for first, row in arrived.items():
            if first < self.until:
                self.note("delivered altered", first, f"{self.described(row)} never was")
        return count

    def may_follow(self, row: Row, came: Row) -> bool:
        """Whether what arrived is an earlier state, and the later one is still on its way."""
        if self.noun == "epoch" or self.until == ENDLESS:
            return False
        changed = {name for name, one, other in zip(self.columns, row, came, strict=True) if one != other}
        return changed <= CUT and self.value(came, "last_seq") > self.value(row, "last_seq")

    def described(self, row: Row) -> str:
        return str(row[self.columns.index("type" if self.noun == "episode" else "reason")])

    def value(self, row: Row, column: str) -> int:
        value = row[self.columns.index(column)]
        return value if isinstance(value, int) else -1

    def note(self, kind: str, first: int, detail: str) -> None:
        self.ledger.note(Finding(f"{self.noun} {kind}", self.sensor, self.database, first, None, detail))
