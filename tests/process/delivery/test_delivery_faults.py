"""`delivery.faults` in a fleet that runs: nothing is lost but what is dropped on purpose, whoever is killed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import psutil
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from fleet.runtime.control_client import send_command
from tests.fleet.delivery.collecting import CollectProcess, collect
from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.delivery.receiver_process import BATCH, receiving
from tests.process.running_fleet import FleetProcess, fleet, wait_for
from tests.servers.mosquitto import broker

CONFIG = """
replicas: {count: 3}
delivery:
  interval: 0.2
  faults:
    duplicate: {probability: 10%}
    late: {probability: 10%, mean: 1s}
    out_of_order: {probability: 10%, window: 5}
    drop: {probability: 5%}
    newest_first: {probability: 30%, duration: 0.5}
"""


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in path.read_text().splitlines())


def on_record(data: Path, query: str) -> list[Any]:
    return list(select(data / ".collector" / "faults.sqlite", query))


def readings_of(data: Path, condition: str = "1") -> set[tuple[str, int]]:
    """Return the generation of the database and the id of each reading."""
    return {
        (generation, number)
        for database in data.glob("*.db")
        for (generation,) in select(database, "SELECT generation FROM database_info")
        for (number,) in select(database, f"SELECT id FROM sensor_readings WHERE {condition}")
    }


def delivery_process(running: FleetProcess) -> psutil.Process | None:
    for child in psutil.Process(running.pid).children():
        if any("faults.sqlite" in opened.path for opened in child.open_files()):
            return child
    return None


def kill_delivery(running: FleetProcess) -> None:
    victim = wait_for(lambda: delivery_process(running), "the delivery runs")
    victim.kill()
    victim.wait(10)


def assert_all_is_there(data: Path, path: Path) -> None:
    """Once, but for the copies, and for what is dropped."""
    kinds = {(source, number): kind for source, number, kind in on_record(data, "SELECT source, id, kind FROM faults")}
    times = Counter((line["generation"], line["id"]) for line in lines_of(path))
    generated = readings_of(data)
    assert {"duplicate", "late", "out_of_order", "drop", "newest_first"} == set(kinds.values())
    assert generated - {key for key, kind in kinds.items() if kind == "drop"} == times.keys()
    assert {key for key, count in times.items() if count > 1} == {
        key for key, kind in kinds.items() if kind == "duplicate"
    }
    assert [(0,)] == on_record(data, "SELECT count(*) FROM faults WHERE held")


def test_nothing_is_lost_when_the_delivery_is_killed(up: Up, tmp_path: Path) -> None:
    """Nor when the whole fleet is, and goes on later, without faults."""
    config, data, path = tmp_path / "fleet.yaml", tmp_path / "data", tmp_path / "out.jsonl"
    config.write_text(CONFIG)
    arguments = ("-c", config, "--rate", 20, "--to", f"jsonl:{path}")
    running = up(*arguments).ready()
    for length in (100, 200):
        wait_for(lambda length=length: path.exists() and len(path.read_text().splitlines()) > length, "it delivers")  # type: ignore[misc]
        kill_delivery(running)
    wait_for(lambda: on_record(data, "SELECT 1 FROM faults WHERE held AND kind != 'duplicate'"), "readings wait")
    for process in running.processes():
        process.kill()
    running.wait_until_gone(20)

    waiting = set(on_record(data, "SELECT source, id FROM faults WHERE held AND kind != 'duplicate'"))
    assert waiting
    assert waiting <= readings_of(data, "synced = 0")
    config.write_text("replicas: {count: 3}\n")
    again = up(*arguments, "--for", "3s")
    assert 0 == again.wait(), again.output
    assert_all_is_there(data, path)
    assert set() == readings_of(data, "synced = 0")
    verdict = fleet("verify", "--data", data, "--against", f"jsonl:{path}", "--complete")
    assert 1 == verdict.returncode
    for words in ("are there twice: kept", "are there: taken", "dropped on purpose, not counted as lost"):
        assert words in verdict.stdout
    assert "did not arrive" not in verdict.stdout
    assert "arrived after later ones" not in verdict.stdout


def test_a_collector_puts_faults_on_the_way(up: Up, tmp_path: Path) -> None:
    """Beside a fleet that delivers nothing itself, also if it is killed: what it holds back is sent by the next one."""
    config, data, path = tmp_path / "faults.yaml", tmp_path / "data", tmp_path / "out.jsonl"
    config.write_text(CONFIG)
    running = up("--replicas", 3, "--rate", 20, "--for", "3s")
    wait_for(lambda: list(data.glob("*.db")), "the fleet writes")
    collector = CollectProcess(data, f"jsonl:{path}", "--cursor", "--faults", config, "--interval", "100ms")
    wait_for(
        lambda: path.exists() and on_record(data, "SELECT 1 FROM faults WHERE held AND kind != 'duplicate'"), "it holds"
    )
    collector.kill()
    assert 0 == running.wait(), running.output
    code, _, said = collect(data, f"jsonl:{path}", "--cursor", "--faults", config)

    assert (0, "") == (code, said)
    assert_all_is_there(data, path)
    verdict = fleet("verify", "--data", data, "--against", f"jsonl:{path}", "--complete").stdout
    assert "are there twice: kept" in verdict
    assert "did not arrive" not in verdict


def test_faults_are_injected_while_a_fleet_runs(up: Up, tmp_path: Path) -> None:
    """The readings of that time have them, also if the delivery is killed in between; a cancelled one ends at once."""
    data, path = tmp_path / "data", tmp_path / "out.jsonl"
    running = up("--replicas", 3, "--rate", 20, "--to", f"jsonl:{path}").ready()

    def inject(**command: Any) -> dict[str, Any]:
        return send_command(data / "run" / "control.sock", 30, **{"command": "inject_fault", **command})

    doubled = inject(type="duplicate", seconds=1, size=2, id="twice")
    wait_for(lambda: max(Counter(path.read_bytes().splitlines()).values(), default=0) > 1, "the first copy")
    kill_delivery(running)
    inject(type="drop", sensors=running.sensors[:1], probability=0.5, seconds=3600, id="lost")
    wait_for(lambda: on_record(data, "SELECT 1 FROM faults WHERE kind = 'drop' LIMIT 5, 1"), "some are dropped")
    dropped = inject(command="cancel", id="lost")
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait(), running.output

    spans = {"duplicate": doubled, "drop": dropped}
    kinds = {(source, number): kind for source, number, kind in on_record(data, "SELECT source, id, kind FROM faults")}
    times = Counter((line["generation"], line["id"]) for line in lines_of(path))
    within = {
        kind: readings_of(data, f"timestamp >= '{span['from']}' AND timestamp < '{span['until']}'")
        for kind, span in spans.items()
    }
    assert within["duplicate"] == {key for key, kind in kinds.items() if kind == "duplicate"}
    assert within["duplicate"] == {key for key, count in times.items() if count > 2}
    lost = readings_of(data) - times.keys()
    assert lost == {key for key, kind in kinds.items() if kind == "drop"}
    assert lost <= within["drop"] & readings_of(data, f"sensor_id = '{running.sensors[0]}'")
    verdict = fleet("verify", "--data", data, "--against", f"jsonl:{path}")
    assert f"duplicate: {len(within['duplicate'])} sent twice" in verdict.stdout, verdict.stderr
    assert "did not arrive" not in verdict.stdout


def test_a_server_that_handles_them(up: Up, tmp_path: Path) -> None:
    """`fleet receive` recognises copies, takes late readings, and refuses texts in the place of numbers; that is no error."""
    config, data = tmp_path / "fleet.yaml", tmp_path / "data"
    config.write_text(f"{CONFIG}    corrupt: {{probability: 10%}}\n")
    with receiving(tmp_path / "central.db") as receiver:
        server = f"http://127.0.0.1:{receiver.port}{BATCH}"
        running = up("-c", config, "--rate", 20, "--for", "4s", "--to", server)
        assert 0 == running.wait(), running.output

    verdict = fleet("verify", "--data", data, "--against", f"sqlite:///{tmp_path}/central.db", "--complete")
    assert 0 == verdict.returncode, verdict.stdout
    for words in (
        "0 are there twice: removed",
        "are there: taken",
        "0 are there with wrong values: refused",
        "no differences",
    ):
        assert words in verdict.stdout


def test_a_subscriber_that_handles_them_and_one_that_does_not(up: Up, tmp_path: Path) -> None:
    """Messages of a broker: copies and halves of records among them."""
    config, data = tmp_path / "fleet.yaml", tmp_path / "data"
    config.write_text(f"{CONFIG}    truncate: {{probability: 10%}}\n")
    payloads: list[bytes] = []
    with broker(tmp_path) as server:
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: payloads.append(bytes(message.payload))
        client.connect("127.0.0.1", server.port)
        client.subscribe("plant/+", qos=1)
        client.loop_start()
        running = up("-c", config, "--rate", 20, "--for", "4s", "--to", f"{server.url}/plant/{{sensor_id}}")
        assert 0 == running.wait(), running.output
        sent = len(readings_of(data)) + sum(
            {"drop": -1, "duplicate": 1}.get(kind, 0) for (kind,) in on_record(data, "SELECT kind FROM faults")
        )
        wait_for(lambda: len(payloads) >= sent, "all arrive")
        client.loop_stop()

    assert sent == len(payloads)
    kept = [json.loads(payload) for payload in payloads if payload.endswith(b"}")]
    for name, documents in {"careless": kept, "careful": {each["key"]: each for each in kept}.values()}.items():
        rows = [(each["sensor_id"], each["timestamp"], each["temperature"]) for each in documents]
        with closing(apsw.Connection(str(tmp_path / f"{name}.db"))) as opened, opened:
            opened.execute("CREATE TABLE sensor_readings (sensor_id, timestamp, temperature)")
            opened.executemany("INSERT INTO sensor_readings VALUES (?, ?, ?)", rows)
    careless, careful = (
        fleet("verify", "--data", data, "--against", f"sqlite:///{tmp_path / name}.db", "--complete")
        for name in ("careless", "careful")
    )
    assert (1, 0) == (careless.returncode, careful.returncode), careful.stdout
    assert "are there twice: kept" in careless.stdout
    assert "0 are there twice: removed" in careful.stdout
    assert "0 are there with wrong values: refused" in careful.stdout
