"""`python -m worker`: it is as robust as a fleet, and shares a folder and a database with others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.evidence import assert_complete, open_database, read_records
from tests.process.mixed_kinds import filled_columns
from tests.process.running_fleet import fleet, wait_for
from tests.process.single_worker import SingleWorker, worker

pytestmark = pytest.mark.claim("001.local-development.4")

CONFIG = """
version: 2
simulation: {readings_per_second: 20}
database: {path: store/sensor_data.db, batch_interval: 0.2, retry_attempts: 1, retry_delay: 0.1}
supervision: {backoff_min_seconds: 0.2}
monitoring: {enabled: true}
"""
IDENTITY = {"id": "SENSOR_001", "type": "temperature_vibration", "location": "Factory A - Line 1", "timezone": "UTC"}

DOCUMENTS = {
    "/livez": {"status"},
    "/healthz": {"status", "timestamp"},
    "/statusz": {"configuration", "runtime", "anomalies", "database"},
    "/metricz": {"total_readings", "anomalies_by_type", "database", "error_count"},
    "/samplez": {"samples"},
    "/db_stats": {"total_records", "database_size_bytes", "disk_usage", "tables"},
}

Start = Callable[..., SingleWorker]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with both files under their default names."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "node_identity.json").write_text(json.dumps(IDENTITY))
    return folder


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    """A function that starts single workers; `sensor` is the name of the folder that each keeps."""
    started: list[SingleWorker] = []

    def begin(sensor: str, *arguments: object, store: str = "store", **environment: str) -> SingleWorker:
        output = tmp_path / f"output-{len(started)}"
        started.append(SingleWorker(folder, output, f"{store}/workers/{sensor}", *arguments, environment=environment))
        return started[-1]

    yield begin
    for single in started:
        single.end()


@pytest.mark.claim("000.api-endpoints.1", "000.api-endpoints.4", "000.overview-quick.6", "002.getting-started.5")
def test_it_serves_survives_and_drains(start: Start, folder: Path) -> None:
    """Its documents are served at the root, a killed worker process is replaced, and SIGTERM ends it with complete data."""
    single = start("SENSOR_001", "--config", "config.yaml", "--identity", "node_identity.json").ready()
    for path, names in DOCUMENTS.items():
        status, document = single.get(path)
        assert (200, set()) == (status, names - document.keys()), path
    wait_for(lambda: single.get("/samplez")[1]["count"] == 10, "ten samples")
    assert {"SENSOR_001"} == {sample["sensor_id"] for sample in single.get("/samplez")[1]["samples"]}

    old = single.worker("SENSOR_001")
    old.kill()
    single.wait_for_replacement("SENSOR_001", old)

    assert 0 == single.stop()
    assert_complete(folder / "store", 1)
    assert ["sensor_data.db", "workers"] == sorted(path.name for path in (folder / "store").iterdir())
    with open_database(folder / "store" / "sensor_data.db") as database:
        assert {("Factory A - Line 1", None)} == set(database.execute("SELECT location, humidity FROM sensor_readings"))
    assert 0 == fleet("verify", "--data", folder / "store").returncode


def test_a_database_that_takes_nothing_makes_it_unready_and_not_dead(start: Start, folder: Path) -> None:
    """/healthz is 503 with the reason, /livez stays 200, and nothing is restarted; afterwards no reading is missing."""
    single = start("SENSOR_001").ready()
    with open_database(folder / "store" / "sensor_data.db") as database:
        database.execute("BEGIN IMMEDIATE")
        wait_for(lambda: single.get("/healthz")[0] == 503, "it is unready")
        health = single.get("/healthz")[1]
        alive = single.get("/livez")
        wait_for(lambda: re.search(r"SENSOR_001: unready: .*locked", single.output), "the console says why")
        database.execute("ROLLBACK")

    assert ("unhealthy", (200, {"status": "alive"})) == (health["status"], alive)
    assert "locked" in health["reason"]
    wait_for(lambda: single.get("/healthz")[0] == 200, "it is well again")
    assert 0 == int(single.row("SENSOR_001")["restarts"])
    wait_for(lambda: "SENSOR_001: no longer unready" in single.output, "the console says so")
    single.interrupt()
    assert 0 == single.wait()
    assert_complete(folder / "store", 1)


@pytest.mark.claim(
    "000.performance-characteristics.6",
    "001.introduction.3",
    "001.simulator.5",
    "001.troubleshooting.12",
    "002.demo-script.1",
)
def test_several_share_one_database(start: Start, folder: Path) -> None:
    """Several workers share a database, as containers with one volume do; the same id twice is refused."""
    names = ("ONE", "TWO")
    singles = [start(name, SENSOR_ID=name, SENSOR_LOCATION=f"Line {name}") for name in names]
    for single in singles:
        single.ready()

    _, error, code = worker(cwd=folder, environment={"SENSOR_ID": "ONE"})

    assert ("1", True) == (code, "another fleet runs here" in error), error
    assert [0, 0] == [single.stop() for single in singles]
    assert_complete(folder / "store", 2)
    with open_database(folder / "store" / "sensor_data.db") as database:
        found = database.execute("SELECT DISTINCT sensor_id, location FROM sensor_readings ORDER BY 1").fetchall()
    assert [(name, f"Line {name}") for name in names] == found
    assert 0 == fleet("verify", "--data", folder / "store").returncode


def test_two_kinds_share_one_database(start: Start, folder: Path) -> None:
    """SENSOR_TYPE is the kind of a worker whose identity names none. Each has the columns of its kind, and is verified by
    itself and beside the other."""
    (folder / "node_identity.json").unlink()
    singles = [start(name, SENSOR_ID=name, SENSOR_TYPE=name) for name in ("pipeline", "bme280")]
    for single in singles:
        single.ready()

    assert [0, 0] == [single.stop() for single in singles]
    filled = filled_columns(folder / "store")
    assert {"in_weather_event"} <= filled["bme280"] <= {"in_weather_event", "weather_event_type"}
    assert {"type", "unit", "pipeline_id", "mile_post", "status", "quality_score", "alert_level"} <= filled["pipeline"]
    for data in ("store", "store/workers/pipeline", "store/workers/bme280"):
        verdict = fleet("verify", "--data", data, cwd=folder)
        assert (0, "") == (verdict.returncode, verdict.stderr), verdict.stdout


@pytest.mark.claim("000.code-structure.4", "001.configuration-options.4")
def test_without_any_file_it_is_a_sensor_of_its_own(start: Start, folder: Path) -> None:
    """Its identity is generated, and kept after a restart. A config for a fleet runs one sensor, with a warning, and for
    its run time."""
    (folder / "config.yaml").unlink()
    (folder / "node_identity.json").unlink()
    first = start("unnamed", store="data").ready()
    assert 0 == first.stop()
    (folder / "config.yaml").write_text("version: 1\nreplicas: {count: 7}\nsimulation: {run_time_seconds: 1}\n")

    output, error, code = worker(cwd=folder, environment={"MONITORING_PORT": ""})

    assert "0" == code, error
    assert f"sensor {first.sensors[0]}, " in output
    assert "dashboard" not in output, "a version 1 config has no HTTP"
    assert "warning: config.yaml: replicas.count is 7" in error
    assert [first.sensors[0]] == list(read_records(folder / "data"))
    assert 0 == fleet("verify", "--complete", "--data", "data/workers/unnamed", cwd=folder).returncode


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--config", "none.yaml"), "worker: none.yaml: "),
        (("--identity", "none.json"), "worker: none.json: "),
        (("--generate-identity", "node_identity.json"), "worker: node_identity.json: cannot be written: File exists"),
    ],
)
def test_mistakes_are_one_line(folder: Path, arguments: tuple[str, ...], complaint: str) -> None:
    """A mistake is one line of error, and nothing is written."""
    before = sorted(folder.rglob("*"))

    output, error, code = worker(*arguments, cwd=folder)

    assert ("", "1", 1) == (output, code, error.count("\n")), error
    assert error.startswith(complaint)
    assert before == sorted(folder.rglob("*"))
