"""The places that readings are delivered to, with what a test needs to look into each and to damage it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
from pyarrow import dataset, parquet

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.delivery.target import Target
from fleet.delivery.targets.http.target import HttpTarget
from fleet.delivery.targets.parquet.target import ParquetTarget
from fleet.delivery.targets.postgres.target import PostgresTarget
from fleet.delivery.targets.retry import RetryPolicy
from fleet.delivery.targets.sqlite.target import SqliteTarget
from tests.fleet.delivery.swept import now
from tests.fleet.verify.damage import damage, select
from tests.process.delivery.receiver_process import BATCH, receiving
from tests.servers.postgres import rows


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


class Destination:
    """A central SQLite database."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "central.db"
        self.url = f"sqlite:///{self.path}"

    def target(self) -> Target:
        return SqliteTarget(self.path, now)

    def columns(self) -> dict[str, str]:
        return dict(select(self.path, "SELECT name, type FROM pragma_table_info('sensor_readings')"))

    def rows(self, names: Sequence[str], sensor: str) -> list[tuple[Any, ...]]:
        """The seq and the named columns of a sensor's readings, in their order."""
        query = f"SELECT seq, {quoted(names)} FROM sensor_readings WHERE sensor_id = :sensor ORDER BY seq"
        return select(self.path, query, sensor=sensor)

    def damage(self, sensor: str, seq: int, name: str, value: object) -> None:
        statement = f'UPDATE sensor_readings SET "{name}" = :value WHERE sensor_id = :sensor AND seq = :seq'
        damage(self.path, statement, sensor=sensor, seq=seq, value=value)

    def execute(self, statement: str) -> None:
        damage(self.path, statement)

    def compare(self, data: Path) -> DeliveryVerdict:
        return compare(data, ComparisonOptions(self.url, complete=True))


class Receiver(Destination):
    """The central database of `fleet receive`."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self._port = port

    def target(self) -> Target:
        return HttpTarget(f"http://127.0.0.1:{self._port}{BATCH}", retry=RetryPolicy(attempts=2, sleep=lambda _: None))


class Postgres(Destination):
    def __init__(self, url: str) -> None:
        self.url = url

    def target(self) -> Target:
        return PostgresTarget(self.url, now)

    def columns(self) -> dict[str, str]:
        query = (
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute "
            "WHERE attrelid = 'sensor_readings'::regclass AND attnum > 0"
        )
        return dict(rows(self.url, query))

    def rows(self, names: Sequence[str], sensor: str) -> list[tuple[Any, ...]]:
        return rows(
            self.url, f"SELECT seq, {quoted(names)} FROM sensor_readings WHERE sensor_id = '{sensor}' ORDER BY seq"
        )

    def damage(self, sensor: str, seq: int, name: str, value: object) -> None:
        with psycopg.connect(self.url) as connection:
            statement = f'UPDATE sensor_readings SET "{name}" = %s WHERE sensor_id = %s AND seq = %s'
            connection.execute(statement.encode(), (value, sensor, seq))

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement.encode())


class Parquet(Destination):
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "lake"
        self.url = f"parquet:{self.folder}"

    def target(self) -> Target:
        return ParquetTarget(self.folder, now)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("date=*/hour=*/*.parquet"))

    def table(self) -> Any:
        """All readings, with the union of the columns of all files."""
        schema = pa.unify_schemas([parquet.read_schema(path) for path in self._files()])
        files = [str(path) for path in self._files()]
        return dataset.dataset(files, schema=schema, format="parquet").to_table()

    def columns(self) -> dict[str, str]:
        return {field.name: str(field.type) for field in self.table().schema}

    def rows(self, names: Sequence[str], sensor: str) -> list[tuple[Any, ...]]:
        found = [row for row in self.table().to_pylist() if row["sensor_id"] == sensor]
        return [(row["seq"], *(row[name] for name in names)) for row in sorted(found, key=lambda row: row["seq"])]

    def damage(self, sensor: str, seq: int, name: str, value: object) -> None:
        for path in self._files():
            table = pa.table(parquet.ParquetFile(path).read())
            columns = {column: table.column(column).to_pylist() for column in table.column_names}
            for row, key in enumerate(zip(columns["sensor_id"], columns["seq"], strict=True)):
                if key == (sensor, seq):
                    columns[name][row] = value
            parquet.write_table(pa.table(columns, schema=table.schema), path)


@contextmanager
def destination(kind: str, folder: Path, postgres_url: str = "") -> Iterator[Destination]:
    if kind == "receive":
        with receiving(folder / "central.db") as process:
            yield Receiver(folder, process.port)
    elif kind == "postgres":
        yield Postgres(postgres_url)
    else:
        yield Parquet(folder) if kind == "parquet" else Destination(folder)
