"""What a database has on record of its sensors, as of one snapshot: checkpoints and epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import apsw

from fleet.verification.chronicle import ENDLESS, MALFORMED, Stretch
from worker.schedule import SECOND, text
from worker.schema import epoch_of
from worker.sinks import Epoch
from worker.spec import Settings

HIGHEST_RATE = 100_000
EARLIEST, LATEST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND
"""The years 1 to 9999."""

CHECKPOINTS = "SELECT sensor_id, next_seq FROM checkpoints WHERE ?1 IS NULL OR sensor_id = ?1"
EPOCH_COUNT = "SELECT count(*) FROM epochs WHERE ?1 IS NULL OR sensor_id = ?1"
EPOCHS = """
    SELECT sensor_id, first_seq, start_time, start_us, reason, run, seed, identity, settings FROM epochs
    WHERE ?1 IS NULL OR sensor_id = ?1 ORDER BY sensor_id, first_seq
"""

Note = Callable[[str, str, int | None, str], None]
"""Told of a finding: kind, sensor, first seq, detail."""


@dataclass(slots=True)
class Books:
    """`checkpoints` and `stretches` by sensor. `seed` is what every epoch must have, None if nobody knows.

    A finding is told once, however often the same is read.
    """

    note: Note
    seed: int | None
    sensor: str | None
    checkpoints: dict[str, int] = field(default_factory=dict)
    stretches: dict[str, tuple[Stretch, ...]] = field(default_factory=dict)
    _epochs: int = -1
    _told: set[tuple[str, str, int | None, str]] = field(default_factory=set)
    _settings: dict[Settings, Settings] = field(default_factory=dict)

    def read(self, connection: apsw.Connection) -> bool:
        """Read them in the snapshot of the connection's transaction. Returns whether the epochs are others now."""
        self.checkpoints = {}
        for sensor_id, next_seq in connection.execute(CHECKPOINTS, (self.sensor,)):
            if isinstance(next_seq, int) and next_seq >= 0:
                self.checkpoints[sensor_id] = next_seq
            else:
                self.checkpoints[sensor_id] = 0
                self.tell("checkpoint", sensor_id, None, f"it is {next_seq!r}")
        count = connection.execute(EPOCH_COUNT, (self.sensor,)).get
        if count == self._epochs:
            self._settle_accounts()
            return False
        self._epochs = count
        rows = connection.execute(EPOCHS, (self.sensor,))
        self.stretches = {sensor_id: self._stretches(sensor_id, some) for sensor_id, some in groupby(rows, first)}
        self._settings.clear()
        self._settle_accounts()
        return True

    def tell(self, kind: str, sensor_id: str, first_seq: int | None, detail: str) -> None:
        finding = (kind, sensor_id, first_seq, detail)
        if finding not in self._told:
            self._told.add(finding)
            self.note(*finding)

    def _settle_accounts(self) -> None:
        """Every sensor has both a checkpoint and, once it has settled anything, epochs that lie before it."""
        for sensor_id, next_seq in self.checkpoints.items():
            if next_seq and sensor_id not in self.stretches:
                self.tell("epoch", sensor_id, None, f"there is none, and the checkpoint is at {next_seq}")
            self.stretches.setdefault(sensor_id, (Stretch(0, ENDLESS, None),))
        for sensor_id, stretches in self.stretches.items():
            if sensor_id not in self.checkpoints:
                self.checkpoints[sensor_id] = 0
                self.tell("checkpoint", sensor_id, None, "there is none, but epochs")
            elif stretches[-1].epoch and stretches[-1].first >= self.checkpoints[sensor_id]:
                where = f"it begins beyond the checkpoint, which is at {self.checkpoints[sensor_id]}"
                self.tell("epoch", sensor_id, stretches[-1].first, where)

    def _stretches(self, sensor_id: str, rows: Iterable[tuple[Any, ...]]) -> tuple[Stretch, ...]:
        begun: list[tuple[int, Epoch | None]] = []
        before: Epoch | None = None
        for _, first_seq, *row in rows:
            if not isinstance(first_seq, int) or first_seq < 0:
                self.tell("epoch", sensor_id, None, f"its first_seq is {first_seq!r}")
                continue
            if not begun and first_seq > 0:
                self.tell("epoch", sensor_id, first_seq, "it is the first, and does not begin with reading 0")
                begun.append((0, None))
            try:
                epoch = self._epoch(sensor_id, first_seq, before, *row)
            except MALFORMED as error:
                self.tell("epoch", sensor_id, first_seq, f"it cannot be read: {type(error).__name__}: {error}")
                epoch = None
            begun.append((first_seq, epoch))
            before = epoch or before
        ends = [*(first_seq for first_seq, _ in begun[1:]), ENDLESS]
        return (
            tuple(Stretch(*pair, None) for pair in [(0, ENDLESS)])
            if not begun
            else tuple(Stretch(first_seq, end, epoch) for (first_seq, epoch), end in zip(begun, ends, strict=True))
        )

    def _epoch(
        self, sensor_id: str, first_seq: int, before: Epoch | None, start_time: str, start_us: int, *row: Any
    ) -> Epoch:
        epoch = epoch_of(first_seq, start_us, *row)
        settings = self._settings.setdefault(epoch.settings, epoch.settings)
        epoch = replace(epoch, settings=settings)  # the sensors of a database share theirs
        for detail in complaints(epoch, sensor_id, start_time, before, self.seed):
            self.tell("epoch", sensor_id, first_seq, detail)
        return epoch


def complaints(epoch: Epoch, sensor_id: str, start_time: str, before: Epoch | None, seed: int | None) -> Iterable[str]:
    """What cannot be right with an epoch. Raises one of MALFORMED where it cannot even be judged."""
    schedule = epoch.schedule
    if not 0 < schedule.rate <= HIGHEST_RATE:
        raise ValueError(f"its rate is {epoch.settings.rate}")
    if not EARLIEST <= schedule.start_us < LATEST:
        raise ValueError(f"its start_us is {schedule.start_us}")
    if start_time != text(schedule.start_us):
        yield f"its start_time is {start_time}, must be {text(schedule.start_us)}"
    if epoch.identity.sensor_id != sensor_id:
        yield f"its identity is that of {epoch.identity.sensor_id}"
    if seed is not None and epoch.seed != seed:
        yield f"its seed is {epoch.seed}, that of the fleet is {seed}"
    if before and schedule.start_us < before.schedule.time(schedule.first_seq):
        ended = text(before.schedule.time(schedule.first_seq))
        yield f"it starts at {text(schedule.start_us)}, before the one before it ends at {ended}"


def first(row: tuple[Any, ...]) -> str:
    return str(row[0])
