"""What a running fleet keeps around its databases: backups, the checkpoint file, and a log that is rotated."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from fleet.datadir.readings import DatabaseUnreadable, read_only_connection
from fleet.verify.removals import read_removals
from tests.process.conftest import Up
from tests.process.running_fleet import fleet, wait_for

pytestmark = pytest.mark.thorough

CONFIG = """
version: 2
replicas: {count: 3, prefix: S}
simulation:
  readings_per_second: 20
  checkpoint: {enabled: true, interval: 0.2, file: /var/lib/somewhere/checkpoint.json}
database: {batch_interval: 0.2, backup: {enabled: true, interval: 0.3, path: ./safe/, keep: 2}}
logging: {format: json, file: /var/log/x.log, max_file_size_mb: 0.001, backup_count: 50, console_output: false}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.claim(
    "000.configuration-file.4",
    "000.configuration-file.5",
    "000.configuration-file.7",
    "000.integration-points.3",
    "001.configuration-options.15",
)
def test_what_is_kept_and_what_is_told(up: Up, config: Path, tmp_path: Path) -> None:
    """All of it in the data directory, by the last part of its path. The terminal is silent until the summary, the log
    is rotated without a line being lost, and a worker that is killed in the meantime is told of in it."""
    data = tmp_path / "data"
    running = up("-c", config)
    wait_for(lambda: (data / "safe").is_dir() and len(list((data / "safe").iterdir())) == 6, "two backups each")
    wait_for((data / "logs" / "x.log.2").exists, "the log is rotated twice")
    running.worker("S_000002").kill()
    wait_for(lambda: running.row("S_000002")["restarts"] == 1, "the worker is missed")
    wait_for(lambda: running.state("S_000002") == "healthy", "the worker is replaced")
    wait_for(lambda: read(data / "checkpoint.json")["sensors"]["S_000002"]["next_seq"] > 20, "the checkpoint file")
    status = json.loads(fleet("status", "--data", data, "--json").stdout)
    told = fleet("logs", "--data", data, "S_000002").stdout
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait()

    assert status["backups"]["made"] >= 6
    assert [] == status["backups"]["failures"]
    assert "SIGKILL" in told
    assert "backup" not in told
    assert "sensors: 3" == running.output.splitlines()[0]
    logged = "".join(path.read_text() for path in (data / "logs").glob("x.log*"))
    assert "simulation.checkpoint.file" in logged  # a warning of a folder in a file's name
    assert backups_are_whole(data)
    sensors = read(data / "checkpoint.json")["sensors"]
    assert {name: row["next_seq"] for name, row in sensors.items()} == {
        name: running.row(name)["next_seq"] for name in running.sensors
    }
    assert [] == [path.name for path in data.glob("*.db-*")]
    verdict = fleet("verify", "--data", data)
    assert (0, "") == (verdict.returncode, verdict.stderr)


def backups_are_whole(data: Path) -> bool:
    """Verified under the names of the databases that they would replace."""
    restored = data.parent / "restored"
    restored.mkdir()
    for path in sorted((data / "safe").iterdir()):
        (restored / f"{path.name.partition('.backup-')[0]}.db").write_bytes(path.read_bytes())
    return fleet("verify", "--data", restored).returncode == 0


def test_a_backup_that_fails_is_told_and_stops_nobody(up: Up, config: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "safe").write_text("not a folder")
    running = up("-c", config)
    wait_for((data / "run" / "backups.json").exists, "it is told")
    report = fleet("status", "--data", data)
    assert 0 == fleet("down", "--data", data).returncode

    assert 0 == running.wait()
    assert " backups failed" in report.stdout
    assert "S_000001.db: File exists" in report.stdout


ROTATING = """
version: 2
replicas: {count: 3, prefix: S}
simulation: {readings_per_second: 300, seed: 7, start: 2026-01-01T00:00:00Z}
anomalies: {probability: 0.3}
monitoring: {enabled: true}
database: {batch_interval: 0.1, max_size_mb: 0.1}
supervision: {backoff_min_seconds: 0.1}
"""


@pytest.mark.slow
def test_databases_are_rotated_while_workers_are_killed(up: Up, tmp_path: Path) -> None:
    """Verification reads live and rotated ones together, beside the running fleet and after it."""
    config = tmp_path / "rotating.yaml"
    config.write_text(ROTATING)
    data = tmp_path / "data"
    running = up("-c", config, "--for", "8s")
    for number in range(3):
        wait_for(partial(more_than, 3 * number, data), "some are rotated")
        sensor = f"S_{number + 1:06d}"
        running.wait_for_replacement(sensor, killed(running.worker(sensor)))
        assert 200 == running.get("/samplez")[0]
    beside = fleet("verify", "--data", data)
    assert (0, "") == (beside.returncode, beside.stderr), beside.stdout
    assert 0 == running.wait(60)

    after = fleet("verify", "--data", data, "--complete")
    assert after.stdout.startswith("3 sensors, "), after.stdout
    assert 0 == after.returncode
    assert len(list(data.glob("*.rotated-*.db"))) > 9


def more_than(count: int, data: Path) -> bool:
    return len(list(data.glob("*.rotated-*.db"))) > count


def killed(process: psutil.Process) -> psutil.Process:
    process.kill()
    return process


def test_old_databases_and_readings_are_removed_while_workers_are_killed(up: Up, tmp_path: Path) -> None:
    """On record: verification and the comparison with the target find nothing wrong, beside the fleet and after it."""
    config, central = tmp_path / "keeping.yaml", f"sqlite:///{tmp_path / 'central.db'}"
    keep = "max_size_mb: 0.1, keep: 1s}\ndelivery: {interval: 0.2}"
    config.write_text(ROTATING.replace("max_size_mb: 0.1}", keep))
    data = tmp_path / "data"
    running = up("-c", config, "--to", central)
    for number in range(3):
        sensor = f"S_{number + 1:06d}"
        wait_for(lambda: has_removals(data, "S_000001"), "some are removed")
        running.wait_for_replacement(sensor, killed(running.worker(sensor)))
    beside = fleet("verify", "--data", data)
    assert (0, "") == (beside.returncode, beside.stderr), beside.stdout
    assert 0 == fleet("down", "--data", data).returncode
    assert 0 == running.wait(60)

    after = fleet("verify", "--data", data, "--against", central)
    assert 0 == after.returncode, after.stdout
    assert "removed on record (keep: 1s)" in after.stdout
    assert " 0 pending" in after.stdout


def has_removals(data: Path, sensor: str) -> bool:
    with suppress(DatabaseUnreadable), read_only_connection(data / f"{sensor}.db") as opened:
        return bool(read_removals(opened, sensor))
    return False
