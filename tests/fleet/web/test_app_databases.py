"""Documents that are read from the databases, and the answers when a database cannot be read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import apsw
import pytest
from flask.testing import FlaskClient

from fleet.datadir import readings
from tests.fleet.staged import StagedFleet, client_of, sensor_name, timestamp_at

COLUMNS = (
    "id timestamp sensor_id temperature humidity pressure vibration voltage status_code anomaly_flag anomaly_type"
    " synced firmware_version model manufacturer serial_number manufacture_date location latitude longitude"
    " original_timezone deployment_type installation_date height_meters orientation_degrees instance_id sensor_type seq"
)


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    """A folder whose name means something in a URI."""
    return StagedFleet(tmp_path / "da ta?mode=rwc#1%20é")


@pytest.fixture
def client(staged: StagedFleet) -> FlaskClient:
    return client_of(staged)


def answered(client: FlaskClient, path: str, status: int = 200) -> Any:
    response = client.get(path)

    assert status == response.status_code, response.data
    return json.loads(response.data)


@pytest.mark.claim("000.api-endpoints.4")
def test_samples_of_a_sensor(staged: StagedFleet, client: FlaskClient) -> None:
    """The last ten readings, newest first, with every column by name; `limit` asks for more."""
    staged.write(0, 15, "spike")
    document = answered(client, f"/workers/{sensor_name(0)}/samplez")

    assert (10, list(range(14, 4, -1))) == (document["count"], [sample["seq"] for sample in document["samples"]])
    assert COLUMNS.split() == list(document["samples"][0])
    assert ("spike", timestamp_at(14), 22.5) == tuple(
        document["samples"][0][key] for key in ("anomaly_type", "timestamp", "temperature")
    )
    assert 15 == answered(client, f"/workers/{sensor_name(0)}/samplez?limit=1000")["count"]


@pytest.mark.claim("001.http-monitoring.4")
def test_samples_of_the_fleet(staged: StagedFleet, client: FlaskClient) -> None:
    """The newest readings of all sensors together."""
    for number in range(3):
        staged.write(number, 10 + number)
    samples = answered(client, "/samplez?limit=4")["samples"]

    assert [timestamp_at(11), timestamp_at(10), timestamp_at(10), timestamp_at(9)] == [
        sample["timestamp"] for sample in samples
    ]


def test_samples_are_of_those_who_committed_last(tmp_path: Path) -> None:
    """Of many databases only the ten with the latest commits are opened."""
    staged = StagedFleet(tmp_path / "data", 12)
    for number in range(12):
        staged.write(number, 1)
        staged.set(number, committed_at_us=100 - number)
    samples = answered(client_of(staged), "/samplez?limit=1000")["samples"]

    assert {sensor_name(number) for number in range(10)} == {sample["sensor_id"] for sample in samples}


def test_a_shared_database(tmp_path: Path) -> None:
    """In a database that sensors share, each one's samples and episodes are its own."""
    staged = StagedFleet(tmp_path / "data", layout="packed")
    for number in range(3):
        staged.write(number, 20, "trend" if number == 1 else None)
    client = client_of(staged)

    assert {sensor_name(0)} == {
        sample["sensor_id"] for sample in answered(client, f"/workers/{sensor_name(0)}/samplez")["samples"]
    }
    assert 0 == answered(client, f"/workers/{sensor_name(0)}/episodes")["count"]
    stats = answered(client, f"/workers/{sensor_name(0)}/db_stats")
    assert (60, 20, 3) == (stats["total_records"], stats["sensor_records_this_run"], stats["sensors"])
    assert (60, 1) == tuple(answered(client, "/db_stats")[key] for key in ("total_records", "database_count"))


def test_the_search_in_a_shared_database_is_bounded(tmp_path: Path) -> None:
    """A sensor that was silent for longer than the bound costs no walk through the whole table."""
    staged = StagedFleet(tmp_path / "data", layout="packed")
    staged.write(0, 1)
    staged.write(1, 1)
    connection = apsw.Connection(str(staged.members[0].database))
    connection.execute(
        "UPDATE sensor_readings SET id = id + ?1 WHERE sensor_id = ?2", (readings.MAX_SCANNED_ROWS, sensor_name(1))
    )
    connection.close()

    assert [] == readings.latest_readings(staged.members[0].database, 10, sensor_name(0))
    assert 1 == len(readings.latest_readings(staged.members[0].database, 10, sensor_name(1)))


