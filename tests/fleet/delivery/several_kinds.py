"""A data directory for targets that store all columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.delivery import foreign_databases
from tests.fleet.verify.damage import damage
from tests.worker.further import write_kinds


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database of several kinds, and one of another simulator."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_kinds(folder / "pack_0001.db", 120)
    theirs = foreign_databases.SCHEMAS["with a column of its own"].replace("battery REAL", "battery REAL, co2 TEXT")
    foreign_databases.write(folder / "theirs.db", theirs, 10)
    damage(folder / "theirs.db", "UPDATE sensor_readings SET co2 = 'much'")
    return folder
