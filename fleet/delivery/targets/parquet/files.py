"""Files below the directory of a Parquet target: their names, how they come to be there whole, and whose turn it is.

    date=2026-01-01/hour=09/SOURCE.FIRST-LAST.parquet   readings of that hour (UTC), with the first and the last row id
    _episodes/SOURCE.parquet, _epochs/SOURCE.parquet    of each the newest state, a file per source
    _conflicts/SOURCE.FIRST-DIGEST.jsonl                alarms: readings that came again with other content
    _sources/SOURCE                                     a lock, which collector wrote last, and the database's path

Names that begin with an underscore or a dot are passed over by those who read a directory of Parquet files.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from fleet.delivery.batch import Row, SourceDatabase, TableRows, Value
from fleet.delivery.columns import CONTENT_COLUMNS, DELIVERED_COLUMNS, INTEGER_COLUMNS, REAL_COLUMNS, TypedReadings
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.target import TargetMisconfigured
from fleet.delivery.targets.retry import RetryableFailure
from fleet.errors import UserError
from worker.storage.database_files import fsync_directory

NO_TIME_PARTITION = "date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__"
"""Where readings go whose timestamp is none."""


Hour = tuple[int, int, int, int]
"""Year, month, day, hour, in UTC."""


class IdRange(NamedTuple):
    """A file has no row ids but from `first` to `last`, and has both of these."""

    first: int
    last: int


def file_name(key: str, span: IdRange) -> str:
    """Of readings of the source with that key. Two files of a source never have the same ends, for each id is in one."""
    return f"{quote(key, safe='')}.{span.first:012d}-{span.last:012d}.parquet"


def id_ranges(folder: Path, key: str) -> list[IdRange]:
    """Of the source's files in a folder; what a writer left unfinished that died is removed. Call it under the lock."""
    own = quote(key, safe="")
    named = re.compile(re.escape(own) + r"\.(-?\d+)-(-?\d+)\.parquet")
    found = []
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    for name in names:
        if match := named.fullmatch(name):
            found.append(IdRange(int(match[1]), int(match[2])))
        elif name.startswith(f".{own}."):
            (folder / name).unlink(missing_ok=True)
    return found


def parse_timestamp(timestamp: str) -> datetime | None:
    """A timestamp in UTC, for which it is taken if it does not say; None if it is none."""
    try:
        time = datetime.fromisoformat(timestamp)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def hour_of(time: datetime | None) -> Hour | None:
    return None if time is None else (time.year, time.month, time.day, time.hour)


def partition_path(when: Hour | None) -> str:
    """The folder for readings of that hour."""
    return NO_TIME_PARTITION if when is None else "date={:04d}-{:02d}-{:02d}/hour={:02d}".format(*when)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """What `write` writes becomes the file at `path`, all or nothing, and is on disk then. Call it under the lock."""
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def make_folder(path: Path) -> None:
    """And those above it, each known to the disk by its name."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        fsync_directory(path.parent)


@contextmanager
def source_lock(folder: Path, source: SourceDatabase, writer: str) -> Iterator[bool]:
    """To write files of the source while nobody else does; True if nobody else has since `writer` did. RetryableFailure if it is
    somebody else's turn."""
    path = folder / "_sources" / quote(source.key, safe="")
    make_folder(path.parent)
    with path.open("a+", encoding="utf-8") as file:
        try:
            # Goes with the process, however it ends. It keeps threads apart too: each has opened the file by itself.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetryableFailure(f"{path}: another collector is delivering this source") from None
        file.seek(0)
        same = file.readline() == f"{writer}\n"
        if not same:
            file.truncate(0)
            file.write(f"{writer}\n{source.name}\n")
            file.flush()
        yield same


def overlapping_ranges(found: Iterable[IdRange], ids: list[int]) -> list[IdRange]:
    """Those that may have one of the ids, which are in order."""
    return [span for span in found if span.first <= ids[-1] and ids[0] <= span.last]


try:
    import pyarrow as pa
    from pyarrow import compute, parquet
