"""Every query of README and docs on a million readings: milliseconds of processor time, the best of three.

`python benchmarks/queries.py [READINGS] [FOLDER]` writes the database in FOLDER. Of a query that returns more than a
thousand rows, the time to the first thousand is taken: the rest is the export of what was asked for.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import apsw

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fleet.catalogue.catalogue import load_catalogue  # noqa: E402
from fleet.catalogue.cities import CityFilters, filter_cities, read_cities  # noqa: E402
from fleet.config.config import load_config  # noqa: E402
from fleet.config.settings import settings_for  # noqa: E402
from fleet.delivery.columns import DELIVERED_COLUMNS  # noqa: E402
from fleet.delivery.targets.sqlite.central_database import open_central  # noqa: E402
from fleet.delivery.targets.sqlite.statements import copy_readings_sql  # noqa: E402
from fleet.identities.generator import IdentityGenerator  # noqa: E402
from tests.docs.page_queries import add_columns_of_all_kinds, queries  # noqa: E402
from tests.worker.samples import SECOND_US, run  # noqa: E402
from worker.sensor import Sensor  # noqa: E402
from worker.spec import SensorSpec, StoreSpec  # noqa: E402
from worker.storage.connection import checkpoint_wal  # noqa: E402
from worker.storage.database import Database  # noqa: E402

READINGS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
SENSORS = 100
SECONDS_PER_COMMIT = 20
TIMES = 3
MAX_ROWS = 1_000
MAX_MS = 1_000


def main() -> int:
    slow = 0
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        path = write(Path(folder, "sensor_data.db"))
        with closing(apsw.Connection(str(path))) as connection:
            add_columns_of_all_kinds(connection)
            count = connection.execute("SELECT count(*) FROM sensor_readings").get
            episodes = connection.execute("SELECT count(*) FROM anomaly_episodes").get
            print(f"{count:,} readings, {episodes:,} episodes, {path.stat().st_size / 1e6:.0f} MB")
            central = connected_central(Path(folder, "central.db"), path, count)
            for query in queries():
                took = min(measured(central if query.central else connection, query.sql) for _ in range(TIMES))
                slow += took > MAX_MS
                print(f"{took:9.1f} ms  {query!s:40} {' '.join(query.sql.split())[:80]}", flush=True)
    return 1 if slow else 0


def write(path: Path) -> Path:
    """Let SENSORS sensors of the default config, one reading a second, write to a shared database by turns."""
    catalogue, config = load_catalogue(), load_config(None)
    generator = IdentityGenerator(
        51, filter_cities(read_cities(), CityFilters(number_of_cities=20)), catalogue.sensor_type("environmental")
    )
    identities = [generator.generate(number).identity for number in range(SENSORS)]
    sink, run_spec = Database(StoreSpec(path, shared=True)), run()
    positions = sink.claim(identities, 1)
    sensors = [
        Sensor(
            SensorSpec(identity, replace(settings_for(config, catalogue, identity), rate="1"), row), run_spec, position
        )
        for row, (identity, position) in enumerate(zip(identities, positions, strict=True))
    ]
    for passed in range(SECONDS_PER_COMMIT, READINGS // SENSORS + 1, SECONDS_PER_COMMIT):
        for sensor in sensors:
            portions = sensor.portions(run_spec.start_us + passed * SECOND_US - 1, 100_000)
            sink.deliver(portions)
            for portion in portions:
                sensor.commit(portion)
    sink.close()
    checkpoint_wal(path)
    return path


def connected_central(path: Path, source: Path, readings: int) -> apsw.Connection:
    """Copy the readings into a central database."""
    central = open_central(path)
    central.execute("ATTACH ? AS source", (str(source),))
    central.execute("INSERT INTO sources (source, generation, name) VALUES (1, 'G', 'sensor_data.db')")
    for first in range(1, readings + 1, 1_000):
        central.execute(copy_readings_sql(DELIVERED_COLUMNS), (1, 1, first, first + 999))
    central.execute("INSERT INTO anomaly_episodes SELECT 1, * FROM source.anomaly_episodes")
    central.execute("DETACH source")
    return central


def measured(connection: apsw.Connection, sql: str) -> float:
    some = str(connection.execute("SELECT sensor_id FROM sensor_readings LIMIT 1").get)
    sql = re.sub(r"(?<=sensor_id = ')\w+(?=')", some, sql)
    bindings = {"last_id": READINGS // 2} if ":last_id" in sql else None
    begun = time.thread_time()
    with connection:
        cursor = connection.execute(sql, bindings)
        list(islice(cursor, MAX_ROWS))
        cursor.close(True)
    return (time.thread_time() - begun) * 1000


if __name__ == "__main__":
    sys.exit(main())
