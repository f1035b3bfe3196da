"""Reading back a directory of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fleet.delivery.batch import Row
from fleet.delivery.compare.compared_columns import (
    COMPARABLE_COLUMNS,
    IDENTITY_COLUMN,
    IDENTITY_TEXTS,
    KEY_COLUMNS,
    NULL_MARK,
    SEPARATOR,
)
from fleet.delivery.compare.delivered import (
    CHUNK_ROWS,
    UNKNOWN_TIME_US,
    DeliveredChunk,
    unix_microseconds,
    unreadable_error,
)
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.targets.parquet.files import read_parquet
from fleet.errors import UserError

# Last: `files` reports a missing extra.
import pyarrow as pa  # isort: skip
from pyarrow import compute, parquet  # isort: skip

FOLDER_BY_TABLE = {"anomaly_episodes": "_episodes", "epochs": "_epochs"}
PARQUET_COLUMNS = [
    *(name for name in ("source_id", *KEY_COLUMNS, *COMPARABLE_COLUMNS) if name != IDENTITY_COLUMN),
    *IDENTITY_TEXTS,
    "generation",
    "received_at",
]

Histories = dict[str, list[Row]]
"""Rows by sensor."""


class ParquetReadings:
    """The readings in the files that existed when this was made. Files never change."""

    has_reading_keys = True
    ordered = False

    def __init__(self, folder: Path, sensor: str | None) -> None:
        """UserError if there is no such directory."""
        self.name = f"parquet:{folder}"
        if not folder.is_dir():
            raise UserError(f"--against: {self.name}: there is no such directory")
        self._folder, self._sensor = folder, sensor
        # The files of a source follow each other, whatever their folder.
        self._files = sorted(folder.glob("date=*/hour=*/[!._]*.parquet"), key=lambda path: (path.name, path))
        self._histories: tuple[Path, Histories] | None = None
        self._further: tuple[str, ...] = ()

    def select_columns(self, further: tuple[str, ...]) -> tuple[str, ...]:
        self._further = further
        return (*further, *COMPARABLE_COLUMNS)

    def read_chunks(self, _: GeneratedReadings) -> Iterator[DeliveredChunk]:
        for path in self._files:
            try:
                with parquet.ParquetFile(path) as file:
                    present = [name for name in self._further if name in file.schema_arrow.names]
                    for batch in file.iter_batches(CHUNK_ROWS, columns=[*PARQUET_COLUMNS, *present]):
                        yield from self._read_file_chunks(path, batch)
            except (OSError, pa.ArrowException, KeyError) as error:
                raise unreadable_error(path, error) from error

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        path = self._folder / FOLDER_BY_TABLE[table] / f"{quote(source, safe='')}.parquet"
        if self._histories is None or self._histories[0] != path:
            try:
                self._histories = path, histories(path, columns)
            except (OSError, pa.ArrowException, KeyError) as error:
                raise unreadable_error(path, error) from error
        return self._histories[1].get(sensor, [])

    def alarms(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self._folder.glob("_conflicts/*.jsonl"))

    def close(self) -> None:
        """Do nothing: no file stays open between two calls."""

    def _read_file_chunks(self, path: Path, batch: Any) -> Iterator[DeliveredChunk]:
        if self._sensor is not None:
            batch = batch.filter(compute.equal(batch.column("sensor_id"), self._sensor))
        texts = [batch.column(name).cast(pa.string()) for name in IDENTITY_TEXTS]
        identities = compute.binary_join_element_wise(
            *texts, SEPARATOR, null_handling="replace", null_replacement=NULL_MARK
        ).to_pylist()
        names = ("source_id", *KEY_COLUMNS, *self._further, *COMPARABLE_COLUMNS, "generation", "received_at")
        values = {name: batch.column(name).to_pylist() for name in batch.schema.names if name in names}
        absent = [None] * batch.num_rows
        columns = [identities if name == IDENTITY_COLUMN else values.get(name, absent) for name in names]
        for key, some in groupby(zip(*columns, strict=True), itemgetter(-2)):
            rows = list(some)
            times = {text: unix_microseconds(text) for text in {row[-1] for row in rows}}
            received_us = [times[row[-1]] for row in rows]
            yield DeliveredChunk(key, path.name, rows, () if UNKNOWN_TIME_US in times.values() else received_us)


def histories(path: Path, columns: Sequence[str]) -> Histories:
    """The episodes or epochs in the file of a source; empty if there is no such file."""
    if not path.exists():
        return {}
    table = read_parquet(path, columns)
    sensor = columns.index("sensor_id")
    by_sensor: Histories = {}
    for row in zip(*(table.column(name).to_pylist() for name in columns), strict=True):
        by_sensor.setdefault(row[sensor], []).append(row)
    return by_sensor