@pytest.mark.claim("001.introduction.4")
def test_episodes(staged: StagedFleet, client: FlaskClient) -> None:
    """Anomaly episodes with their parameters as an object."""
    staged.write(0, 5, "spike")

    assert [
        {
            "sensor_id": sensor_name(0),
            "type": "spike",
            "channel": "temperature",
            "first_seq": 4,
            "last_seq": 4,
            "start_time": timestamp_at(4),
            "end_time": timestamp_at(4),
            "parameters": {"multiplier": 2.5},
        }
    ] == answered(client, f"/workers/{sensor_name(0)}/episodes?limit=1")["episodes"]


@pytest.mark.claim("000.api-endpoints.5", "001.http-monitoring.5")
def test_db_stats(staged: StagedFleet, client: FlaskClient) -> None:
    """Counts and sizes of all databases, of the disk, and the tables; a sensor without a database yet has none."""
    staged.write(0, 10)
    staged.write(1, 5)
    stats = answered(client, "/db_stats")

    assert (15, "last row id of every database", 3) == tuple(
        stats[key] for key in ("total_records", "total_records_source", "database_count")
    )
    sizes = [staged.members[number].database.stat().st_size for number in (0, 1)]
    assert sum(sizes) == stats["database_size_bytes"]
    assert {"total_bytes", "used_bytes", "free_bytes"} == stats["disk_usage"].keys()
    tables = {table["name"]: [column["name"] for column in table["columns"]] for table in stats["tables"]}
    assert COLUMNS.split() == tables["sensor_readings"]
    assert "anomaly_episodes" in tables


def test_db_stats_of_many(tmp_path: Path) -> None:
    """Of more databases than a request opens, the records are those that the scoreboard counts, and that is said."""
    staged = StagedFleet(tmp_path / "data", 11)
    for number in range(11):
        staged.write(number, 2)
    stats = answered(client_of(staged), "/db_stats")

    assert (22, 10) == (stats["total_records"], len(stats["databases"]))
    assert stats["total_records_source"].startswith("board")


@pytest.mark.parametrize("rest", ["samplez", "db_stats", "episodes"])
@pytest.mark.parametrize("content", [None, b"", b"junk" * 5000])
def test_a_database_that_cannot_be_read(
    staged: StagedFleet, client: FlaskClient, content: bytes | None, rest: str
) -> None:
    """Missing, empty or no database at all: 503 with the file and the reason, and the file is left as it is."""
    path = staged.members[0].database
    if content is not None:
        path.write_bytes(content)

    reason = "NotADBError" if content else "there is no such database yet" if content is None else "no such table"
    assert f"{path}: " in (error := answered(client, f"/workers/{sensor_name(0)}/{rest}", 503)["error"])
    assert reason in error
    assert content == (path.read_bytes() if path.exists() else None)


def test_a_damaged_page(staged: StagedFleet, client: FlaskClient) -> None:
    """A database with a damaged table is a 503, not a bug."""
    staged.write(0, 500)
    path = staged.members[0].database
    content = bytearray(path.read_bytes())
    content[4096 * 6 :] = b"\xff" * (len(content) - 4096 * 6)
    path.write_bytes(content)

    assert "CorruptError" in answered(client, f"/workers/{sensor_name(0)}/samplez?limit=1000", 503)["error"]


def test_a_locked_database(staged: StagedFleet, client: FlaskClient) -> None:
    """Who holds a database exclusively is waited for only briefly."""
    staged.write(0, 5)
    holder = apsw.Connection(str(staged.members[0].database))
    holder.pragma("journal_mode", "delete")
    holder.execute("BEGIN EXCLUSIVE")

    assert "BusyError" in answered(client, f"/workers/{sensor_name(0)}/samplez", 503)["error"]
    holder.close()


