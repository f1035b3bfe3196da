"""Every query of the pages runs, and those that look for the readings of an episode use an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import apsw
import pytest

from fleet.delivery.columns import DELIVERED_COLUMNS
from fleet.delivery.targets.sqlite.central_database import open_central
from fleet.delivery.targets.sqlite.statements import copy_readings_sql
from tests.docs.page_queries import Query, add_columns_of_all_kinds, queries
from tests.fleet.verify.damage import make_identities, write_database
from worker.storage.schema import READINGS_KEY

QUERIES = [query for query in queries() if not query.central]
CENTRAL_QUERIES = [query for query in queries() if query.central]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """A database that three sensors share, which may be written to; with the further columns of all packaged kinds."""
    path = tmp_path_factory.mktemp("queries") / "sensor_data.db"
    write_database(path, 600, sensors=make_identities(3))
    with closing(apsw.Connection(str(path))) as opened:
        add_columns_of_all_kinds(opened)
        yield opened


@pytest.fixture(scope="module")
def central(connection: apsw.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """A central database with the readings of that one."""
    with closing(open_central(tmp_path_factory.mktemp("central") / "central.db")) as opened:
        opened.execute("ATTACH ? AS source", (connection.filename,))
        opened.execute("INSERT INTO sources (source, generation, name) VALUES (1, 'G', 'sensor_data.db')")
        opened.execute(copy_readings_sql(DELIVERED_COLUMNS), (1, 1, 1, 1 << 60))
        opened.execute("INSERT INTO anomaly_episodes SELECT 1, * FROM source.anomaly_episodes")
        opened.execute("DETACH source")
        yield opened


def plan(connection: apsw.Connection, query: Query) -> list[str]:
    return [str(step[3]) for step in connection.execute(f"EXPLAIN QUERY PLAN {query.sql}")]


def test_the_queries_are_found() -> None:
    assert 25 < len(QUERIES)
    assert 2 == len(CENTRAL_QUERIES)
    assert {"README.md", "docs/quickstart.md", "docs/behaviour.md"} < {page for page, *_ in QUERIES}


@pytest.mark.parametrize("query", QUERIES, ids=map(str, QUERIES))
def test_a_query_runs(query: Query, connection: apsw.Connection) -> None:
    bindings = {"last_id": 0} if ":last_id" in query.sql else None
    rows = connection.execute(query.sql, bindings).fetchall()

    assert rows or "UPDATE" in query.sql or "sensor_id = '" in query.sql


@pytest.mark.parametrize("query", [query for query in QUERIES if "r.seq" in query.sql], ids=str)
def test_the_readings_of_an_episode_are_found_by_their_key(query: Query, connection: apsw.Connection) -> None:
    steps = plan(connection, query)

    assert any(READINGS_KEY in step for step in steps), steps
    assert "SCAN r" not in steps


@pytest.mark.parametrize("query", CENTRAL_QUERIES, ids=str)
def test_a_query_of_a_central_database_uses_its_key(query: Query, central: apsw.Connection) -> None:
    steps = plan(central, query)

    assert any(step.startswith("SEARCH r USING INDEX reading_key (source=? AND sensor_id=?") for step in steps), steps
    assert central.execute(query.sql).fetchall() or "KIN_569899" in query.sql
