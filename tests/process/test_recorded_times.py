"""A fleet whose readings record other times than those at which they are due: verified, collected, continued."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from tests.process.conftest import Up
from tests.process.evidence import databases
from tests.process.running_fleet import fleet
from tests.worker.stores import select

CONFIG = """
version: 2
replicas: {count: 3, prefix: S}
simulation: {readings_per_second: 40, jitter: 90%, seed: 3, start: 2026-01-01T00:00:00Z, duration: 4}
anomalies:
  probability: 0.5
  types:
    spike: {enabled: false}
    trend: {enabled: false}
    pattern: {enabled: false}
    noise: {enabled: false}
    missing_data: {duration_readings: 2}
    clock_jump: {weight: 0.3, duration_readings: 9}
    clock_drift: {weight: 0.3, duration_readings: 9}
    wrong_zone: {weight: 0.3, duration_readings: 9}
database: {batch_interval: 0.2}
"""
START = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def test_jitter_and_wrong_clocks_from_a_fleet_to_a_central_database(tmp_path: Path, up: Up) -> None:
    """Complete and without differences, there and here; the true times follow from the labels; a second run goes on."""
    path, central = tmp_path / "fleet.yaml", f"sqlite:///{tmp_path}/central.db"
    path.write_text(CONFIG)
    process = up("-c", path)
    assert 0 == process.wait(90)
    data = process.data
    verified = fleet("verify", "--complete", "--data", data)
    assert 0 == verified.returncode, verified.stdout
    assert 0 == fleet("collect", "--data-dir", data, "--to", central, "--once").returncode
    compared = fleet("verify", "--data", data, "--against", central, "--complete")
    assert 0 == compared.returncode, compared.stdout

    found: Counter[str | None] = Counter()
    for database in databases(data):
        rows = select(database, "SELECT seq, timestamp, anomaly_type FROM sensor_readings ORDER BY id")
        errors = clock_errors(database)
        before = START - timedelta(seconds=1)
        for seq, timestamp, kind in rows:
            true = datetime.fromisoformat(timestamp) - errors.get(seq, timedelta())
            early = START + timedelta(microseconds=25_000 * seq) - true
            assert timedelta() <= early < timedelta(microseconds=22_500), (seq, timestamp, kind)
            assert before < true
            assert (seq in errors) == (kind in ("clock_jump", "clock_drift", "wrong_zone"))
            before, found[kind] = true, found[kind] + 1
    assert all(found[kind] for kind in ("clock_jump", "clock_drift", "wrong_zone", None)), found

    assert 0 == up("-c", path, "--for", "1s").wait(90)
    assert 0 == fleet("verify", "--data", data).returncode


def clock_errors(database: Path) -> dict[int, timedelta]:
    """The error of the clock at each reading of a wrong one, by the records of episodes."""
    errors = {}
    query = "SELECT type, first_seq, last_seq, parameters FROM anomaly_episodes WHERE type <> 'missing_data'"
    for kind, first, last, text in select(database, query):
        parameters = json.loads(text)
        for seq in range(first, last + 1):
            part = (seq - first + 1 + parameters.get("before", 0)) / parameters.get("readings", 1)
            seconds = parameters["seconds"] * (part if kind == "clock_drift" else 1)
            errors[seq] = timedelta(microseconds=round(seconds * 1e6))
    return errors
