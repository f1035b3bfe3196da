"""A backfill: the history of a fleet, written to a directory at once and on all cores.

`prepare` plans it, or finds what an earlier command has begun; `write` makes the files that are missing.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, cast

import psutil

from fleet.config.config import Config
from fleet.datadir.backfill_record import BackfillRecord, read_backfill, write_backfill
from fleet.datadir.directory import DataDirectory
from fleet.datadir.logs import prepare_log
from fleet.errors import UserError
from fleet.history.computed import Span, plan_history
from fleet.history.database_file import DatabaseFile
from fleet.history.jobs import FileGroup, HistoryFile, write_groups
from fleet.runtime.planner import Plan
from fleet.runtime.preparation import SPARE_SCOREBOARD_ROWS, initial_roster, log_spec, write_errors_as_user_error
from fleet.runtime.reload import ConfigSource
from worker.clock import boot_id
from worker.schedule import SECOND_US
from worker.scoreboard import Scoreboard
from worker.storage.schema import identity_to_json, settings_text

if TYPE_CHECKING:
    from fleet.history.formats.registry import FormatName

READINGS_PER_STEP = 4096
"""Readings of the fastest sensor between two turns: many, as each turn costs something, but few enough for the cache of the
processor."""

MAX_FILES_PER_GROUP = 8
GROUPS_PER_JOB = 3
"""Groups are smaller where there are few files, so that no core waits for the last group."""

SQLITE, NO_READINGS = "sqlite", "none"
"""The formats that make a data directory; the second has databases whose readings are computed when they are read."""

READINGS_FOLDER = "readings"
"""The folder of files that are no databases: programs that read a whole folder find nothing else in it."""

MAX_WAIT_SECONDS = 10.0

EXPECTED_NAMES = frozenset(("identities", "run"))
"""What a directory may have before a backfill: given identities, and what an earlier command left that was refused."""


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill into a directory that this process holds. `files` are all its files, in the order of the sensors."""

    config: Config
    directory: DataDirectory
    source: ConfigSource
    record: BackfillRecord
    plan: Plan
    files: Sequence[HistoryFile]

    @property
    def readings(self) -> int:
        """The scheduled readings of all files."""
        return sum(file.readings for file in self.files)

    @property
    def missing(self) -> list[HistoryFile]:
        return [file for file in self.files if not file.path.exists()]


def check_directory(path: Path, file_format: str) -> BackfillRecord | None:
    """Return the record of the backfill that was begun in a directory, None if it is a new one. Raises UserError if it has
    anything else."""
    record = read_backfill(path)
    if record is not None and record.format != file_format:
        raise UserError(
            f"--out: {path} has a history {record}: give --format {record.format}, or take another directory"
        )
    if record is None and path.is_dir():
        others = sorted(each.name for each in path.iterdir() if each.name not in EXPECTED_NAMES)
        if others:
            raise UserError(f"--out: {path} has other files, such as {others[0]}: take another directory")
    return record


