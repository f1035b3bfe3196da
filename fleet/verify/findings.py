"""What can be wrong with the data of a fleet, and how it is told: one finding per wrong thing, a verdict over all.

To add a kind of finding: its line in FINDING_TITLES, and whoever sees it calls `FindingLog.add`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FINDING_TITLES = {
    "unreadable": "databases that cannot be read",
    "checkpoint": "checkpoints that cannot be right",
    "epoch": "epochs that cannot be right",
    "doubled": "sensors with more than one database",
    "hole": "readings that are not there",
    "repeat": "readings that are there again",
    "order": "readings out of order",
    "altered": "readings with other values",
    "label": "readings with a wrong label",
    "identity": "readings with a wrong identity",
    "beyond": "readings beyond the checkpoint",
    "stray": "readings that belong to nobody or to no time",
    "episode missing": "episodes that are not on record",
    "episode extra": "episodes on record that never were",
    "episode altered": "episodes with another record",
    "incomplete": "sensors that have not settled all that was due",
    "not delivered": "readings that did not arrive",
    "delivered twice": "readings that arrived again",
    "delivered altered": "readings that arrived with other values",
    "delivered out of order": "readings that arrived behind later ones",
    "delivered, never generated": "readings that arrived and never were",
    "episode not delivered": "episodes that did not arrive",
    "episode delivered altered": "episodes that arrived as others",
    "epoch not delivered": "epochs that did not arrive",
    "epoch delivered altered": "epochs that arrived as others",
}
"""Each kind of finding with its title, in the order in which they are told."""

RANGE_KINDS = {"hole", "not delivered"}
"""Kinds of which a finding is about all its sequence numbers from first to last, and counts as many."""

MAX_FINDINGS_PER_KIND = 1000
"""Findings of one kind that are kept; more are only counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One wrong thing. `database` is a file's name; sequence numbers are inclusive, None where it has none."""

    kind: str
    sensor_id: str | None
    database: str
    first_seq: int | None
    last_seq: int | None
    detail: str

    def followed_by(self, other: Finding) -> bool:
        """Whether the other is the same trouble, one reading on."""
        return (
            self.last_seq is not None
            and other.first_seq == self.last_seq + 1
            and replace(other, first_seq=self.first_seq, last_seq=self.last_seq) == self
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was checked and what was found. `sensors` are different ones, `readings` and `episodes` rows.

    `counts` has for each kind how many readings, episodes, epochs, sensors or databases are wrong in that way;
    `findings` has the first of them. `quarantined` are files that were left alone, `skipped` those with the reason.
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

    @property
    def ok(self) -> bool:
        return not self.counts


@dataclass(slots=True)
class FindingLog:
    """Findings as they are made: all are counted, the first of each kind are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    _kept: dict[str, list[Finding]] = field(default_factory=lambda: {kind: [] for kind in FINDING_TITLES})

    def add(self, finding: Finding) -> None:
        kept = self._kept[finding.kind]
        first, last = finding.first_seq, finding.last_seq
        several = finding.kind in RANGE_KINDS and first is not None and last is not None
        self.counts[finding.kind] += last - first + 1 if several and last is not None and first is not None else 1
        if kept and kept[-1].followed_by(finding):
            kept[-1] = replace(kept[-1], last_seq=finding.last_seq)
        elif len(kept) < MAX_FINDINGS_PER_KIND:
            kept.append(finding)

    def is_full(self, kind: str) -> bool:
        """Whether more findings of that kind are only counted, so that nobody need look closer at them."""
        return len(self._kept[kind]) >= MAX_FINDINGS_PER_KIND

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for kept in self._kept.values() for finding in kept)
