"""What can be named after `--against`: each kind of target by the beginning of its name.

To add a kind: its class (`fleet.comparison.arrivals.Arrivals`), a function that makes one here, and its line in KINDS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fleet.central.schema import ROLE
from fleet.collection.sources import columns_of
from fleet.comparison.arrivals import Arrivals, unreadable
from fleet.comparison.central_arrivals import CentralArrivals
from fleet.comparison.comparison import Comparison, Told
from fleet.comparison.delivery_verdict import DeliveryVerdict
from fleet.comparison.matching import MatchedArrivals
from fleet.comparison.originals import Originals
from fleet.comparison.sqlite_table import SqliteTable
from fleet.errors import UserError
from fleet.quotes import legible
from fleet.storage.data_directory import DataDirectory
from fleet.storage.readings import Unreadable, connection

READINGS = "sensor_readings"
"""The table of a user who names none."""


@dataclass(frozen=True, slots=True)
class Against:
    """What the command line says. `table` is the user's own, None for the tables of a collector where there are such."""

    target: str
    table: str | None = None
    sensor: str | None = None
    complete: bool = False


def given(target: str | None, table: str | None, sensor: str | None, *, complete: bool) -> Against | None:
    """None if there is nothing to compare with."""
    if target is None and table is not None:
        raise UserError("--table: goes with --against, which says where the table is")
    return None if target is None else Against(target, table, sensor, complete)


def compare(data: Path, against: Against, told: Told = lambda _done, _total: None) -> DeliveryVerdict:
    """What arrived at the target, compared with the databases under `data`. UserError if it cannot be read."""
    record = DataDirectory(data).read_record()
    besides = sqlite_file(against.target)
    # The databases first: whatever was marked as delivered by then must be found in a target that is looked at later.
    with closing(Originals(data, against.sensor, besides)) as originals, closing(arrivals(against)) as arrived:
        shift = record.wall_us - record.start_us if record else 0
        return Comparison(originals, arrived, complete=against.complete, shift_us=shift).run(told)


def arrivals(given: Against) -> Arrivals:
    """What is at the target now. UserError if it is none, or cannot be read."""
    for beginning, kind in KINDS.items():
        if given.target.startswith(beginning):
            return kind(given)
    raise UserError(f"--against: {legible(given.target)!r} is no target: allowed is {EXAMPLES}")


def sqlite(given: Against) -> Arrivals:
    path = sqlite_file(given.target)
    if path is None:
        raise UserError(f"--against: {legible(given.target)!r} names no file: {SQLITE_EXAMPLES}")
    if path.is_dir():
        raise UserError(f"--against: {path} is a directory, not a database")
    if given.table is None and role(path) == ROLE:
        return CentralArrivals(path, given.sensor)
    return MatchedArrivals(SqliteTable(path, given.table or READINGS, given.sensor))


def postgres(given: Against) -> Arrivals:
    from fleet.comparison.postgres_arrivals import postgres_arrivals

    return postgres_arrivals(given.target, given.table, given.sensor)


def parquet(given: Against) -> Arrivals:
    from fleet.comparison.parquet_arrivals import ParquetArrivals

    if given.table is not None:
        raise UserError("--table: a directory of Parquet files has no tables; sqlite: and postgresql: have")
    return ParquetArrivals(Path(given.target.removeprefix("parquet:")), given.sensor)


def sqlite_file(target: str) -> Path | None:
    path = target.removeprefix("sqlite:///")
    return Path(path) if path != target and path.strip("/") else None


def role(path: Path) -> str | None:
    """What a database says it is. UserError if it cannot be read."""
    try:
        with connection(path) as opened:
            known = columns_of(opened, "database_info")
            return str(opened.execute("SELECT role FROM database_info").get) if "role" in known else None
    except Unreadable as error:
        raise unreadable(path, error) from error


def receiver(_: Against) -> Arrivals:
    """Not repeated in the message: a URL may have secrets in it."""
    raise UserError(
        "--against: a server that takes readings over HTTP cannot be asked what it holds: name the database that it "
        "writes to, as in sqlite:///central.db for `fleet receive --to central.db`"
    )


KINDS: dict[str, Callable[[Against], Arrivals]] = {
    "sqlite:": sqlite,
    "postgresql:": postgres,
    "postgres:": postgres,
    "parquet:": parquet,
    "http:": receiver,
    "https:": receiver,
}

SQLITE_EXAMPLES = "sqlite:///central.db, or sqlite:////srv/central.db"
EXAMPLES = "sqlite:///FILE, postgresql://HOST/DATABASE or parquet:DIR"
