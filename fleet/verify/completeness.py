"""Whether every sensor of the last run has settled all readings that were due in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleet.datadir.directory import DataDirectory
from fleet.datadir.roster import Member, Roster
from fleet.errors import UserError
from fleet.verify.audit import SensorPosition
from fleet.verify.findings import Finding, FindingLog
from worker.schedule import SECOND_US

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LastRun:
    """Who took part in a run, and the simulated time at which it ends, microseconds since 1970."""

    members: tuple[Member, ...]
    end_us: int


def read_last_run(data: Path) -> LastRun:
    """The last run on a data directory. UserError if there was none, or none with an end."""
    path = DataDirectory(data).roster
    try:
        roster = Roster.read(path)
    except FileNotFoundError:
        raise UserError(f"--complete: {data}: no fleet has run here") from None
    except OSError as error:
        raise UserError(f"--complete: {path}: cannot be read: {error.strerror}") from error
    if roster.duration is None:
        raise UserError(f"--complete: the last run in {data} was started without --for, so nothing says what was due")
    try:
        start_us = (datetime.fromisoformat(roster.start_time) - UNIX_EPOCH) // timedelta.resolution
        return LastRun(roster.members, start_us + round(roster.duration * SECOND_US))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"--complete: {path}: nothing can be made of its times: {error}") from error


def check_complete(
    run: LastRun, positions: Mapping[str, SensorPosition], sensor: str | None, finding_log: FindingLog
) -> None:
    """Note every member, or the one asked for, that has not settled what was due."""
    members = [member for member in run.members if sensor in (None, member.sensor_id)]
    if not members:
        raise UserError(f"--complete: {sensor} took no part in the last run")
    for member in members:
        first, last, detail = missing_range(run, positions.get(member.sensor_id))
        if detail:
            finding_log.add(Finding("incomplete", member.sensor_id, member.database.name, first, last, detail))


def missing_range(run: LastRun, position: SensorPosition | None) -> tuple[int | None, int | None, str]:
    """The readings that were due and are not settled, and how to say it; an empty text if there are none."""
    if position is None:
        return None, None, "no database has a checkpoint of it"
    settled, schedule = position.next_seq, position.schedule
    if schedule is None:
        return None, None, f"{settled:,} readings are settled, and no epoch says how many were due"
    due = schedule.end_seq(run.end_us)
    return settled, due - 1, f"{settled:,} of {due:,} readings are settled" if settled < due else ""