def prepare(
    config: Config,
    directory: DataDirectory,
    source: ConfigSource,
    identities: Path | None,
    span: Span,
    file_format: str,
) -> Backfill:
    """Plan a backfill into a directory that `check_directory` has found fit, and hold it. Raises UserError."""
    directory.hold()
    plan = plan_history(config, directory, identities, span, time.time_ns() // 1000)
    content = content_hash(plan, file_format)
    old = read_backfill(directory.path)
    if old is not None and old.content != content:
        raise UserError(
            f"--out: {directory.path} has another history, {old}: give the flags and the config of that one, or take another "
            "directory"
        )
    record = old or BackfillRecord(file_format, span.start_us, span.end_us, plan.record.seed, content, boot_id())
    files = files_of(plan, directory, content, file_format)
    with write_errors_as_user_error(directory.path):
        if not record.complete and record.boot_id != boot_id():  # some may have come apart when the machine went down
            for file in files:
                file.path.unlink(missing_ok=True)
            record = replace(record, boot_id=boot_id())
        write_backfill(directory.path, record)
    return Backfill(config, directory, source, record, plan, files)


def content_hash(plan: Plan, file_format: str) -> str:
    """Return a hash of all that the files of a plan follow from."""
    run = plan.run
    digest = blake2b(f"{file_format} {run.seed} {run.start_us} {run.duration_us}".encode(), digest_size=16)
    for worker in plan.workers:
        digest.update(worker.store.path.name.encode())
        for sensor in worker.sensors:
            digest.update(repr((identity_to_json(sensor.identity), sensor.phase, sensor.pauses)).encode())
            digest.update(settings_text(sensor.settings).encode())
            for stage in sensor.stages:
                digest.update(f"{stage.at_us} {settings_text(stage.settings)}".encode())
    return digest.hexdigest()


def files_of(plan: Plan, directory: DataDirectory, content: str, file_format: str) -> Sequence[HistoryFile]:
    """Return the files of a backfill. UserError if the format needs an extra."""
    if file_format in (SQLITE, NO_READINGS):
        return database_files(plan, directory, content)
    from fleet.history.reading_files import reading_files

    return reading_files(plan, directory.path / READINGS_FOLDER, cast("FormatName", file_format))


def database_files(plan: Plan, directory: DataDirectory, content: str) -> list[HistoryFile]:
    """Return the databases of a plan: one for each worker, or one for all."""
    files: list[HistoryFile] = []
    for path, workers in groupby(plan.workers, key=lambda worker: worker.store.path):
        own = list(workers)
        sensors = tuple(sensor for worker in own for sensor in worker.sensors)
        files.append(DatabaseFile(path, sensors, plan.run, content, directory.scoreboard, own[0].store.readings))
    return files


def write(backfill: Backfill, jobs: int, on_progress: Callable[[int], None]) -> None:
    """Write the files that are missing, in processes. `on_progress` is called with numbers of readings that were written, or
    with a negative number of those that a killed process has written in vain. Raises UserError."""
    directory, is_data = backfill.directory, backfill.record.format in (SQLITE, NO_READINGS)
    with write_errors_as_user_error(directory.path):
        if not is_data:
            (directory.path / READINGS_FOLDER).mkdir(exist_ok=True)
        elif backfill.missing:
            check_is_unfinished(backfill)
            directory.write_manifest(backfill.plan.record)
            open_scoreboard(backfill)
        write_groups(groups_of(backfill, jobs), jobs, on_progress)
        if not backfill.record.complete:
            if is_data:
                publish(backfill)
            os.sync()  # not file by file, which would take several times as long
            write_backfill(directory.path, replace(backfill.record, complete=True))
        if not is_data:  # only the lock of this command is there
            shutil.rmtree(directory.run)


def check_is_unfinished(backfill: Backfill) -> None:
    """Raise UserError if databases are missing although they were all there: a fleet may have gone on from them."""
    if backfill.record.complete:
        gone = backfill.missing[0].path
        raise UserError(
            f"{gone}: is missing, although the history was complete: restore it, or take another --out directory"
        )


def wait_for_ended_command(directory: DataDirectory) -> None:
    """Wait until the processes of a command have ended that was killed: they notice it when they next report."""
    end = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < end and (holder := directory.holder()) is not None:
        if holder and psutil.pid_exists(holder):
            return
        time.sleep(0.05)


def groups_of(backfill: Backfill, jobs: int) -> list[FileGroup]:
    """Return the missing files in groups, the largest files first, each of about the same size.

    The steps in time are those of all files together: a file must not depend on which others are missing.
    """
    files, run = sorted(backfill.missing, key=lambda file: -file.readings), backfill.plan.run
    assert run.end_us is not None
    size = min(MAX_FILES_PER_GROUP, max(1, len(files) // (GROUPS_PER_JOB * jobs)))
    step_us = max(1, int(READINGS_PER_STEP * SECOND_US / max(file.max_rate for file in backfill.files)))
    return [
        FileGroup(files[begin : begin + size], run.start_us, run.end_us, step_us)
        for begin in range(0, len(files), size)
    ]


def open_scoreboard(backfill: Backfill) -> None:
    """Create the scoreboard, unless an earlier command has counted on it. Raises OSError."""
    path, capacity = backfill.directory.scoreboard, 2 * len(backfill.plan.record.sensors) + SPARE_SCOREBOARD_ROWS
    with suppress(OSError, ValueError):
        if Scoreboard(path, writable=False).capacity >= capacity and len(backfill.missing) < len(backfill.files):
            return
    Scoreboard.create(path, capacity)


def publish(backfill: Backfill) -> None:
    """Write the other files of a data directory, as a run leaves them that has ended. Raises OSError."""
    directory, now = backfill.directory, datetime.now(UTC)
    prepare_log(log_spec(backfill.config, directory), directory)
    initial_roster(backfill.config, backfill.source, backfill.plan, None, now, time.monotonic_ns()).write(
        directory.roster
    )
