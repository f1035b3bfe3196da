"""`fleet up --store none`: no reading is stored, and what a target lacks is computed again from its cursor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.verify.damage import select
from tests.process.conftest import Up
from tests.process.delivery.receiver_process import BATCH, receiving
from tests.process.delivery.test_live_delivery import (
    assert_complete,
    delivered,
    delivery_process,
    targets,
)
from tests.process.running_fleet import fleet, wait_for
from tests.servers.program import free_port

CONFIG = """
replicas: {count: 5}
simulation: {readings_per_second: 50}
anomalies:
  probability: 0.2
  types:
    missing_data: {weight: 1, duration_seconds: 0.4}
    spike: {weight: 1}
database: {store: none}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(CONFIG)
    return path


def database_bytes(data: Path) -> int:
    return sum(path.stat().st_size for path in data.glob("*.db*"))


def documents(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text().splitlines())


def test_a_target_that_was_away_gets_everything(up: Up, tmp_path: Path, config: Path) -> None:
    """Also what was due while a worker or the delivery was dead: each reading once, those of a sensor in their order."""
    data, port, central = tmp_path / "data", free_port(), tmp_path / "central.db"
    server, lines = f"http://127.0.0.1:{port}{BATCH}", tmp_path / "out.jsonl"
    copy = tmp_path / "copy" / "central.db"
    copy.parent.mkdir()
    running = up(
        "-c",
        config,
        "--for",
        "10s",
        "--to",
        server,
        "--to",
        f"jsonl:{lines}",
        "--to",
        f"sqlite:///{copy}",
    )
    running.ready()
    wait_for(lambda: delivered(data, "jsonl") > 200, "the file grows")
    victim = running.sensors[0]
    worker = running.worker(victim)
    worker.kill()
    running.wait_for_replacement(victim, worker)
    delivery_process(running).kill()
    wait_for(lambda: delivered(data, "jsonl") > 1200, "the file grows further")
    assert 0 == delivered(data, "http")
    assert database_bytes(data) < 5 * 600_000
    with receiving(central, "--port", str(port)):
        assert 0 == running.wait(), running.output

    missing = "SELECT sum(last_seq - first_seq + 1) FROM anomaly_episodes WHERE type = 'missing_data'"
    absent = sum(select(path, missing)[0][0] or 0 for path in data.glob("*.db"))
    assert absent > 20
    assert 5 * 500 - absent == len(lines.read_text().splitlines())
    for target in (f"jsonl:{lines}", f"sqlite:///{central}", f"sqlite:///{copy}"):
        assert_complete(data, target)
    assert all(target["complete"] for target in targets(data).values())


def test_a_later_run_and_a_later_target(up: Up, tmp_path: Path, config: Path) -> None:
    """A directory keeps its store; sensors go on where they were, and a new target gets all from the beginning."""
    data, first, second = tmp_path / "data", tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert 0 == up("-c", config, "--for", "1s", "--to", f"jsonl:{first}").wait()
    for arguments, reason in {
        ("--store", "sqlite"): "this fleet does not store its readings (--store none); keep that",
        (): "database.store: none keeps no reading, so it needs a target",
    }.items():
        refused = fleet("up", "--data", data, "--no-http", *arguments)
        assert 1 == refused.returncode
        assert reason in refused.stderr
    running = up("-c", config, "--for", "1s", "--to", f"jsonl:{first}", "--to", f"jsonl:{second}")
    assert 0 == running.wait(), running.output

    keys = [[(each["sensor_id"], each["seq"]) for each in documents(path)] for path in (first, second)]
    assert sorted(keys[0]) == sorted(keys[1])
    assert len(keys[0]) == len(set(keys[0]))
    verdict = fleet("verify", "--data", data)
    assert "500 scheduled readings of 5 databases that store none" in verdict.stdout
    assert "5 sensors, 0 readings" in verdict.stdout
    assert_complete(data, f"jsonl:{second}")

    refused = fleet("collect", "--data", data, "--to", f"sqlite:///{tmp_path}/a.db", "--once")
    assert 1 == refused.returncode
    assert "it stores no readings, and none can be marked: collect it with --cursor" in refused.stdout + refused.stderr
    assert 0 == fleet("collect", "--data", data, "--to", f"sqlite:///{tmp_path}/a.db", "--once", "--cursor").returncode
    assert_complete(data, f"sqlite:///{tmp_path}/a.db")
