"""The verification of a data directory: all its databases, the links between them, and the last run's completeness."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from fleet.datadir.directory import DataDirectory, database_folder
from fleet.datadir.interventions import read_interventions
from fleet.datadir.manifest import FleetManifest
from fleet.datadir.readings import file_size, path_exists
from fleet.datadir.roster import Member, Roster
from fleet.durations import duration_text
from fleet.errors import UserError
from fleet.monitoring.paused import PausedSensor, open_pause, readings_in_pauses, total_paused
from fleet.verify.audit import AuditResult, AuditScope, SensorPosition, audit_database
from fleet.verify.findings import Finding, FindingLog, Verdict
from fleet.verify.recorded_sensors import (
    SensorRecords,
    check_databases,
    check_positions,
    describe_shorter,
    describe_unstarted,
    read_records,
    sensors_not_named,
)
from fleet.verify.rotation_links import check_rotation_links, is_rotated
from worker.schedule import SECOND_US, Schedule
from worker.spec import Pause, Resume
from worker.storage.database_files import inode
from worker.storage.rotation import ROTATED_SUFFIX

MOVED_ASIDE_SUFFIX = re.compile(r"\.before-\d+$")
QUARANTINED_SUFFIX = re.compile(r"\.quarantined-\d+$")

MAX_PAUSED_LISTED = 20
MAX_KEEPS_LISTED = 3

ProgressCallback = Callable[[int, int], None]
"""Takes the bytes of databases that are done, and the bytes of all."""

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LastRun:
    """The members of the last run, its number, how it resumed, and the simulated times of its start and end, in microseconds
    since 1970. `pauses` are those on record, by sensor."""

    members: tuple[Member, ...]
    number: int
    resume: Resume
    start_us: int
    end_us: int
    pauses: Mapping[str, tuple[Pause, ...]]


def verify(
    data: Path,
    *,
    sensor: str | None = None,
    complete: bool = False,
    on_progress: ProgressCallback = lambda _done, _total: None,
) -> Verdict:
    """Check the databases of a data directory, also while a fleet writes to them. With `sensor`, check only that one.
    Nothing outside the directory is looked at, except the database of a single worker, which is two levels above its own.

    `complete` also requires that every member of the last run has committed all readings that were due; in a pause none
    are. UserError if there is nothing to check, or if the last run has no end.
    """
    started_at = time.monotonic()
    if not data.is_dir():
        raise UserError(f"--data: {data} is not a directory")
    run = read_last_run(data) if complete else None
    records = read_records(data)  # before the databases are listed: a running fleet may add some
    folder, manifest = database_folder(data), records.manifest
    # A single worker may share its database with others, which have seeds of their own.
    seeds = {sensor_id: manifest.seed for sensor_id, _ in manifest.sensors} if manifest else {}
    finding_log = FindingLog()
    paths = find_databases(data, folder, records.database_names)
    results: dict[Path, AuditResult] = {}
    with gc_paused():
        for path, progress in with_progress(paths, on_progress):
            of_path = {} if is_moved_aside(path) or is_rotated(path) else seeds
            found = FindingLog()
            result = audit_database(path, AuditScope(sensor, of_path), found, progress)
            if is_rotated(path) and not path_exists(path):
                continue  # removed meanwhile, which must be on record
            results[path] = result
            if not sensor or may_hold_sensor(path, sensor, manifest):
                finding_log.extend(found)
        check_rotation_links(
            results, lambda path: audit_database(path, AuditScope(sensor), finding_log, lambda _: None), finding_log
        )
    positions, homes = sensor_positions(results, finding_log)
    notes = check_records(data, records, homes, sensor, finding_log)
    for finding in check_positions(records, read_records(data), positions, sensor):
        finding_log.add(finding)
    notes += describe_computed(results)
    notes += describe_removed(results)
    notes += describe_shorter(records, {name: position.next_seq for name, position in positions.items()})
    paused = check_complete(run, positions, sensor, finding_log) if run else []
    verdict = build_verdict(data, sensor, results, finding_log, time.monotonic() - started_at)
    return replace(verdict, skipped=(*verdict.skipped, *notes), paused=describe_each(paused))


def check_records(
    data: Path, records: SensorRecords, homes: Mapping[str, str], sensor: str | None, finding_log: FindingLog
) -> list[str]:
    """Note the contradictions between the records and the databases. Returns a line about sensors that never started."""
    for finding in check_databases(records, homes, database_folder(data), sensor):
        finding_log.add(finding)
    manifest = DataDirectory(data).read_manifest()  # again: sensors may have joined meanwhile
    if manifest and database_folder(data) == data:
        for finding in sensors_not_named(manifest, homes, {each.sensor_id for each in records.sensors}):
            finding_log.add(finding)
    unstarted = describe_unstarted(records, homes) if sensor is None else None
    return [unstarted] if unstarted else []


def describe_computed(results: Mapping[Path, AuditResult]) -> Iterator[str]:
    """Yield a note about the readings that are not stored, and that no check of a directory can compare."""
    counts = [result.computed for result in results.values() if result.computed]
    if counts:
        databases = "1 database that stores" if len(counts) == 1 else f"{len(counts):,} databases that store"
        yield (
            f"{sum(counts):,} scheduled readings of {databases} none (--store none): only checkpoints, epochs and episodes "
            "are verified; --against compares the readings that a target has"
        )


def describe_removed(results: Mapping[Path, AuditResult]) -> Iterator[str]:
    """Yield a note about the readings that were removed on record, and are gone."""
    present = {path.name for path in results}
    gone = {
        (sensor, removal.generation, removal.first): removal
        for result in results.values()
        for sensor, removals in result.removals.items()
        for removal in removals
        if removal.file not in present
    }
    if gone:
        keeps = sorted({removal.keep_us for removal in gone.values()})
        kept = ", ".join(duration_text(keep_us / SECOND_US) for keep_us in keeps[:MAX_KEEPS_LISTED])
        count = sum(removal.readings for removal in gone.values())
        yield (
            f"{count:,} readings were removed on record (keep: {kept}{', ...' if keeps[MAX_KEEPS_LISTED:] else ''}); "
            "the epochs that are kept determine them"
        )


def build_verdict(
    data: Path,
    sensor: str | None,
    results: dict[Path, AuditResult],
    finding_log: FindingLog,
    seconds: float,
) -> Verdict:
    """Sum up the results. UserError if nothing was checked."""
    checked = [result for result in results.values() if result.skipped is None]
    quarantined = tuple(sorted(path.name for path in data.iterdir() if QUARANTINED_SUFFIX.search(path.name)))
    sensors = {name for result in checked for name in result.sensors}
    if not checked and not finding_log.counts:
        raise UserError(f"--data: there is no database of a fleet in {data}")
    if sensor is not None and sensor not in sensors and not finding_log.counts:
        raise UserError(f"--sensor: there is no sensor {sensor} in {data}")
    return Verdict(
        sensors=len(sensors),
        readings=sum(result.readings for result in checked),
        episodes=sum(result.episodes for result in checked),
        databases=sum(1 for result in checked if sensor is None or result.sensors),
        counts=dict(finding_log.counts),
        findings=finding_log.findings,
        quarantined=quarantined,
        skipped=tuple(f"{path.name}: {result.skipped}" for path, result in results.items() if result.skipped),
        seconds=seconds,
    )


def find_databases(data: Path, folder: Path, names: set[str]) -> list[Path]:
    """Return all databases of a data directory, including those in `names` that do not end in .db. `folder` is that of
    the databases; only those in `names` are taken from another folder than `data`."""
    named = {folder / name for name in names}
    paths = sorted({*data.glob("*.db"), *(path for path in named if path.is_file())})
    live = {inode(path) for path in paths if not is_rotated(path)}
    # A database that is being rotated has both names for a moment.
    return [path for path in paths if not (is_rotated(path) and inode(path) in live)]


def is_moved_aside(path: Path) -> bool:
    """True if the database was moved aside for a new one. It is complete, but no longer a part of the fleet."""
    return MOVED_ASIDE_SUFFIX.search(path.stem) is not None


def may_hold_sensor(path: Path, sensor: str, manifest: FleetManifest | None) -> bool:
    """True unless the name of a database shows that it does not have the sensor."""
    if manifest is None or manifest.layout == "shared":
        return True
    workers = {sensor, *(worker for name, worker in manifest.sensors if name == sensor)}
    return ROTATED_SUFFIX.sub("", MOVED_ASIDE_SUFFIX.sub("", path.stem)) in workers


def sensor_positions(
    results: dict[Path, AuditResult], finding_log: FindingLog
) -> tuple[dict[str, SensorPosition], dict[str, str]]:
    """Return the position of each sensor of the fleet, and the name of its database. Notes sensors that are in more than
    one database."""
    positions: dict[str, SensorPosition] = {}
    homes: dict[str, str] = {}
    for path, result in results.items():
        if is_moved_aside(path) or is_rotated(path):
            continue
        for sensor, position in result.sensors.items():
            if sensor in homes:
                finding_log.add(Finding("doubled", sensor, path.name, None, None, f"it is in {homes[sensor]} as well"))
            else:
                homes[sensor], positions[sensor] = path.name, position
    return positions, homes


def with_progress(paths: list[Path], on_progress: ProgressCallback) -> Iterator[tuple[Path, Callable[[float], None]]]:
    """Yield each path with a function that takes the share of it that is done."""
    sizes = [file_size(path) for path in paths]
    total, done = sum(sizes), 0
    for path, bytes_ in zip(paths, sizes, strict=True):
        before = done

        def progress(share: float, before: int = before, bytes_: int = bytes_) -> None:
            on_progress(before + round(min(1.0, max(0.0, share)) * bytes_), total)

        yield path, progress
        done += bytes_
        on_progress(done, total)


@contextmanager
def gc_paused() -> Iterator[None]:
    """Turn off garbage collection while the context is open. It would traverse the tuples of each chunk again and again
    (8 % of the time), and they contain no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


