"""The shares of anomalies in the scheduled readings of a fleet, by type and by what the sensors are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fleet.history.source import epoch_parts
from fleet.history.stored import StoredHistory
from fleet.plots.points import EpisodeRow, read_episode_rows
from worker.readings.anomalies import ANOMALY_TYPES, anomaly_class
from worker.spec import Identity

NO_TYPE = -1
UNKNOWN = "not stated"


class LabelledPart(NamedTuple):
    """The scheduled readings of one epoch of a sensor, and how many of them have each type of anomaly."""

    identity: Identity
    scheduled: int
    anomalous: Counter[str]


@dataclass(slots=True)
class GroupShares:
    """Sensors that have something in common, and the readings that they had while they did."""

    name: str
    sensors: set[str] = field(default_factory=set)
    scheduled: int = 0
    anomalous: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        return self.anomalous.total() / self.scheduled if self.scheduled else 0.0

    def share_of(self, kind: str) -> float:
        return self.anomalous[kind] / self.scheduled if self.scheduled else 0.0


def labelled_parts(history: StoredHistory) -> tuple[list[LabelledPart], list[EpisodeRow]]:
    """Return the labels of a sensor's readings, and its recorded episodes. UserError if they cannot be read."""
    rows = read_episode_rows(history, history.first, history.end)
    kinds = np.full(history.end - history.first, NO_TYPE, dtype=np.int8)
    for row in rows:
        if row.type in ANOMALY_TYPES:  # a foreign one is a finding of the verification
            part = kinds[max(row.first_seq - history.first, 0) : max(row.last_seq + 1 - history.first, 0)]
            number = ANOMALY_TYPES.index(row.type)
            if anomaly_class(row.type).channels == "none":
                part[:] = number
            else:
                part[part == NO_TYPE] = number  # of episodes that overlap, the one that began first
    parts = []
    for epoch, first, end in epoch_parts(history.epochs, history.first, history.end):
        inside = kinds[first - history.first : end - history.first]
        counts = np.bincount(inside[inside != NO_TYPE], minlength=len(ANOMALY_TYPES)).tolist()
        anomalous = Counter({kind: count for kind, count in zip(ANOMALY_TYPES, counts, strict=True) if count})
        parts.append(LabelledPart(epoch.identity, end - first, anomalous))
    return parts, rows


def group_by(parts: Iterable[LabelledPart], name: Callable[[Identity], str | None]) -> list[GroupShares]:
    """Group the readings by a property of the sensors, the group with the most sensors first."""
    groups: dict[str, GroupShares] = {}
    for identity, scheduled, anomalous in parts:
        label = name(identity) or UNKNOWN
        group = groups.setdefault(label, GroupShares(label))
        group.sensors.add(identity.sensor_id)
        group.scheduled += scheduled
        group.anomalous += anomalous
    return sorted(groups.values(), key=lambda group: (-len(group.sensors), group.name))


def city(identity: Identity) -> str | None:
    return identity.location.split(",")[0].strip() if identity.location else None


GROUPINGS: Sequence[tuple[str, Callable[[Identity], str | None]]] = (
    ("Kind", lambda identity: (identity.sensor_type or "").replace("_", " ")),
    ("Firmware", lambda identity: identity.firmware_version),
    ("Manufacturer", lambda identity: identity.manufacturer),
    ("City", city),
)
"""The tables of a report, with the property that each groups by."""