def test_one_bad_database_does_not_hide_the_others(staged: StagedFleet, client: FlaskClient) -> None:
    """The fleet's samples and statistics come from those that can be read, and name the other."""
    staged.write(0, 3)
    staged.write(1, 3)
    staged.members[1].database.write_bytes(b"junk" * 5000)

    assert {sensor_name(0)} == {sample["sensor_id"] for sample in answered(client, "/samplez")["samples"]}
    assert sensor_name(1) in answered(client, "/samplez")["errors"][0]
    assert (1, 1) == tuple(len(answered(client, "/db_stats")[key]) for key in ("errors", "databases"))


def test_values_that_json_does_not_have(staged: StagedFleet, client: FlaskClient) -> None:
    """Infinity and bytes in a database do not break the answer."""
    staged.write(0, 2)
    connection = apsw.Connection(str(staged.members[0].database))
    connection.execute("UPDATE sensor_readings SET temperature = 9e999, location = x'00ff'")
    connection.close()
    sample = answered(client, f"/workers/{sensor_name(0)}/samplez")["samples"][0]

    assert (None, "00ff") == (sample["temperature"], sample["location"])


@pytest.mark.parametrize("text", ["NaN", '{"a": 1e999}', '{"a": [1]}', "[" * 5000, "{", "null", '"\\ud800"'])
def test_odd_parameters_are_returned_as_text(staged: StagedFleet, client: FlaskClient, text: str) -> None:
    """Parameters of an episode that are not a flat JSON object are returned as they are."""
    staged.write(0, 2, "spike")
    connection = apsw.Connection(str(staged.members[0].database))
    connection.execute("UPDATE anomaly_episodes SET parameters = ?", (text,))
    connection.close()

    assert text == answered(client, f"/workers/{sensor_name(0)}/episodes")["episodes"][0]["parameters"]


@pytest.mark.parametrize(
    ("schema", "path", "status"),
    [
        ("CREATE TABLE sensor_readings (id TEXT); INSERT INTO sensor_readings VALUES ('x')", "db_stats", 503),
        (
            "CREATE TABLE sensor_readings (id INTEGER PRIMARY KEY); CREATE TABLE t (rowid); INSERT INTO t VALUES (x'ff')",
            "db_stats",
            200,
        ),
        ("CREATE TABLE sensor_readings (id INTEGER PRIMARY KEY, sensor_id)", "samplez", 200),
    ],
)
def test_foreign_tables(staged: StagedFleet, client: FlaskClient, schema: str, path: str, status: int) -> None:
    """Tables that fleet did not create are answered from, or refused, without a bug."""
    connection = apsw.Connection(str(staged.members[0].database))
    for statement in schema.split(";"):
        connection.execute(statement)
    connection.close()

    answered(client, f"/workers/{sensor_name(0)}/{path}", status)
    assert 200 == client.get("/db_stats").status_code


def test_a_name_that_utf_8_cannot_encode(staged: StagedFleet, client: FlaskClient) -> None:
    """It is escaped."""
    staged.write_roster(config=os.fsdecode(b"fleet\xff.yaml"))

    assert "fleet\udcff.yaml" == answered(client, "/statusz")["configuration"]["config"]
    assert 200 == client.get("/").status_code


def test_the_connection_is_read_only(staged: StagedFleet) -> None:
    """The connection refuses to write."""
    staged.write(0, 1)
    with (
        pytest.raises(readings.DatabaseUnreadable, match="ReadOnlyError"),
        readings.read_only_connection(staged.members[0].database) as opened,
    ):
        opened.execute("DELETE FROM sensor_readings")


def test_samples_as_a_list(staged: StagedFleet, client: FlaskClient) -> None:
    """As the answer was in the generation before, for programs that expect it."""
    staged.write(0, 8)
    for path in ("/samplez", f"/workers/{sensor_name(0)}/samplez"):
        document = answered(client, f"{path}?limit=5")

        assert 5 == len(document["samples"])
        assert document["samples"] == answered(client, f"{path}?limit=5&list=1")
        assert document.keys() == answered(client, f"{path}?list=0").keys()
        assert "list='yes': allowed is one of 0, 1" in answered(client, f"{path}?list=yes", 400)["error"]