# Completeness


def read_last_run(data: Path) -> LastRun:
    """Return the last run on a data directory. UserError if there was none, or if it had no end."""
    path = DataDirectory(data).roster
    try:
        roster = Roster.read(path)
    except FileNotFoundError:
        raise UserError(f"--complete: {data}: no fleet has run here") from None
    except OSError as error:
        raise UserError(f"--complete: {path}: cannot be read: {error.strerror}") from error
    if roster.duration is None:
        raise UserError(
            f"--complete: the last run in {data} was started without --for, so it is not known what was due"
        )
    try:
        start_us = (datetime.fromisoformat(roster.start_time) - UNIX_EPOCH) // timedelta.resolution
        end_us = start_us + round(roster.duration * SECOND_US)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"--complete: {path}: invalid start time or duration: {error}") from error
    pauses = read_interventions(DataDirectory(data).interventions).pauses
    return LastRun(roster.members, roster.run, roster.resume, start_us, end_us, pauses)


def check_complete(
    run: LastRun, positions: Mapping[str, SensorPosition], sensor: str | None, finding_log: FindingLog
) -> list[PausedSensor]:
    """Note every member, or only `sensor`, that has not committed all readings that were due. Returns those that are
    paused."""
    members = [member for member in run.members if sensor in (None, member.sensor_id)]
    if not members:
        raise UserError(f"--complete: {sensor} took no part in the last run")
    paused = []
    for member in members:
        position, pauses = positions.get(member.sensor_id), run.pauses.get(member.sensor_id, ())
        pause, schedule = open_pause(pauses), schedule_of(run, member, position)
        if pause is not None:
            begin = max(schedule.seq_after(max(pause.from_us, run.start_us) - 1), position.next_seq if position else 0)
            not_due = max(0, schedule.end_seq(run.end_us) - begin)
            paused.append(PausedSensor(member.sensor_id, pause.from_us, not_due))
            if not (position and position.next_seq) and pause.from_us <= run.start_us:
                continue
        first, last, detail = missing_range(run, schedule, position, pauses)
        if detail:
            finding_log.add(Finding("incomplete", member.sensor_id, member.database.name, first, last, detail))
    return paused


