"""`fleet collect` as a user runs it: it stops cleanly, survives being killed, and shares the work with another."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.delivery import foreign_databases
from tests.fleet.delivery.collecting import CollectProcess, collect, count_delivered, count_duplicates
from tests.fleet.delivery.scripted_server import ScriptedResponse, ScriptedServer
from tests.fleet.verify.damage import make_identities, write_database
from tests.process.conftest import Up, lively, up
from tests.process.delivery.receiver_process import receiving
from tests.process.running_fleet import fleet, wait_for
from tests.worker.stores import select

__all__ = ["lively", "up"]

KEY = "SELECT DISTINCT generation, sensor_id, seq FROM sensor_readings JOIN sources USING (source)"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for identity in make_identities(6):
        write_database(folder / f"{identity.sensor_id}.db", 1999, commit_every=500, sensors=[identity])
    return folder


def count(data: Path, condition: str = "1") -> int:
    query = f"SELECT count(*) FROM sensor_readings WHERE {condition}"
    return sum(select(path, query)[0][0] for path in data.glob("*.db") if path.name != "bad.db")


def central_count(central: Path) -> tuple[int, int]:
    """Rows, and different readings among them."""
    ((rows,),) = select(central, "SELECT count(*) FROM sensor_readings")
    return rows, len(select(central, KEY))


def test_one_sweep(data: Path, tmp_path: Path) -> None:
    """Everything is delivered, and reported per database."""
    code, summary, said = collect(data, f"sqlite:///{tmp_path}/central.db")

    assert (0, "") == (code, said)
    assert (6, count(data), 0) == (len(summary["databases"]), count_delivered(summary), count(data, "synced = 0"))
    assert (count(data), count(data)) == central_count(tmp_path / "central.db")


def test_the_summary_for_people(data: Path, tmp_path: Path) -> None:
    done = fleet("collect", "--data-dir", data, "--to", f"sqlite:///{tmp_path}/central.db", "--once")

    lines = done.stdout.splitlines()
    assert ["database", "found", "delivered", "duplicates", "dead", "readings/s"] == lines[0].split()
    assert {f"{identity.sensor_id}.db" for identity in make_identities(6)} == {line.split()[0] for line in lines[1:7]}
    assert lines[-1].startswith(f"{count(data):,} of {count(data):,} readings delivered to sqlite:///")
    assert max(map(len, lines[:-1])) <= 80


@pytest.mark.claim("000.collector-script.4")
def test_the_flags_of_the_documents(data: Path, tmp_path: Path) -> None:
    """As the source documents start their collector; ours takes the URL as it is."""
    with receiving(tmp_path / "central.db") as receiver:
        url = f"http://127.0.0.1:{receiver.port}/ingest"
        done = fleet("collect", "--data-dir", data, "--api-url", url, "--batch-size", 1000, "--once")

    assert (0, "") == (done.returncode, done.stderr)
    assert (count(data), count(data)) == central_count(tmp_path / "central.db")


def test_it_goes_on_and_finds_new_databases_until_it_is_stopped(data: Path, tmp_path: Path) -> None:
    """SIGTERM is a clean end."""
    central = tmp_path / "central.db"
    collecting = CollectProcess(data, f"sqlite:///{central}", "--interval", "100ms")
    try:
        wait_for(lambda: count(data, "synced = 0") == 0, "the first sweep")
        foreign_databases.write(data / "late.db", foreign_databases.SCHEMAS["000"], 20)
        wait_for(lambda: count(data, "synced = 0") == 0, "the late one")
        code, summary, said = collecting.terminate()
    finally:
        collecting.kill()

    assert (0, "") == (code, said)
    assert count(data) == count_delivered(summary) == central_count(central)[0]


def test_sigterm_in_the_middle_of_a_batch(data: Path, tmp_path: Path) -> None:
    """The batch is ended: what has arrived is marked, and what is marked has arrived."""
    central = tmp_path / "central.db"
    with receiving(central, "--delay", "400ms") as receiver:
        collecting = CollectProcess(data, f"http://127.0.0.1:{receiver.port}", "--batch-size", 100)
        try:
            wait_for(lambda: count(data, "synced = 1") > 0, "the first batch")
            code, summary, said = collecting.terminate()
        finally:
            collecting.kill()

    assert (0, "") == (code, said)
    assert 0 < count(data, "synced = 1") < count(data)
    assert count(data, "synced = 1") == count_delivered(summary) == central_count(central)[0]


def test_a_wrong_token_marks_nothing(data: Path, tmp_path: Path) -> None:
    """It is reported once for all databases, without the token, and the exit code is 1."""
    with receiving(tmp_path / "central.db", token="right") as receiver:
        url = f"http://127.0.0.1:{receiver.port}"
        wrong = collect(data, url, COLLECT_TOKEN="not-this-one")
        marked = count(data, "synced = 1")
        right = collect(data, url, COLLECT_TOKEN="right")

    assert (1, 0, 0) == (wrong[0], count_delivered(wrong[1]), marked)
    assert "401" in wrong[2]
    assert 1 == wrong[2].count("\n")
    assert "not-this-one" not in str(wrong)
    assert (0, count(data)) == (right[0], count_delivered(right[1]))


def test_a_longest_run(data: Path, tmp_path: Path) -> None:
    begun = time.monotonic()

    code, summary, _ = CollectProcess(data, f"sqlite:///{tmp_path}/c.db", "--max-runtime", "1s").wait()

    assert (0, count(data)) == (code, count_delivered(summary))
    assert time.monotonic() - begun >= 1


@pytest.mark.thorough
def test_a_request_that_is_never_answered(data: Path) -> None:
    """The collector stops all the same, and reports the readings as not delivered."""
    with ScriptedServer(ScriptedResponse(hangs=True)) as server:
        done = fleet("collect", "--data-dir", data, "--to", server.url, "--max-runtime", "0.5s", "--workers", 2)

    assert 1 == done.returncode
    assert 0 == count(data, "synced = 1")
    lines = done.stdout.splitlines()
    assert [["1,000", "0"]] * 2 == [line.split()[1:3] for line in lines[1:3]]
    assert lines[-3].endswith(" and 1 more: still busy 10 s after the collector was to stop")
    assert "stopped before 6 of 6 databases were swept to their end" == lines[-2]
    assert lines[-1].startswith("0 of 2,000 readings delivered to ")


@pytest.mark.timed
def test_two_collectors_share_the_work(data: Path, tmp_path: Path) -> None:
    """Nothing is delivered twice, for each database has one of them at a time."""
    target = f"sqlite:///{tmp_path}/central.db"

    both = [
        CollectProcess(data, target, "--interval", "50ms", "--batch-size", 50, "--max-runtime", "3s") for _ in range(2)
    ]
    ends = [one.wait() for one in both]

    assert [0, 0] == [code for code, _, _ in ends]
    assert 0 == sum(count_duplicates(summary) for _, summary, _ in ends)
    assert (
        count(data)
        == sum(count_delivered(summary) for _, summary, _ in ends)
        == central_count(tmp_path / "central.db")[1]
    )


def test_health_and_metrics(data: Path, tmp_path: Path) -> None:
    """Healthy while everything arrives, 503 with the reason when a database cannot be swept; numbers for Prometheus."""
    collecting = CollectProcess(data, f"sqlite:///{tmp_path}/c.db", "--interval", "50ms", "--health-port", 0)
    try:
        assert collecting.process.stderr
        url = collecting.process.stderr.readline().split()[-1]
        wait_for(lambda: get(f"{url}health")[1]["collector"]["total_synced"] == count(data), "all is delivered")
        assert (200, "healthy", []) == (
            get(f"{url}health")[0],
            *(get(f"{url}health")[1][key] for key in ("status", "reasons")),
        )
        (data / "bad.db").write_bytes(b"nonsense" * 1000)
        _, document = wait_for(lambda: ((found := get(f"{url}health"))[0] == 503 and found) or None, "it is noticed")
        assert ["bad.db: NotADBError: file is not a database"] == document["reasons"]
        metrics = urllib.request.urlopen(f"{url}metrics", timeout=10).read().decode()
    finally:
        collecting.kill()

    samples = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line[0] != "#"
    }
    assert count(data) == samples["fleet_collector_delivered_readings_total"]
    assert (7, 1) == (samples["fleet_collector_databases"], samples["fleet_collector_failing_databases"])
    assert samples['fleet_collector_failures_total{what="database"}'] >= 1


def get(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.thorough
@pytest.mark.parametrize("cursor", [(), ("--cursor",)], ids=["marking", "cursor"])
def test_killed_again_and_again_while_the_fleet_writes(
    cursor: tuple[str, ...], up: Up, lively: Path, tmp_path: Path
) -> None:
    """After a last sweep every reading is there exactly once."""
    running = up("--config", lively, "--replicas", 8, "--rate", 100, "--seed", 3, "--for", "6s", "--no-http")
    target = f"sqlite:///{tmp_path}/central.db"
    wait_for(lambda: list(running.data.glob("*.db")), "a database")
    while running.process.poll() is None:
        collecting = CollectProcess(running.data, target, *cursor, "--interval", "0.1s", "--batch-size", 10)
        time.sleep(0.7)  # somewhere in its work, as misfortune has it
        collecting.kill()
    assert 0 == running.wait()

    code, _, said = collect(running.data, target, *cursor)

    assert (0, "") == (code, said)
    assert (count(running.data), count(running.data)) == central_count(tmp_path / "central.db")
    assert (0 if not cursor else count(running.data)) == count(running.data, "synced = 0")


def test_one_bad_database_is_told_and_the_exit_code_is_1(data: Path, tmp_path: Path) -> None:
    (data / "S_000003.db").write_bytes(b"nonsense" * 1000)

    code, summary, said = collect(data, f"sqlite:///{tmp_path}/central.db")

    assert 1 == code
    assert "fleet collect: S_000003.db: NotADBError: file is not a database\n" == said
    assert 5 == sum(database["delivered"] > 0 for database in summary["databases"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "ftp://x"), "--to: 'ftp://x' is no target"),
        (("--to", "sqlite:central.db"), "--to: 'sqlite:central.db' names no file"),
        (("--to", "sqlite:////nowhere/at/all.db"), "/nowhere/at/all.db: cannot be the central database"),
        (("--to", "sqlite:///c.db", "--data-dir", "nowhere"), "--data-dir: nowhere is not a directory"),
        (("--to", "sqlite:///c.db", "--batch-size", "0"), "--batch-size: '0' is not a whole number"),
        (("--to", "sqlite:///c.db", "--interval", "soon"), "--interval: 'soon'"),
        (("--to", "sqlite:///c.db", "--state", "/proc/state"), "--state: /proc/state cannot hold"),
    ],
)
def test_wrong_flags(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    """One line, exit code 1, and nothing made."""
    (tmp_path / "data").mkdir()

    done = fleet("collect", *arguments, "--once", cwd=tmp_path)

    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith(f"fleet: {message}"), done.stderr


def test_a_sensors_database_is_no_target(data: Path) -> None:
    done = fleet("collect", "--data-dir", data, "--to", f"sqlite:///{data}/S_000000.db", "--once")

    assert 1 == done.returncode
    assert "is a sensor's database (role live): a central one is a file of its own" in done.stderr
