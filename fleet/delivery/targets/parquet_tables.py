"""Readings, episodes and epochs as Arrow tables, written to Parquet files and read from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import IO, Any

from fleet.delivery.batch import Row, TableRows, Value
from fleet.delivery.columns import DELIVERED_COLUMNS, INTEGER_COLUMNS, REAL_COLUMNS
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.target import TargetMisconfigured
from fleet.delivery.typed_columns import TypedReadings
from fleet.errors import UserError

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

COMPARED_COLUMNS = (*DELIVERED_COLUMNS, "extra")
"""What a reading is, beside where it lies in its source."""


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
    """The values of COMPARED_COLUMNS of each wanted reading in a file."""
    found = read_parquet(path, ["source_id", *COMPARED_COLUMNS])
    ids = found.column("source_id").to_pylist()
    here = [own in wanted for own in ids]
    if not any(here):
        return {}
    columns = [found.column(name).to_pylist() for name in COMPARED_COLUMNS]
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
