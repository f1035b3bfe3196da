"""`fleet up --to`: the readings are delivered while they are made, to several targets that do not wait for each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.delivery.receiver_process import BATCH, receiving
from tests.process.running_fleet import FleetProcess, fleet, wait_for
from tests.servers.program import free_port

SMALL = ("--replicas", 3, "--rate", 20)


def targets(data: Path) -> dict[str, dict[str, Any]]:
    """The status of each target by the scheme of its URL."""
    path = data / "run" / "delivery.json"
    document = json.loads(path.read_text()) if path.exists() else {"targets": []}
    return {target["name"].partition(":")[0]: target for target in document["targets"]}


def delivered(data: Path, scheme: str) -> int:
    return int(targets(data).get(scheme, {}).get("delivered", 0))


def count(data: Path, condition: str = "1") -> int:
    query = f"SELECT count(*) FROM sensor_readings WHERE {condition}"
    return sum(select(path, query)[0][0] for path in data.glob("*.db"))


def assert_complete(data: Path, target: str) -> None:
    verdict = fleet("verify", "--data", data, "--against", target, "--complete")
    assert 0 == verdict.returncode, verdict.stdout
    assert "no differences" in verdict.stdout


def delivery_process(running: FleetProcess) -> psutil.Process:
    (found,) = delivery_processes(running)
    return found


def delivery_processes(running: FleetProcess) -> list[psutil.Process]:
    """The service that is neither a fork server nor serves HTTP, if it runs."""
    children = psutil.Process(running.pid).children()
    return [each for each in children if any("central.db" in opened.path for opened in each.open_files())]


def test_each_target_has_everything_at_the_end(up: Up, tmp_path: Path) -> None:
    data, central, lines = tmp_path / "data", f"sqlite:///{tmp_path}/central.db", f"jsonl:{tmp_path}/out.jsonl"
    running = up(*SMALL, "--for", "3s", "--to", central, "--to", lines)

    assert 0 == running.wait(), running.output
    assert f"delivered to {lines}: {count(data)} readings" in running.output
    assert {"sqlite": True, "jsonl": True} == {name: target["complete"] for name, target in targets(data).items()}
    assert (0, count(data)) == (count(data, "synced = 0"), count(data, "synced = 1"))
    for target in (central, lines):
        assert_complete(data, target)


def test_a_target_that_is_down_holds_up_no_other(up: Up, tmp_path: Path) -> None:
    """Readings are not marked until it has them; the next run delivers the rest."""
    data, port, lines = tmp_path / "data", free_port(), f"jsonl:{tmp_path}/out.jsonl"
    config = tmp_path / "fleet.yaml"
    config.write_text("replicas: {count: 3}\ndelivery: {drain_seconds: 0.5}\n")
    server = f"http://127.0.0.1:{port}{BATCH}"
    running = up("-c", config, "--rate", 20, "--to", server, "--to", lines).ready()
    wait_for(lambda: delivered(data, "jsonl") > 30, "the file grows")
    wait_for(lambda: "no connection" in str(targets(data).get("http", {}).get("error")), "the other one fails", 20)
    assert "no connection" in fleet("status", "--data", data).stdout
    running.interrupt()

    assert 1 == running.wait(), running.output
    assert (
        f"error: {server} does not have all readings: `fleet up --data {data}` with the same targets" in running.output
    )
    assert (0, True) == (count(data, "synced = 1"), targets(data)["jsonl"]["complete"])
    with receiving(tmp_path / "central.db", "--port", str(port)):
        again = up("-c", config, "--for", "1s", "--to", server, "--to", lines)
        assert 0 == again.wait(), again.output
    assert 0 == count(data, "synced = 0")
    assert_complete(data, f"sqlite:///{tmp_path}/central.db")
    assert_complete(data, lines)


def test_a_killed_delivery_process_goes_on(up: Up, tmp_path: Path) -> None:
    """Again and again, in the middle of its work: nothing is missing, nothing is there twice."""
    data, central, lines = tmp_path / "data", f"sqlite:///{tmp_path}/central.db", f"jsonl:{tmp_path}/out.jsonl.gz"
    running = up(*SMALL, "--for", "8s", "--to", central, "--to", lines).ready()
    for _ in range(3):
        wait_for(lambda: delivered(data, "sqlite") > 20, "something is delivered")
        victim = delivery_process(running)
        (data / "run" / "delivery.json").unlink()
        victim.kill()
        victim.wait(10)

    assert 0 == running.wait(), running.output
    assert 3 == running.output.count("delivery: killed by SIGKILL")
    for target in (central, lines):
        assert_complete(data, target)


def test_a_delivery_that_is_dead_at_the_end_is_started_for_the_rest(up: Up, tmp_path: Path) -> None:
    """It waits for its restart when the workers end, as it was killed again and again."""
    data, central = tmp_path / "data", f"sqlite:///{tmp_path}/central.db"
    running = up(*SMALL, "--to", central).ready()
    for _ in range(5):
        wait_for(lambda: delivery_processes(running), "it runs")
        for victim in delivery_processes(running):
            victim.kill()
            victim.wait(10)
    running.interrupt()

    assert 0 == running.wait(), running.output
    assert 5 == running.output.count("delivery: killed by SIGKILL")
    assert 0 == count(data, "synced = 0")
    assert "no differences" in fleet("verify", "--data", data, "--against", central).stdout


def test_a_second_interrupt_does_not_wait_for_a_target(up: Up, tmp_path: Path) -> None:
    """By itself the fleet would wait for half a minute."""
    running = up(*SMALL, "--to", f"http://127.0.0.1:{free_port()}/").ready()
    running.interrupt()
    wait_for(lambda: len(running.processes()) <= 3, "the workers have ended")
    running.interrupt()
    running.process.wait(15)
    assert running.process.returncode in (1, 130)


def test_targets_that_cannot_work_are_refused_before_the_start(tmp_path: Path) -> None:
    for target, reason in {
        "ftp://host/": "--to: 'ftp://host/' is no target",
        f"jsonl:{tmp_path}/missing/x.jsonl": "is no folder",
        "sqlite://x": "names no file",
    }.items():
        refused = fleet("up", "--data", tmp_path / "data", "--to", target, "--for", "1s")
        assert 1 == refused.returncode
        assert reason in refused.stderr
        assert not (tmp_path / "data").exists()
    twice = fleet("up", "--data", tmp_path / "data", "--to", "jsonl:a", "--to", "jsonl:a", "--for", "1s", cwd=tmp_path)
    assert f"--to: jsonl:{tmp_path}/a is named twice" in twice.stderr


def test_each_target_of_a_config_has_its_own_readings_in_its_own_shape(up: Up, tmp_path: Path) -> None:
    """Those that no target gets count as delivered; a file that describes a record is needed at the start only."""
    data, config = tmp_path / "data", tmp_path / "fleet.yaml"
    (tmp_path / "meter.yaml").write_text(
        "device: sensor_id\nn: seq\nts: timestamp as epoch_ms\nf: temperature from C to F\n"
    )
    config.write_text(
        "replicas: {count: 4, kinds: {environmental: 1, bme280: 1}}\n"
        "simulation: {seed: 3}\n"
        "delivery:\n"
        f"  - {{to: 'jsonl:{tmp_path}/rooms.jsonl', record: meter.yaml, select: {{kind: environmental}}}}\n"
        f"  - {{to: 'jsonl:{tmp_path}/some.jsonl', select: {{kind: bme280, share: 60%}}, batch_size: 5, interval: 0.2}}\n"
    )
    running = up("-c", config, "--rate", 10, "--for", "3s", "--no-http").ready()
    (tmp_path / "meter.yaml").rename(tmp_path / "later.yaml")

    assert 0 == running.wait(), running.output
    assert (0, count(data)) == (count(data, "synced = 0"), count(data, "synced = 1"))
    for name, arguments in (
        ("rooms", ("--record", tmp_path / "later.yaml", "--select", "kind=environmental")),
        ("some", ("--select", "kind=bme280", "--select", "share=60%")),
    ):
        compared = ("verify", "--data", data, "--against", f"jsonl:{tmp_path}/{name}.jsonl", "--complete")
        verdict = fleet(*compared, *arguments)
        assert 0 == verdict.returncode, verdict.stdout
        assert " 0 of 0 " not in verdict.stdout
        assert 1 == fleet(*compared, *arguments[:-2]).returncode
