"""Whether every sensor of the last run has settled all readings that were due in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleet.audit import Standing
from fleet.data_directory import DataDirectory
from fleet.errors import UserError
from fleet.findings import Finding, Ledger
from fleet.roster import Member, Roster
from worker.schedule import SECOND

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_roster(data: Path) -> Roster:
    """The roster of the last run. UserError if there is none, or if that run had no end."""
    path = DataDirectory(data).roster
    try:
        roster = Roster.read(path)
    except FileNotFoundError:
        raise UserError(f"--complete: {data}: no fleet has run here") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"--complete: {path}: is not a roster: {type(error).__name__}: {error}") from error
    if roster.duration is None:
        raise UserError(f"--complete: the last run in {data} was started without --for, so nothing says what was due")
    return roster


def due(roster: Roster, standing: Standing) -> int:
    """The sequence number at which the run ends for a sensor that is in the given schedule."""
    schedule = standing.schedule
    assert schedule is not None
    assert roster.duration is not None
    start_us = (datetime.fromisoformat(roster.start_time) - EPOCH) // timedelta.resolution
    left = start_us + round(roster.duration * SECOND) - schedule.start_us
    return schedule.first_seq + max(0, schedule.count(left))


def check_complete(roster: Roster, standings: Mapping[str, Standing], sensor: str | None, ledger: Ledger) -> None:
    """Note every member, or the one asked for, that has not settled what was due."""
    members = [member for member in roster.members if sensor in (None, member.sensor_id)]
    if not members:
        raise UserError(f"--complete: {sensor} took no part in the last run")
    for member in members:
        note(roster, member, standings.get(member.sensor_id), ledger)


def note(roster: Roster, member: Member, standing: Standing | None, ledger: Ledger) -> None:
    if standing is None:
        first = last = None
        detail = "no database has a checkpoint of it"
    elif standing.schedule is None:
        first = last = None
        detail = f"{standing.next_seq:,} readings are settled, and no epoch says how many were due"
    else:
        first, last = standing.next_seq, due(roster, standing) - 1
        if first > last:
            return
        detail = f"{first:,} of {last + 1:,} readings are settled"
    ledger.note(Finding("incomplete", member.sensor_id, member.database.name, first, last, detail))
