"""What a narrow table of readings would give: bytes and processor time of a reading in `sensor_readings`, whose rows repeat
the identity, and in a table without it, with a view of that name. Medians of five, by turns.

`python benchmarks/narrow_table.py [FOLDER]` writes to the disk of FOLDER.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import apsw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, settings  # noqa: E402
from worker.readings.generator import SignalGenerator  # noqa: E402
from worker.storage.connection import Transaction, connect  # noqa: E402
from worker.storage.insertion import ReadingsTable  # noqa: E402
from worker.storage.schema import IDENTITY_COLUMNS, READING_COLUMNS, identity_values  # noqa: E402
from worker.storage.transactions import reading_rows, write_block  # noqa: E402

READINGS = 200_000
READINGS_PER_COMMIT = 100
TIMES = 5

NARROW = f"""
CREATE TABLE identities (identity INTEGER PRIMARY KEY, {", ".join(IDENTITY_COLUMNS)});
CREATE TABLE readings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, identity INTEGER NOT NULL,
    temperature REAL, humidity REAL, pressure REAL, vibration REAL, voltage REAL,
    status_code INTEGER, anomaly_flag INTEGER, anomaly_type TEXT, synced INTEGER DEFAULT 0, seq INTEGER NOT NULL
);
CREATE UNIQUE INDEX readings_key ON readings (identity, seq);
DROP TABLE sensor_readings;
CREATE VIEW sensor_readings AS SELECT * FROM readings JOIN identities USING (identity);
"""
ROW = f"({','.join('?' * len(READING_COLUMNS))},1)"
INSERT = f"INSERT INTO readings ({','.join(READING_COLUMNS)}, identity) VALUES "
QUERY = "SELECT location, COUNT(*), AVG(temperature) FROM sensor_readings GROUP BY location"


class Figures(NamedTuple):
    """Microseconds and bytes of a reading, and milliseconds of QUERY over all."""

    write_us: float
    size: float
    query_ms: float


def main() -> None:
    disk = sys.argv[1] if len(sys.argv) > 1 else None
    generator = SignalGenerator(42, IDENTITY, settings(*ANOMALIES), 0, NEW_YEAR)
    pairs = [(measured(disk, generator, write_wide), measured(disk, generator, write_narrow)) for _ in range(TIMES)]
    for name, runs in zip(("wide", "narrow"), zip(*pairs, strict=True), strict=True):
        write_us, size, query_ms = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{name:7} {write_us:6.2f} us and {size:6.1f} bytes/reading, query over {READINGS:,}: {query_ms:6.1f} ms")


Writer = Callable[[apsw.Connection, SignalGenerator, int], None]


def write_wide(connection: apsw.Connection, generator: SignalGenerator, first: int) -> None:
    insertion = ReadingsTable(connection).insertion(IDENTITY, generator.settings)
    write_block(connection, insertion, generator.settings, generator.block(first, READINGS_PER_COMMIT))


def write_narrow(connection: apsw.Connection, generator: SignalGenerator, first: int) -> None:
    rows = list(reading_rows(generator.settings, generator.block(first, READINGS_PER_COMMIT)))
    for begin in range(0, len(rows), 50):
        some = rows[begin : begin + 50]
        connection.execute(INSERT + ",".join([ROW] * len(some)), [value for row in some for value in row])


def measured(disk: str | None, generator: SignalGenerator, write: Writer) -> Figures:
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        path = Path(folder, "x.db")
        with closing(connect(path)) as connection:
            if write is write_narrow:
                connection.execute(NARROW)
                marks = ",".join("?" * len(IDENTITY_COLUMNS))
                connection.execute(f"INSERT INTO identities VALUES (1,{marks})", identity_values(IDENTITY))
            begun = time.process_time()
            for first in range(0, READINGS, READINGS_PER_COMMIT):
                with Transaction(connection):
                    write(connection, generator, first)
            wrote = time.process_time()
            connection.execute(QUERY).fetchall()
            queried = time.process_time()
            count = connection.execute("SELECT count(*) FROM sensor_readings").get
        assert isinstance(count, int)
        return Figures((wrote - begun) / count * 1e6, path.stat().st_size / count, (queried - wrote) * 1e3)


if __name__ == "__main__":
    main()
