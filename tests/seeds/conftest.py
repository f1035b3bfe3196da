"""One fleet of every sensor that the source documents describe, run once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.process.running_fleet import fleet
from tests.seeds.demo import DATA, DOCUMENTED, demo_identities

CONFIG = """
replicas: {count: 18, database: shared}
simulation: {readings_per_second: 100, seed: 3}
anomalies: {probability: 0.3}
"""


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a second of it leaves, all in one database."""
    folder = tmp_path_factory.mktemp("documented")
    who = folder / "who"
    who.mkdir()
    demo_identities(who)
    for name in DOCUMENTED:
        (who / f"{name}.json").write_bytes((DATA / f"{name}.json").read_bytes())
    (folder / "config.yaml").write_text(CONFIG)
    up = fleet("up", "-c", "config.yaml", "--data", "data", "--identities", who, "--no-http", "--for", "1s", cwd=folder)
    assert up.returncode == 0, up.stdout + up.stderr
    return folder / "data"
