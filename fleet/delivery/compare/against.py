"""What can be named after `--against`: each kind of target by the beginning of its name.

To add a kind: its class (`fleet.delivery.compare.delivered.DeliveredReadings`), a function that makes one here, and its line in OPEN_BY_SCHEME.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fleet.datadir.directory import DataDirectory
from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.delivery.columns import CENTRAL_ROLE
from fleet.delivery.compare.comparison import Comparison, ProgressCallback
from fleet.delivery.compare.delivered import DeliveredReadings, unreadable_error
from fleet.delivery.compare.delivered_central import CentralSqliteReadings
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.compare.matching import MatchedReadings
from fleet.delivery.compare.sqlite_table import SqliteUserTable
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.delivery.sources import table_columns
from fleet.errors import UserError
from fleet.escaping import escape_short

DEFAULT_TABLE = "sensor_readings"
"""The table of a user who names none."""


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """What the command line says. `table` is the user's own, None for the tables of a collector where there are such."""

    target: str
    table: str | None = None
    sensor: str | None = None
    complete: bool = False


def comparison_options(
    target: str | None, table: str | None, sensor: str | None, *, complete: bool
) -> ComparisonOptions | None:
    """None if there is nothing to compare with."""
    if target is None and table is not None:
        raise UserError("--table: goes with --against, which says where the table is")
    return None if target is None else ComparisonOptions(target, table, sensor, complete)


def compare(
    data: Path, against: ComparisonOptions, on_progress: ProgressCallback = lambda _done, _total: None
) -> DeliveryVerdict:
    """What arrived at the target, compared with the databases under `data`. UserError if it cannot be read."""
    record = DataDirectory(data).read_manifest()
    excluded = sqlite_file(against.target)
    # The databases first: whatever was marked as delivered by then must be found in a target that is looked at later.
    with (
        closing(GeneratedReadings(data, against.sensor, excluded)) as generated,
        closing(open_delivered(against)) as arrived,
    ):
        shift = record.wall_us - record.start_us if record else 0
        return Comparison(generated, arrived, complete=against.complete, shift_us=shift).run(on_progress)


def open_delivered(options: ComparisonOptions) -> DeliveredReadings:
    """What is at the target now. UserError if it is none, or cannot be read."""
    for beginning, kind in OPEN_BY_SCHEME.items():
        if options.target.startswith(beginning):
            return kind(options)
    raise UserError(f"--against: {escape_short(options.target)!r} is no target: allowed is {EXAMPLES}")


def open_sqlite(options: ComparisonOptions) -> DeliveredReadings:
    path = sqlite_file(options.target)
    if path is None:
        raise UserError(f"--against: {escape_short(options.target)!r} names no file: {SQLITE_EXAMPLES}")
    if path.is_dir():
        raise UserError(f"--against: {path} is a directory, not a database")
    if options.table is None and database_role(path) == CENTRAL_ROLE:
        return CentralSqliteReadings(path, options.sensor)
    return MatchedReadings(SqliteUserTable(path, options.table or DEFAULT_TABLE, options.sensor))


def open_postgres(options: ComparisonOptions) -> DeliveredReadings:
    from fleet.delivery.compare.delivered_postgres import open_postgres_readings

    return open_postgres_readings(options.target, options.table, options.sensor)


def open_parquet(options: ComparisonOptions) -> DeliveredReadings:
    from fleet.delivery.compare.delivered_parquet import ParquetReadings

    if options.table is not None:
        raise UserError("--table: a directory of Parquet files has no tables; sqlite: and postgresql: have")
    return ParquetReadings(Path(options.target.removeprefix("parquet:")), options.sensor)


def sqlite_file(target: str) -> Path | None:
    path = target.removeprefix("sqlite:///")
    return Path(path) if path != target and path.strip("/") else None


def database_role(path: Path) -> str | None:
    """What a database says it is. UserError if it cannot be read."""
    try:
        with read_only_connection(path) as opened:
            known = table_columns(opened, "database_info")
            return str(opened.execute("SELECT role FROM database_info").get) if "role" in known else None
    except DatabaseUnreadable as error:
        raise unreadable_error(path, error) from error


def refuse_receiver(_: ComparisonOptions) -> DeliveredReadings:
    """Not repeated in the message: a URL may have secrets in it."""
    raise UserError(
        "--against: a server that takes readings over HTTP cannot be asked what it holds: name the database that it "
        "writes to, as in sqlite:///central.db for `fleet receive --to central.db`"
    )


OPEN_BY_SCHEME: dict[str, Callable[[ComparisonOptions], DeliveredReadings]] = {
    "sqlite:": open_sqlite,
    "postgresql:": open_postgres,
    "postgres:": open_postgres,
    "parquet:": open_parquet,
    "http:": refuse_receiver,
    "https:": refuse_receiver,
}

SQLITE_EXAMPLES = "sqlite:///central.db, or sqlite:////srv/central.db"
EXAMPLES = "sqlite:///FILE, postgresql://HOST/DATABASE or parquet:DIR"
