"""Where readings go: the protocol of a sink, and what passes through it.

To add a sink: one class with these three methods. A sink keeps each sensor's place together with its readings, in
one transaction, so that nothing is lost or doubled whenever a process dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from worker.readings.generator import Block, Episode
from worker.schedule import Schedule
from worker.spec import Identity, Settings


class Unavailable(Exception):
    """The sink does not take data now. `str(error)` is the reason, for people.

    `outcome_unknown` says that it is unknown whether the last transaction took place: claim again before delivering again.
    `recreated` says that what the sink held is gone, damaged, deleted or replaced, and that it begins anew.
    """

    def __init__(self, reason: str, *, outcome_unknown: bool, recreated: bool = False) -> None:
        super().__init__(reason)
        self.outcome_unknown, self.recreated = outcome_unknown, recreated


class Fenced(Exception):
    """A newer incarnation owns the sensor: this worker must never write again."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """From `schedule.first_seq` on the sensor behaves by `settings`. `run` is the number of the run that began it."""

    seed: int
    run: int
    reason: str
    identity: Identity
    settings: Settings
    schedule: Schedule


class Position(NamedTuple):
    """Where a sensor stands: the next sequence number to settle, and the epoch it is in (None: brand new)."""

    next_seq: int
    epoch: Epoch | None


@dataclass(frozen=True, slots=True)
class Portion:
    """What one transaction settles of one sensor.

    `epoch` is new if given and begins at the portion's first reading; `previous` is the schedule that it ends.
    `running` are episodes that began before and go on. `truncate` shortens the record of an episode that outlasts the portion to the portion's end.
    An empty portion (`block` None) stays at `next_seq`.
    """

    identity: Identity
    settings: Settings
    schedule: Schedule
    next_seq: int
    block: Block | None
    epoch: Epoch | None = None
    previous: Schedule | None = None
    running: tuple[Episode, ...] = ()
    truncate: bool = False

    @property
    def end(self) -> int:
        return self.block.end if self.block else self.next_seq


class Sink(Protocol):
    def claim(self, sensors: Sequence[Identity], incarnation: int) -> list[Position]:
        """Open the sink if need be, take the sensors over, and say where each stands, in the order given.

        Raises Fenced if a newer incarnation has them, Unavailable if the sink cannot be opened.
        """

    def deliver(self, portions: Sequence[Portion]) -> None:
        """Settle all portions or none. Raises Fenced or Unavailable."""

    def close(self) -> None: ...
