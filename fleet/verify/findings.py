"""Findings: differences between the data of a fleet and what it must be, and the verdict over all of them.

To add a kind of finding: its title in FINDING_TITLES, and a call of `FindingLog.add` where it is detected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

FINDING_TITLES = {
    "unreadable": "databases that cannot be read",
    "checkpoint": "invalid checkpoints",
    "epoch": "invalid epochs",
    "gone": "sensors whose database is gone",
    "record": "contradictions to the records of the fleet",
    "doubled": "sensors with more than one database",
    "hole": "missing readings",
    "repeat": "duplicate readings",
    "order": "readings out of order",
    "altered": "altered readings",
    "label": "readings with a wrong label",
    "identity": "readings with a wrong identity",
    "beyond": "readings beyond the checkpoint",
    "stray": "readings that should not exist",
    "episode missing": "missing episodes",
    "episode extra": "episodes that should not exist",
    "episode altered": "altered episodes",
    "incomplete": "sensors that have not committed all that was due",
    "not delivered": "readings that did not arrive",
    "delivered twice": "readings that arrived twice",
    "delivered altered": "readings that arrived with other values",
    "delivered out of order": "readings that arrived after later ones",
    "delivered, never generated": "readings that arrived but were never generated",
    "episode not delivered": "episodes that did not arrive",
    "episode delivered altered": "episodes that arrived with other values",
    "epoch not delivered": "epochs that did not arrive",
    "epoch delivered altered": "epochs that arrived with other values",
}
"""The kinds of finding with their titles, in the order of the report."""

RANGE_KINDS = {"hole", "not delivered"}
"""Kinds whose findings count once for each sequence number from first to last."""

WHOLE_KINDS = {"gone", "episode missing", "episode extra", "episode altered", "incomplete"}
"""Kinds whose findings count once, although each is about a range of readings."""

MAX_FINDINGS_PER_KIND = 1000
"""Findings of one kind that are kept; further ones are only counted."""

NoteFinding = Callable[[str, int | None, int | None, str], None]
"""Takes a finding about one sensor of one database: kind, first and last sequence number, detail."""

NoteSensorFinding = Callable[[str, str, int | None, int | None, str], None]
"""Takes a finding about one database: sensor, kind, first and last sequence number, detail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `database` is the name of a file; sequence numbers are inclusive, None if they do not apply."""

    kind: str
    sensor_id: str | None
    database: str
    first_seq: int | None
    last_seq: int | None
    detail: str

    @property
    def count(self) -> int:
        """The number by which it counts in the verdict."""
        if self.first_seq is None or self.last_seq is None or self.kind in WHOLE_KINDS:
            return 1
        return self.last_seq - self.first_seq + 1

    def followed_by(self, other: Finding) -> bool:
        """True if `other` is the same difference at the next reading."""
        return (
            self.last_seq is not None
            and self.kind not in WHOLE_KINDS
            and other.first_seq == self.last_seq + 1
            and replace(other, first_seq=self.first_seq, last_seq=self.last_seq) == self
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a verification: numbers of distinct sensors, of rows, and of databases, and all differences.

    `counts` has the number of readings, episodes, epochs, sensors or databases with each kind of difference; `findings`
    has the first of each kind. `quarantined` are files that were not opened, `skipped` are files with the reason, and notes about
    databases that are no differences. `paused` are lines about sensors that have not all readings of the last run because
    an operator has paused them.
    """

    sensors: int
    readings: int
    episodes: int
    databases: int
    counts: Mapping[str, int]
    findings: tuple[Finding, ...]
    quarantined: tuple[str, ...]
    skipped: tuple[str, ...]
    seconds: float
    paused: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.counts


@dataclass(slots=True)
class FindingLog:
    """Collects findings: all are counted, the first of each kind are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    _kept: dict[str, list[Finding]] = field(default_factory=lambda: {kind: [] for kind in FINDING_TITLES})

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it or extend the one before it."""
        kept = self._kept[finding.kind]
        first, last = finding.first_seq, finding.last_seq
        several = finding.kind in RANGE_KINDS and first is not None and last is not None
        self.counts[finding.kind] += last - first + 1 if several and last is not None and first is not None else 1
        if kept and kept[-1].followed_by(finding):
            kept[-1] = replace(kept[-1], last_seq=finding.last_seq)
        elif len(kept) < MAX_FINDINGS_PER_KIND:
            kept.append(finding)

    def extend(self, other: FindingLog) -> None:
        """Add all findings of another log."""
        self.counts.update(other.counts)
        for kind, findings in other._kept.items():
            self._kept[kind] += findings[: MAX_FINDINGS_PER_KIND - len(self._kept[kind])]

    def is_full(self, kind: str) -> bool:
        """True if further findings of that kind are only counted, so that their details need not be worked out."""
        return len(self._kept[kind]) >= MAX_FINDINGS_PER_KIND

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for kept in self._kept.values() for finding in kept)
