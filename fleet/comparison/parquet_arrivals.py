"""A directory of Parquet files, as `fleet.targets.parquet_target` writes them, as arrivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fleet.collection.batch import Row
from fleet.comparison.arrivals import CHUNK, UNKNOWN, Portion, microseconds, unreadable
from fleet.comparison.originals import Originals
from fleet.comparison.reading_columns import CENTRAL, IDENTITY, LEAD, NOTHING, SEPARATOR, WHO
from fleet.errors import UserError
from fleet.targets.parquet_tables import read

# After the module that says what to install where it is missing.
import pyarrow as pa  # isort: skip
from pyarrow import compute, parquet  # isort: skip

FOLDERS = {"anomaly_episodes": "_episodes", "epochs": "_epochs"}
STORED = [name for name in ("source_id", *LEAD, *CENTRAL) if name != IDENTITY]

Histories = dict[str, list[Row]]
"""By sensor."""


class ParquetArrivals:
    """Files are never changed, so what counts is which there were when this was made."""

    columns = CENTRAL
    keyed = True
    ordered = False

    def __init__(self, folder: Path, sensor: str | None) -> None:
        """UserError if there is no such directory."""
        self.name = f"parquet:{folder}"
        if not folder.is_dir():
            raise UserError(f"--against: {self.name}: there is no such directory")
        self._folder, self._sensor = folder, sensor
        # A source's files one after the other, whatever folder they are in.
        self._files = sorted(folder.glob("date=*/hour=*/[!._]*.parquet"), key=lambda path: (path.name, path))
        self._histories: tuple[Path, Histories] | None = None

    def portions(self, _: Originals) -> Iterator[Portion]:
        for path in self._files:
            try:
                with parquet.ParquetFile(path) as file:
                    for batch in file.iter_batches(CHUNK, columns=[*STORED, *WHO, "generation", "received_at"]):
                        yield from self._portions(path, batch)
            except (OSError, pa.ArrowException, KeyError) as error:
                raise unreadable(path, error) from error

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        path = self._folder / FOLDERS[table] / f"{quote(source, safe='')}.parquet"
        if self._histories is None or self._histories[0] != path:
            try:
                self._histories = path, histories(path, columns)
            except (OSError, pa.ArrowException, KeyError) as error:
                raise unreadable(path, error) from error
        return self._histories[1].get(sensor, [])

    def alarms(self) -> int:
        return sum(path.read_bytes().count(b"\n") for path in self._folder.glob("_conflicts/*.jsonl"))

    def close(self) -> None:
        """Nothing is open between two questions."""

    def _portions(self, path: Path, batch: Any) -> Iterator[Portion]:
        if self._sensor is not None:
            batch = batch.filter(compute.equal(batch.column("sensor_id"), self._sensor))
        texts = [batch.column(name).cast(pa.string()) for name in WHO]
        who = compute.binary_join_element_wise(
            *texts, SEPARATOR, null_handling="replace", null_replacement=NOTHING
        ).to_pylist()
        names = ("source_id", *LEAD, *CENTRAL, "generation", "received_at")
        columns = [who if name == IDENTITY else batch.column(name).to_pylist() for name in names]
        for key, some in groupby(zip(*columns, strict=True), itemgetter(-2)):
            rows = list(some)
            times = {text: microseconds(text) for text in {row[-1] for row in rows}}
            received_us = [times[row[-1]] for row in rows]
            yield Portion(key, path.name, rows, () if UNKNOWN in times.values() else received_us)


def histories(path: Path, columns: Sequence[str]) -> Histories:
    """The episodes or epochs in the file of a source; none if there is no such file."""
    if not path.exists():
        return {}
    found = read(path, columns)
    who = columns.index("sensor_id")
    by_sensor: Histories = {}
    for row in zip(*(found.column(name).to_pylist() for name in columns), strict=True):
        by_sensor.setdefault(row[who], []).append(row)
    return by_sensor
