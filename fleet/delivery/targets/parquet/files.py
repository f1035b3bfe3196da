"""The files below the directory of a Parquet target: names, locks, atomic writing, and their content as Arrow tables.

    date=2026-01-01/hour=09/SOURCE.FIRST-LAST.parquet   readings of that hour (UTC), with the first and the last row id
    _episodes/SOURCE.parquet, _epochs/SOURCE.parquet    the latest state of each episode and epoch, a file per source
    _conflicts/SOURCE.FIRST-DIGEST.jsonl                alarms: readings that came again with other content
    _sources/SOURCE                                     a lock, the last collector that wrote, and the database's path

Readers of Parquet directories ignore names that begin with an underscore or a dot.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import compress
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from fleet.delivery.batch import Row, SourceDatabase, TableRows, Value
from fleet.delivery.columns import DELIVERED_COLUMNS, INTEGER_COLUMNS, REAL_COLUMNS, TypedReadings
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.target import SourceFailed
from fleet.delivery.targets.retry import RetryableFailure
from fleet.errors import UserError
from worker.storage.database_files import fsync_directory
from worker.storage.schema import FurtherColumn

NO_TIME_PARTITION = "date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__"
"""The folder for readings with an invalid timestamp."""


Hour = tuple[int, int, int, int]
"""Year, month, day, hour, in UTC."""


class IdRange(NamedTuple):
    """The range of row ids in a file. The file has the rows `first` and `last`."""

    first: int
    last: int


def file_name(key: str, span: IdRange) -> str:
    """The name of a file with readings of a source. It is unique, as each id is in only one file of the source."""
    return f"{quote(key, safe='')}.{span.first:012d}-{span.last:012d}.parquet"


def id_ranges(folder: Path, key: str) -> list[IdRange]:
    """The ranges of a source's files in a folder. Removes unfinished files of a writer that died. Call it under the lock."""
    quoted = quote(key, safe="")
    pattern = re.compile(re.escape(quoted) + r"\.(-?\d+)-(-?\d+)\.parquet")
    ranges = []
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    for name in names:
        if match := pattern.fullmatch(name):
            ranges.append(IdRange(int(match[1]), int(match[2])))
        elif name.startswith(f".{quoted}."):
            (folder / name).unlink(missing_ok=True)
    return ranges


def hour_of(time: datetime | None) -> Hour | None:
    return None if time is None else (time.year, time.month, time.day, time.hour)


def partition_path(when: Hour | None) -> str:
    """The folder for the readings of an hour."""
    return NO_TIME_PARTITION if when is None else "date={:04d}-{:02d}-{:02d}/hour={:02d}".format(*when)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file with `write`, under a temporary name first, and flush it to disk. Call it under the lock."""
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
    """Make a folder and its parents, and flush their names to disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        fsync_directory(path.parent)


@contextmanager
def source_lock(folder: Path, source: SourceDatabase, writer: str) -> Iterator[bool]:
    """Lock a source for writing. Yields True if `writer` was also the last to hold the lock.

    Raises RetryableFailure if another collector holds it.
    """
    path = folder / "_sources" / quote(source.key, safe="")
    make_folder(path.parent)
    with path.open("a+", encoding="utf-8") as file:
        try:
            # Released when the process ends. Excludes other threads too, as each opens the file itself.
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


def overlapping_ranges(ranges: Iterable[IdRange], ids: list[int]) -> list[IdRange]:
    """The ranges that may contain one of the ascending ids."""
    return [span for span in ranges if span.first <= ids[-1] and ids[0] <= span.last]


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
"""The types of the columns that are not strings."""

DELIVERY_COLUMNS = ("generation", "received_at")


def arrow_schema(columns: Iterable[str]) -> Any:
    return pa.schema([(name, ARROW_TYPES.get(name, pa.string())) for name in columns])


READINGS_SCHEMA = arrow_schema(
    ("timestamp", "time", *DELIVERED_COLUMNS[1:], "generation", "source_id", "received_at", "extra")
)
"""`timestamp` is the text as in the source, `time` the same as an Arrow timestamp, NULL if it is invalid."""

FURTHER_TYPES = {"REAL": pa.float64(), "INTEGER": pa.int64(), "TEXT": pa.string()}


def readings_schema(further: Iterable[FurtherColumn]) -> Any:
    """The schema of a file with readings of kinds of sensor that have further columns."""
    schema = READINGS_SCHEMA
    for name, column_type in further:
        schema = schema.append(pa.field(name, FURTHER_TYPES[column_type]))
    return schema


EPISODES_SCHEMA, EPOCHS_SCHEMA = (
    arrow_schema((*EPISODE_COLUMNS, *DELIVERY_COLUMNS)),
    arrow_schema((*EPOCH_COLUMNS, *DELIVERY_COLUMNS)),
)


def readings_table(
    readings: TypedReadings, schema: Any, chosen: Sequence[bool], times: Sequence[object], arrival: tuple[str, str]
) -> Any:
    """The chosen readings as a table with a schema. `arrival` are the values of DELIVERY_COLUMNS."""
    values_by_name: dict[str, Iterable[object]] = {**readings.columns, "time": times}
    columns = {name: list(compress(values, chosen)) for name, values in values_by_name.items()}
    columns |= {name: [value] * sum(chosen) for name, value in zip(DELIVERY_COLUMNS, arrival, strict=True)}
    return pa.table(columns, schema=schema)


def write_parquet(table: Any, file: IO[bytes]) -> None:
    parquet.write_table(table, file, compression="zstd")


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Any:
    """Read a file of one source. FileNotFoundError if it no longer exists, SourceFailed if it is no Parquet file."""
    try:
        with parquet.ParquetFile(path) as file:
            return file.read(columns)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise SourceFailed(f"{path} is damaged: {error}; move it out of the folder") from error


def readings_by_id(path: Path, wanted: set[int], names: Sequence[str]) -> dict[int, Row]:
    """The values of the named columns of the wanted readings in a file, by id; None in columns that the file lacks."""
    table = read_parquet(path, ["source_id", *names])
    ids = table.column("source_id").to_pylist()
    chosen = [row_id in wanted for row_id in ids]
    if not any(chosen):
        return {}
    absent = [None] * len(ids)
    columns = [table.column(name).to_pylist() if name in table.column_names else absent for name in names]
    return dict(zip(compress(ids, chosen), compress(zip(*columns, strict=True), chosen), strict=True))


def merge_history(path: Path, delivered: TableRows, schema: Any, arrival: tuple[str, str]) -> Any | None:
    """Merge episodes or epochs into those of a file: each replaces the one with its sensor and first_seq.

    Returns the new table, None if nothing changes.
    """
    names = [name for name in schema.names if name not in DELIVERY_COLUMNS]
    new: dict[tuple[Value, Value], Row] = {}
    for row in delivered.select(names):
        new[row[names.index("sensor_id")], row[names.index("first_seq")]] = row
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
