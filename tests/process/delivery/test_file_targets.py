"""Files that grow while a fleet runs: the delivery process is killed, and every reading is in them once."""

from __future__ import annotations

import json
from pathlib import Path

import psutil

from tests.process.conftest import Up
from tests.process.running_fleet import FleetProcess, fleet, wait_for

FIRST_FILE = "out.csv"


def delivery_process(running: FleetProcess) -> psutil.Process:
    """The service that has the file open."""
    children = psutil.Process(running.pid).children()
    (found,) = [each for each in children if any(FIRST_FILE in opened.path for opened in each.open_files())]
    return found


def delivered(data: Path) -> list[int]:
    """How much each target has by now."""
    path = data / "run" / "delivery.json"
    return [target["delivered"] for target in json.loads(path.read_text())["targets"]] if path.exists() else [0]


def test_a_killed_delivery_process_leaves_whole_files(up: Up, tmp_path: Path) -> None:
    """Again and again, in the middle of its work: nothing is missing, nothing is there twice."""
    data = tmp_path / "data"
    targets = [f"csv:{tmp_path}/{FIRST_FILE}?rotate=20kB", f"batches:{tmp_path}/batches?size=70&period=1s&envelope=1"]
    options = [word for target in targets for word in ("--to", target)]
    running = up("--replicas", 3, "--rate", 50, "--for", "8s", *options).ready()
    for _ in range(3):
        wait_for(lambda: min(delivered(data)) > 60, "something is delivered")
        victim = delivery_process(running)
        (data / "run" / "delivery.json").unlink()
        victim.kill()
        victim.wait(10)

    assert 0 == running.wait(), running.output
    assert 3 == running.output.count("delivery: killed by SIGKILL")
    for target in targets:
        verdict = fleet("verify", "--data", data, "--against", target, "--complete")
        assert 0 == verdict.returncode, verdict.stdout
        assert "no differences" in verdict.stdout
    assert len(list(tmp_path.glob("out.0*.csv"))) > 5
    metas = [json.loads(path.read_text())["batch_meta"] for path in (tmp_path / "batches").glob("batch_*.json")]
    assert 1200 == sum(meta["record_count"] for meta in metas)
    assert {".open.jsonl", ".open.jsonl.delivered"} == {path.name for path in (tmp_path / "batches").glob(".*")}
