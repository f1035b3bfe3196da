"""The proof that nothing was lost, doubled or altered: every reading is computed again and compared with its row."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.datadir.directory import DataDirectory
from fleet.datadir.manifest import FleetManifest
from fleet.datadir.readings import file_size
from fleet.errors import UserError
from fleet.verify.audit import AuditResult, AuditScope, SensorPosition, audit_database
from fleet.verify.completeness import LastRun, check_complete, read_last_run
from fleet.verify.findings import Finding, FindingLog, Verdict
from fleet.verify.links import check_rotation_links
from worker.storage.database_files import inode
from worker.storage.rotation import ROTATED_SUFFIX

MOVED_ASIDE_SUFFIX = re.compile(r"\.before-\d+$")
QUARANTINED_SUFFIX = re.compile(r"\.quarantined-\d+$")

ProgressCallback = Callable[[int, int], None]
"""Told how much is done of how much there is, in bytes of databases."""


def verify(
    data: Path,
    *,
    sensor: str | None = None,
    complete: bool = False,
    on_progress: ProgressCallback = lambda _done, _total: None,
) -> Verdict:
    """Check the databases of a data directory, also while a fleet writes to them; `sensor` limits it to one.

    `complete` also demands that every member of the last run has settled all that was due in it. UserError if there
    is nothing to check, or nothing that says what was due.
    """
    begun = time.monotonic()
    if not data.is_dir():
        raise UserError(f"--data: {data} is not a directory")
    run = read_last_run(data) if complete else None
    record = DataDirectory(data).read_manifest()
    finding_log = FindingLog()
    paths = find_databases(data, run)
    results: dict[Path, AuditResult] = {}
    with gc_paused():
        for path, progress in with_progress(paths, on_progress):
            seed = record.seed if record and not (is_moved_aside(path) or is_rotated(path)) else None
            scoped = FindingLog() if sensor and not may_hold_sensor(path, sensor, record) else finding_log
            results[path] = audit_database(path, AuditScope(sensor, seed), scoped, progress)
        check_rotation_links(
            results, lambda path: audit_database(path, AuditScope(sensor), finding_log, lambda _: None), finding_log
        )
    positions = sensor_positions(results, finding_log)
    if run:
        check_complete(run, positions, sensor, finding_log)
    return build_verdict(data, sensor, results, finding_log, time.monotonic() - begun)


def build_verdict(
    data: Path,
    sensor: str | None,
    results: dict[Path, AuditResult],
    finding_log: FindingLog,
    seconds: float,
) -> Verdict:
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


def find_databases(data: Path, run: LastRun | None) -> list[Path]:
    """All databases of the directory, also those that a config has given another ending."""
    named = {data / member.database.name for member in run.members} if run else set()
    if run and not any(path.exists() for path in named):  # a single worker's, which lies beside its directory
        named = {member.database for member in run.members}
    found = sorted({*data.glob("*.db"), *(path for path in named if path.exists())})
    live = {inode(path) for path in found if not is_rotated(path)}
    # One that is being rotated has both names for a moment.
    return [path for path in found if not (is_rotated(path) and inode(path) in live)]


def is_moved_aside(path: Path) -> bool:
    """Whether it was moved out of the way of a new one: whole in itself, but no part of the fleet any more."""
    return MOVED_ASIDE_SUFFIX.search(path.stem) is not None


def is_rotated(path: Path) -> bool:
    """Whether another has its place, which goes on where it ends."""
    return ROTATED_SUFFIX.search(path.stem) is not None


def may_hold_sensor(path: Path, sensor: str, record: FleetManifest | None) -> bool:
    """Whether a database may hold that sensor, as far as its name tells."""
    if record is None or record.layout == "shared":
        return True
    workers = {sensor, *(worker for name, worker in record.sensors if name == sensor)}
    return ROTATED_SUFFIX.sub("", MOVED_ASIDE_SUFFIX.sub("", path.stem)) in workers


def sensor_positions(results: dict[Path, AuditResult], finding_log: FindingLog) -> dict[str, SensorPosition]:
    """Where each sensor of the fleet stands. It has one database."""
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
    return positions


def with_progress(paths: list[Path], on_progress: ProgressCallback) -> Iterator[tuple[Path, Callable[[float], None]]]:
    """Each path with what to tell of its share that is done."""
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
    """Without garbage collection: a chunk is a hundred thousand tuples, which it would go through again and again
    (8 % of the time), and there are no cycles among them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
