"""`fleet verify --against`: the options, and the comparison of a target with the databases of a directory."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fleet.datadir.directory import DataDirectory
from fleet.datadir.manifest import FleetManifest
from fleet.delivery.compare.comparison import Comparison, ProgressCallback
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.compare.fault_outcomes import read_faults
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.delivery.faults.fault_record import FAULT_FILE
from fleet.delivery.records.record import Record
from fleet.delivery.records.registry import record_for, record_named
from fleet.delivery.selection import Selection
from fleet.delivery.state import STATE_FOLDER
from fleet.delivery.targets.registry import ReadBackOptions, read_back
from fleet.delivery.targets.sqlite.target import sqlite_path
from fleet.errors import UserError
from fleet.target_urls import resolve_target


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """The options of the command line. `table` is a table of the user, None for a collector's tables if there are such."""

    target: str
    table: str | None = None
    sensor: str | None = None
    record: str | None = None
    complete: bool = False
    selection: Selection | None = None


def comparison_options(
    target: str | None,
    *,
    table: str | None = None,
    sensor: str | None = None,
    record: str | None = None,
    complete: bool = False,
    selection: Selection | None = None,
) -> ComparisonOptions | None:
    """The options, None without a target to compare with."""
    if target is None and table is not None:
        raise UserError("--table: goes with --against, which says where the table is")
    if target is None and record is not None:
        raise UserError("--record: goes with --against, which says where its documents are")
    if target is None and selection is not None:
        raise UserError("--select: goes with --against, where the others need not be")
    return None if target is None else ComparisonOptions(target, table, sensor, record, complete, selection)


def record_of(data: Path, options: ComparisonOptions) -> Record:
    """Return the record in which the target has the readings. UserError if there is none."""
    own_table = options.table is not None
    return record_named(options.record, data) if own_table else record_for(options.target, options.record, data)


def open_delivered(data: Path, options: ComparisonOptions, *, damaged: bool = False) -> DeliveredReadings:
    """Open the readings in the target, as they are now. UserError if there is no such target or it cannot be read."""
    read = ReadBackOptions(
        options.table, options.sensor, record_of(data, options), damaged=damaged, folder=data / STATE_FOLDER
    )
    return read_back(options.target, read)


def compare(
    data: Path, options: ComparisonOptions, on_progress: ProgressCallback = lambda _done, _total: None
) -> DeliveryVerdict:
    """Compare the readings in the target with the databases under `data`. UserError if the target cannot be read."""
    manifest = DataDirectory(data).read_manifest()
    faults = read_faults(data / STATE_FOLDER / FAULT_FILE, options.sensor)
    url = resolve_target(options.target, os.environ, "--against").url
    # The databases come first: a reading marked as delivered by then must be in a target that is opened later.
    with (
        closing(GeneratedReadings(data, options.sensor, sqlite_path(url))) as generated,
        closing(open_delivered(data, options, damaged=faults.truncated)) as delivered,
    ):
        shift = wall_shift(manifest)
        comparison = Comparison(
            generated,
            delivered,
            complete=options.complete,
            shift_us=shift,
            faults=faults,
            selection=options.selection,
            record=record_of(data, options),
        )
        return comparison.run(on_progress)


def wall_shift(manifest: FleetManifest | None) -> int | None:
    """Return wall time minus simulated time, in microseconds. None if it was another one at another time."""
    if manifest is None:
        return 0
    return manifest.wall_us - (manifest.clock_us or manifest.start_us) if manifest.real_time else None
