"""`fleet verify --against`: the options, and the comparison of a target with the databases of a directory."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fleet.datadir.directory import DataDirectory
from fleet.delivery.compare.comparison import Comparison, ProgressCallback
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.compare.verdict import DeliveryVerdict
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
    complete: bool = False


def comparison_options(
    target: str | None, table: str | None, sensor: str | None, *, complete: bool
) -> ComparisonOptions | None:
    """The options, None without a target to compare with."""
    if target is None and table is not None:
        raise UserError("--table: goes with --against, which says where the table is")
    return None if target is None else ComparisonOptions(target, table, sensor, complete)


def open_delivered(options: ComparisonOptions) -> DeliveredReadings:
    """Open the readings in the target, as they are now. UserError if there is no such target or it cannot be read."""
    return read_back(options.target, ReadBackOptions(options.table, options.sensor))


def compare(
    data: Path, options: ComparisonOptions, on_progress: ProgressCallback = lambda _done, _total: None
) -> DeliveryVerdict:
    """Compare the readings in the target with the databases under `data`. UserError if the target cannot be read."""
    manifest = DataDirectory(data).read_manifest()
    url = resolve_target(options.target, os.environ, "--against").url
    # The databases come first: a reading marked as delivered by then must be in a target that is opened later.
    with (
        closing(GeneratedReadings(data, options.sensor, sqlite_path(url))) as generated,
        closing(open_delivered(options)) as delivered,
    ):
        shift = manifest.wall_us - manifest.start_us if manifest else 0
        return Comparison(generated, delivered, complete=options.complete, shift_us=shift).run(on_progress)