def schedule_of(run: LastRun, member: Member, position: SensorPosition | None) -> Schedule:
    """Return the schedule of the sensor's next reading: that of its last epoch, or of the one that it begins with the
    run."""
    next_seq, first_us = 0, member.first_due_us or run.start_us
    if position is not None and position.schedule is not None:
        if run.resume == "catch_up" or position.epoch_run >= run.number:
            return position.schedule
        next_seq, first_us = position.next_seq, max(first_us, position.schedule.time(position.next_seq))
    return Schedule(next_seq, first_us, Fraction(str(member.rate)))


def missing_range(
    run: LastRun, schedule: Schedule, position: SensorPosition | None, pauses: Sequence[Pause]
) -> tuple[int | None, int | None, str]:
    """Return the first and last reading that was due and is not committed, and a text, which is empty if there is none."""
    if position is None:
        return None, None, "no database has a checkpoint of it"
    committed = position.next_seq
    if position.schedule is None and committed:
        return None, None, f"{committed:,} readings are committed; how many were due is unknown without an epoch"
    end = schedule.end_seq(run.end_us)
    due = end - readings_in_pauses(pauses, schedule, committed, end)
    return committed, due - 1, f"{committed:,} of {due:,} readings are committed" if committed < due else ""


def describe_each(paused: Sequence[PausedSensor]) -> tuple[str, ...]:
    """Return a line for each paused sensor, and one about those that are too many to be listed."""
    lines = [f"{sensor.sensor_id}: {total_paused([sensor])}" for sensor in paused[:MAX_PAUSED_LISTED]]
    if more := paused[MAX_PAUSED_LISTED:]:
        lines.append(f"{len(more):,} more sensors: {total_paused(more)}")
    return tuple(lines)
