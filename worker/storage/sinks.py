"""The protocol of a sink, which stores the readings of a worker, and the data that passes through it.

To add a sink: one class with the methods of `Sink`, constructed instead of `Database` in `worker.process.main`. A sink
must store the position of each sensor in the same transaction as its readings, so that no reading is lost or stored
twice if a process dies.
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

    With `outcome_unknown` it is unknown whether the last transaction took place: claim again before the next delivery.
    With `recreated` the content of the sink was damaged, deleted or replaced, and a new one is begun.
    """

    def __init__(self, reason: str, *, outcome_unknown: bool, recreated: bool = False) -> None:
        super().__init__(reason)
        self.outcome_unknown, self.recreated = outcome_unknown, recreated


class Fenced(Exception):
    """A newer incarnation owns the sensor: this worker must never write again."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A range of readings from `schedule.first_seq` on with the same settings. `run` is the run that began it."""

    seed: int
    run: int
    reason: str
    identity: Identity
    settings: Settings
    schedule: Schedule


class Position(NamedTuple):
    """The next sequence number of a sensor to commit, and its stored epoch (None for a new sensor)."""

    next_seq: int
    epoch: Epoch | None


@dataclass(frozen=True, slots=True)
class Portion:
    """The part of one transaction that concerns one sensor.

    `epoch`, if given, is new and begins at the portion's first reading; `previous` is the schedule that it ends.
    `running` are episodes that began before the portion and continue. `truncate` cuts the record of an episode that
    outlasts the portion. An empty portion (`block` None) stays at `next_seq`.
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
        """The sequence number after the portion's last reading."""
        return self.block.end if self.block else self.next_seq


class Sink(Protocol):
    """A store for the readings of one worker."""

    def claim(self, sensors: Sequence[Identity], incarnation: int) -> list[Position]:
        """Open the sink if necessary, take the sensors over, and return their positions in order.

        Raises Fenced if a newer incarnation owns one, Unavailable if the sink cannot be opened.
        """

    def deliver(self, portions: Sequence[Portion]) -> None:
        """Commit all portions or none. Raises Fenced or Unavailable."""

    def check(self) -> None:
        """Check that the sink has what was delivered, before the worker ends. Raises Unavailable."""

    def close(self) -> None:
        """Release the sink. A closed sink can be claimed again."""
