"""What has become of the readings that got a fault on their way, on purpose: whether the pipeline behind the target handles it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.delivery.compare.delivered import unix_microseconds, unreadable_error
from fleet.delivery.compare.generated import GeneratedDatabase
from fleet.delivery.faults.plan import ABSENCES, DAMAGES, DELAYS, SECOND_US

MS = 1_000
REASONS = {"clock_skew": "its time is that of a wrong clock", "truncate": "its record ends too early"}
"""Faults after which a reading may be there and match none that was generated."""

# Of several targets: a reading has the same fault on its way to each.
SELECT_FAULTS = """
SELECT source, id, sensor_id, timestamp, kind, size, min(held) > 0 FROM faults WHERE ?1 IS NULL OR sensor_id = ?1 GROUP BY source, id
"""


class RecordedFault(NamedTuple):
    """The fault of a reading, as it is on record. With `held`, the reading or its copy was not sent yet."""

    sensor_id: str
    timestamp: str
    kind: str
    size: float
    held: bool


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """The outcome of one kind of fault: of `sent` readings with it, some arrived (`there`), some of these `twice` or `wrong`: with
    other values. `handled` is False if the pipeline keeps what it should remove or refuse, or lacks what it should take."""

    kind: str
    sent: int
    there: int
    twice: int
    wrong: int

    @property
    def absent(self) -> int:
        return self.sent - self.there

    @property
    def handled(self) -> bool:
        if self.kind == "duplicate":
            return not self.twice and not self.absent
        return not self.absent if self.kind in DELAYS else not self.wrong

    def line(self) -> str:
        """Return the outcome in one line."""
        match self.kind:
            case "drop":
                return f"drop: {self.absent:,} dropped on purpose, not counted as lost"
            case "duplicate":
                verdict = "removed" if self.handled else "not all are there" if self.absent else "kept"
                return f"duplicate: {self.sent:,} sent twice, {self.twice:,} are there twice: {verdict}"
            case "clock_skew":
                verdict = "kept" if self.wrong else "refused or corrected"
                return f"clock_skew: {self.sent:,} sent with a wrong time, {self.wrong:,} are there with it: {verdict}"
            case kind if kind in DELAYS:
                verdict = "taken" if self.handled else "not all are taken"
                return f"{kind}: {self.sent:,} sent late, {self.there:,} are there: {verdict}"
            case kind:
                verdict = "refused" if self.handled else "kept"
                return f"{kind}: {self.sent:,} sent damaged, {self.wrong:,} are there with wrong values: {verdict}"


class FaultOutcomes:
    """The faults on record, and what the comparison finds of their readings."""

    def __init__(self, faults: Mapping[str, Mapping[int, RecordedFault]]) -> None:
        self._faults = faults
        self._twice: set[tuple[str, int]] = set()
        self._wrong: set[tuple[str, int]] = set()
        self._missing: set[tuple[str, int]] = set()
        self._pending: set[tuple[str, int]] = set()
        self._unknown_sensors = 0
        self._by_time = {
            (fault.sensor_id, sent_time(fault) // MS): (source, number, fault.kind)
            for source, some in faults.items()
            for number, fault in some.items()
            if fault.kind in REASONS
        }

    @property
    def truncated(self) -> bool:
        return any(fault.kind == "truncate" for some in self._faults.values() for fault in some.values())

    def has(self, source: str, number: int) -> bool:
        return number in self._faults.get(source, ())

    def note_twice(self, source: str, number: int) -> None:
        self._twice.add((source, number))

    def note_wrong(self, source: str, number: int) -> None:
        self._wrong.add((source, number))

    def explain(self, sensor: object, time: object) -> str | None:
        """Note a reading that no generated one matches, by the time in it. Return the reason, None if no fault explains it."""
        self._unknown_sensors += sensor is None
        found = self._by_time.get((str(sensor), time // MS)) if isinstance(time, int) else None
        if found is None:
            return None
        source, number, kind = found
        self._wrong.add((source, number))
        return REASONS[kind]

    def is_held(self, source: str, number: int) -> bool:
        """Return whether the reading was not sent yet."""
        fault = self._faults.get(source, {}).get(number)
        return fault is not None and fault.held and fault.kind in DELAYS

    def note_pending(self, source: str, number: int) -> None:
        self._pending.add((source, number))

    def note_missing(self, source: str, number: int) -> bool:
        """Note a reading that is not there; True if that is no loss, because it was not sent or may be refused."""
        fault = self._faults.get(source, {}).get(number)
        self._missing.add((source, number))
        return fault is not None and fault.kind in ABSENCES

    def outcomes(self, databases: Mapping[str, GeneratedDatabase]) -> tuple[FaultOutcome, ...]:
        """Return the outcome of each kind, of the readings in these databases that are not pending."""
        sent, there, twice, wrong = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        for source, some in self._faults.items():
            last = databases[source].last if source in databases else 0
            for number, fault in some.items():
                key = source, number
                if number <= last and key not in self._pending and not (fault.held and fault.kind == "duplicate"):
                    kept = key in self._wrong and (fault.kind in DAMAGES or fault.kind == "clock_skew")
                    sent[fault.kind] += 1
                    there[fault.kind] += kept or key not in self._missing
                    twice[fault.kind] += key in self._twice
                    wrong[fault.kind] += kept
        # Of a nested record a truncated reading may have lost its sensor.
        nameless = min(self._unknown_sensors, sent["truncate"] - there["truncate"])
        there["truncate"], wrong["truncate"] = there["truncate"] + nameless, wrong["truncate"] + nameless
        return tuple(FaultOutcome(kind, sent[kind], there[kind], twice[kind], wrong[kind]) for kind in sorted(sent))


def sent_time(fault: RecordedFault) -> int:
    """Return the time with which a reading was sent, in microseconds since 1970."""
    return unix_microseconds(fault.timestamp) + (round(fault.size * SECOND_US) if fault.kind == "clock_skew" else 0)


def read_faults(path: Path, sensor: str | None) -> FaultOutcomes:
    """Read the record of the faults, of one sensor or of all; without a file there are none. UserError if it is unreadable."""
    faults: dict[str, dict[int, RecordedFault]] = {}
    if path.exists():
        try:
            with read_only_connection(path) as opened:
                rows: Iterator[Any] = opened.execute(SELECT_FAULTS, (sensor,))
                for source, number, *fault in rows:
                    faults.setdefault(source, {})[number] = RecordedFault(*fault)
        except (DatabaseUnreadable, apsw.Error) as error:
            raise unreadable_error(path, error) from error
    return FaultOutcomes(faults)
