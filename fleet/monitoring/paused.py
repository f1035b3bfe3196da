"""The sensors that are paused: since when, and how many readings are not due because of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from fleet.datadir.roster import Member
from worker.schedule import Schedule, format_time
from worker.scoreboard import Rows
from worker.spec import Pause


class PausedSensor(NamedTuple):
    """A sensor that is paused since `since_us` (simulated time). `not_due` readings of the run are left out by that, None
    if the end of the run is not known."""

    sensor_id: str
    since_us: int
    not_due: int | None


def open_pause(pauses: Iterable[Pause]) -> Pause | None:
    """Return the pause without an end, None if there is none."""
    return next((pause for pause in pauses if pause.until_us is None), None)


def readings_in_pauses(pauses: Iterable[Pause], schedule: Schedule, first_seq: int, end_seq: int) -> int:
    """Count the sequence numbers of a schedule, from `first_seq` until before `end_seq`, that are in one of the pauses."""
    count = 0
    for pause in pauses:
        begin = max(first_seq, schedule.seq_after(pause.from_us - 1))
        end = end_seq if pause.until_us is None else min(end_seq, schedule.seq_after(pause.until_us - 1))
        count += max(0, end - begin)
    return count


def paused_sensors(
    members: Sequence[Member],
    rows: Rows,
    pauses: Mapping[str, Sequence[Pause]],
    start_us: int,
    end_us: int | None,
) -> list[PausedSensor]:
    """Return the members that are paused in a run from `start_us` until `end_us`. `rows` are those of the members on the
    scoreboard, `pauses` those of all sensors."""
    found = []
    for member, last_us in zip(members, rows["timestamp_us"].tolist(), strict=True):
        pause = open_pause(pauses.get(member.sensor_id, ()))
        if pause is None:
            continue
        not_due = None
        if end_us is not None:
            schedule = Schedule(0, last_us or member.first_due_us or start_us, Fraction(str(member.rate)))
            begin = schedule.seq_after(max(pause.from_us, start_us, last_us + 1) - 1)
            not_due = max(0, schedule.end_seq(end_us) - begin)
        found.append(PausedSensor(member.sensor_id, pause.from_us, not_due))
    return found


class PausedTotal(NamedTuple):
    """The number of paused sensors, the time since which the first of them is paused, and their readings that are not due."""

    sensors: int
    since: str
    not_due: int | None

    def __str__(self) -> str:
        """Describe it as `paused since 2026-01-01T00:00:01.500000+00:00, 380 readings not due`."""
        plural = "s" if self.not_due != 1 else ""
        return f"paused since {self.since}" + (
            "" if self.not_due is None else f", {self.not_due:,} reading{plural} not due"
        )


def total_paused(paused: Sequence[PausedSensor]) -> PausedTotal:
    """Add up paused sensors, at least one."""
    counts = [sensor.not_due for sensor in paused if sensor.not_due is not None]
    since = format_time(min(sensor.since_us for sensor in paused))
    return PausedTotal(len(paused), since, sum(counts) if counts else None)
