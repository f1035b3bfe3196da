"""Databases that somebody else has been at: whatever is in them, each of the aggregator's documents about them is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from tests.fleet.staged import StagedFleet, client_of, sensor_name
from tests.fuzz.bounds import examples, processor_time_limit
from worker.storage.schema import SCHEMA

pytestmark = pytest.mark.thorough

TABLES = ("sensor_readings", "anomaly_episodes", "checkpoints", "database_info")
COLUMNS = (
    "id",
    "timestamp",
    "sensor_id",
    "temperature",
    "anomaly_flag",
    "parameters",
    "first_seq",
    "start_time",
    "seq",
)
VALUES = (
    *("NULL", "0", "-1", "1.5", "9e999", "-9e999", "1e308", "9223372036854775807", "-9223372036854775808", "''", "'a'"),
    *(
        "x'00ff'",
        "x''",
        "zeroblob(100000)",
        "CAST(x'ff' AS TEXT)",
        "CAST(x'610062' AS TEXT)",
        "char(0xd800)",
        "char(0)",
    ),
    *(
        "'NaN'",
        "'[NaN]'",
        "'{\"a\": Infinity}'",
        "'1e999'",
        "'\"\\ud800\"'",
        "'{\"\\udc00\": 1}'",
        "'{'",
        "'null'",
        "'5'",
    ),
    *(f"'{'[' * depth}{']' * depth}'" for depth in (500, 990, 5000)),
    *(f"'{'9' * digits}'" for digits in (400, 4300, 5000)),
)
OTHERS = (
    "CREATE TABLE sensor_readings (id TEXT, sensor_id, timestamp)",
    "CREATE TABLE sensor_readings (id INTEGER PRIMARY KEY)",
    "CREATE TABLE sensor_readings (id REAL, timestamp BLOB, sensor_id TEXT, seq, x AS (id / 0))",
    "CREATE TABLE sensor_readings (id, timestamp, sensor_id) STRICT",
    "CREATE TABLE sensor_readings (id PRIMARY KEY, timestamp, sensor_id, timestamp2) WITHOUT ROWID",
    "CREATE VIEW sensor_readings AS SELECT 1 AS id, x'ff' AS timestamp, 'BER_000000' AS sensor_id",
    "CREATE VIEW sensor_readings AS SELECT * FROM sensor_readings",
    "CREATE VIEW sensor_readings AS SELECT 'x' AS id, 1 AS id, 2 AS sensor_id, 3 AS sensor_id",
    "CREATE TABLE anomaly_episodes (sensor_id, first_seq, parameters BLOB)",
    "CREATE VIRTUAL TABLE sensor_readings USING fts5(id, timestamp, sensor_id)",
    'CREATE TABLE "a""b; --" ("rowid" TEXT, oid BLOB, "_rowid_" REAL)',
    'CREATE TABLE "" ("" "")',
    "CREATE TABLE t (rowid TEXT)",
    "INSERT INTO t VALUES (x'ff')",
    "CREATE TABLE é (ü)",
    "DROP VIEW sensor_readings",
)
PATHS = (
    *("/samplez", "/samplez?limit=1000", "/db_stats"),
    *(f"/workers/{sensor_name(0)}{rest}" for rest in ("/samplez", "/samplez?limit=1000", "/db_stats", "/episodes")),
)

values = st.sampled_from(VALUES)
tables = st.sampled_from(TABLES)
columns = st.sampled_from(COLUMNS)
statements = st.one_of(
    st.builds("UPDATE {} SET {} = {}".format, tables, columns, values),
    st.builds(
        "INSERT INTO sensor_readings (id, timestamp, sensor_id, seq) VALUES ({}, {}, {}, {})".format, *[values] * 4
    ),
    st.builds(
        f"INSERT INTO anomaly_episodes VALUES ('{sensor_name(0)}', {{}}, {{}}, {{}}, 9, 'a', 'b', {{}})".format,
        *[values] * 4,
    ),
    st.builds("INSERT INTO {} SELECT {} FROM {}".format, tables, columns, tables),
    st.builds("DROP TABLE {}".format, tables),
    st.builds("ALTER TABLE {} RENAME COLUMN {} TO x".format, tables, columns),
    st.builds("ALTER TABLE {} DROP COLUMN {}".format, tables, columns),
    st.builds("ALTER TABLE {} RENAME TO x".format, tables),
    st.builds("ALTER TABLE {} ADD COLUMN y DEFAULT {}".format, tables, values),
    st.sampled_from(OTHERS),
    st.sampled_from(("PRAGMA encoding = 'UTF-16be'", "PRAGMA page_size = 512", "PRAGMA user_version = -1", "VACUUM")),
)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> StagedFleet:
    staged = StagedFleet(tmp_path_factory.mktemp("databases") / "data", 2)
    for number in range(2):
        staged.write(number, 3, "spike")
    return staged


@pytest.fixture(scope="module")
def client(staged: StagedFleet) -> FlaskClient:
    return client_of(staged)


def assert_json(client: FlaskClient) -> None:
    with processor_time_limit():
        for path in PATHS:
            response = client.get(path)
            assert response.status_code in (200, 503), (path, response.data)
            json.loads(response.data, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@examples(120)
@given(changes=st.lists(statements, min_size=1, max_size=6))
def test_an_odd_database(staged: StagedFleet, client: FlaskClient, changes: list[str]) -> None:
    """Other tables, columns and types, and in them whatever SQLite can hold."""
    path = staged.members[0].database
    begin_anew(path)
    connection = apsw.Connection(str(path))
    for statement in (*changes[:1], SCHEMA, *ROWS, *changes[1:]):
        try:
            connection.execute(statement)
        except (apsw.Error, UnicodeError):
            continue  # not all of them go with each other
    connection.close(True)

    assert_json(client)


ROWS = (
    f"INSERT INTO sensor_readings (timestamp, sensor_id, seq) VALUES ('2026', '{sensor_name(0)}', 0), ('2027', '{sensor_name(0)}', 1)",
    f"INSERT INTO anomaly_episodes VALUES ('{sensor_name(0)}', 'spike', 'temperature', 1, 1, 'a', 'b', '{{}}')",
)


@examples(60)
@given(content=st.binary(max_size=200), at=st.integers(0, 40_000), header=st.booleans())
def test_a_database_with_odd_bytes(
    staged: StagedFleet, client: FlaskClient, content: bytes, at: int, header: bool
) -> None:
    """A few bytes of its pages replaced, or of its header."""
    path = staged.members[0].database
    begin_anew(path)
    staged.write(0, 30, "spike")
    data = bytearray(path.read_bytes())
    first = at % 100 if header else at % len(data)
    data[first : first + len(content)] = content
    begin_anew(path)
    path.write_bytes(data)

    assert_json(client)


def begin_anew(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
