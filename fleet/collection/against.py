"""What can be named after `--against`: each kind of target by the beginning of its name.

To add a kind: its class (`fleet.collection.arrivals.Arrivals`), a function that makes one here, and its line in KINDS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fleet.collection.arrivals import Arrivals, CentralArrivals
from fleet.collection.comparison import Comparison, Told
from fleet.collection.delivery_verdict import DeliveryVerdict
from fleet.collection.originals import Originals
from fleet.errors import UserError
from fleet.quotes import legible
from fleet.storage.data_directory import DataDirectory


@dataclass(frozen=True, slots=True)
class Against:
    """What the command line says."""

    target: str
    sensor: str | None = None
    complete: bool = False


def compare(data: Path, given: Against, told: Told = lambda _done, _total: None) -> DeliveryVerdict:
    """What arrived at the target, compared with the databases under `data`. UserError if it cannot be read."""
    record = DataDirectory(data).read_record()
    besides = sqlite_file(given.target)
    # The databases first: whatever was marked as delivered by then must be found in a target that is looked at later.
    with closing(Originals(data, given.sensor, besides)) as originals, closing(arrivals(given)) as arrived:
        shift = record.wall_us - record.start_us if record else 0
        comparison = Comparison(originals, arrived, complete=given.complete, shift_us=shift)
        return comparison.run(legible(given.target), told)


def arrivals(given: Against) -> Arrivals:
    """What is at the target now. UserError if it is none, or cannot be read."""
    for beginning, look in KINDS.items():
        if given.target.startswith(beginning):
            return look(given)
    raise UserError(f"--against: {legible(given.target)!r} is no target: allowed is {EXAMPLES}")


def sqlite(given: Against) -> Arrivals:
    path = sqlite_file(given.target)
    if path is None:
        raise UserError(f"--against: {legible(given.target)!r} names no file: {SQLITE_EXAMPLES}")
    return CentralArrivals(path, given.sensor)


def sqlite_file(target: str) -> Path | None:
    path = target.removeprefix("sqlite:///")
    return Path(path) if path != target and path.strip("/") else None


def receiver(_: Against) -> Arrivals:
    """Not repeated in the message: a URL may have secrets in it."""
    raise UserError(
        "--against: a server that takes readings over HTTP cannot be asked what it holds: name the database that it "
        "writes to, as in sqlite:///central.db for `fleet receive --to central.db`"
    )


KINDS: dict[str, Callable[[Against], Arrivals]] = {"sqlite:": sqlite, "http:": receiver, "https:": receiver}

SQLITE_EXAMPLES = "sqlite:///central.db, or sqlite:////srv/central.db"
EXAMPLES = "sqlite:///FILE, postgresql://HOST/DATABASE or parquet:DIR"