except ImportError as error:
    raise UserError(f"Parquet needs an extra: pip install 'sensor-fleet[parquet]' ({error})") from error

ARROW_TYPES = {
    **dict.fromkeys(REAL_COLUMNS, pa.float64()),
    **dict.fromkeys((*INTEGER_COLUMNS, "source_id", "first_seq", "last_seq", "start_us", "run"), pa.int64()),
    "time": pa.timestamp("us", tz="UTC"),
}
"""Of columns; the others are strings."""

DELIVERY_COLUMNS = ("generation", "received_at")


def arrow_schema(columns: Iterable[str]) -> Any:
    return pa.schema([(name, ARROW_TYPES.get(name, pa.string())) for name in columns])


READINGS_SCHEMA = arrow_schema(
    ("timestamp", "time", *DELIVERED_COLUMNS[1:], "generation", "source_id", "received_at", "extra")
)
"""`timestamp` is the text as the source has it, `time` the same for those who calculate; NULL if it is no time."""

EPISODES_SCHEMA, EPOCHS_SCHEMA = (
    arrow_schema((*EPISODE_COLUMNS, *DELIVERY_COLUMNS)),
    arrow_schema((*EPOCH_COLUMNS, *DELIVERY_COLUMNS)),
)


def readings_table(
    readings: TypedReadings, chosen: Sequence[bool], times: Sequence[object], arrival: tuple[str, str]
) -> Any:
    """The chosen readings with their times."""
    given: dict[str, Iterable[object]] = {**readings.columns, "time": times}
    columns = {name: list(compress(values, chosen)) for name, values in given.items()}
    columns |= {name: [value] * sum(chosen) for name, value in zip(DELIVERY_COLUMNS, arrival, strict=True)}
    return pa.table(columns, schema=READINGS_SCHEMA)


def write_parquet(told: Any, file: IO[bytes]) -> None:
    parquet.write_table(told, file, compression="zstd")


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Any:
    """FileNotFoundError if there is none any more, TargetMisconfigured if it is none."""
    try:
        with parquet.ParquetFile(path) as file:
            return file.read(columns)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise TargetMisconfigured(f"{path}: {error}") from error


def readings_by_id(path: Path, wanted: set[int]) -> dict[int, Row]:
    """The values of CONTENT_COLUMNS of each wanted reading in a file."""
    found = read_parquet(path, ["source_id", *CONTENT_COLUMNS])
    ids = found.column("source_id").to_pylist()
    here = [own in wanted for own in ids]
    if not any(here):
        return {}
    columns = [found.column(name).to_pylist() for name in CONTENT_COLUMNS]
    return dict(zip(compress(ids, here), compress(zip(*columns, strict=True), here), strict=True))


def merge_history(path: Path, come: TableRows, schema: Any, arrival: tuple[str, str]) -> Any | None:
    """The episodes or epochs of a file with those that came, each in place of the one with its sensor and first_seq; None
    if all of them are there as they are."""
    names = [name for name in schema.names if name not in DELIVERY_COLUMNS]
    places = [come.columns.index(name) for name in names]
    new: dict[tuple[Value, Value], Row] = {}
    for row in come.rows:
        arranged = tuple(row[place] for place in places)
        new[arranged[names.index("sensor_id")], arranged[names.index("first_seq")]] = arranged
    columns = dict(zip(names, zip(*new.values(), strict=True), strict=True))
    columns |= {name: (value,) * len(new) for name, value in zip(DELIVERY_COLUMNS, arrival, strict=True)}
    added = pa.table(columns, schema=schema)
    if not path.exists():
        return added
    old = read_parquet(path)
    keys = zip(old.column("sensor_id").to_pylist(), old.column("first_seq").to_pylist(), strict=True)
    kept = pa.array([key not in new for key in keys])
    replaced = old.filter(compute.invert(kept)).select(names)
    if set(new.values()) == set(zip(*(column.to_pylist() for column in replaced.columns), strict=True)):
        return None
    return pa.concat_tables([old.filter(kept), added])
