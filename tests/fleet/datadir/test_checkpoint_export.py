"""The checkpoint file: what it may be called, and databases with damaged checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.datadir.checkpoint_export import write_checkpoint_file
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from tests.fleet.staged import StagedFleet
from tests.fleet.verify.damage import damage, make_identities, write_database


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    staged = StagedFleet(tmp_path, 1)
    write_database(tmp_path / "S_000000.db", 9, sensors=make_identities(1))
    return replace(staged.roster(), members=(replace(staged.members[0], database=tmp_path / "S_000000.db"),))


@pytest.mark.parametrize(
    "name", ["S_000000.db-wal", "S_000000.db", "x.db-shm", "x.rotated-0001.db", "fleet.json", "run", "identities"]
)
def test_no_file_of_the_fleet_is_replaced(name: str, roster: Roster, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())

    with pytest.raises(UserError, match=r"simulation\.checkpoint\.file: .* may be a file of the fleet"):
        write_checkpoint_file(roster, tmp_path / name)

    assert before == sorted(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["X'ff00'", "9e999", "'x'", "CAST(X'ff' AS TEXT)"])
def test_a_damaged_checkpoint_is_exported_as_json(value: str, roster: Roster, tmp_path: Path) -> None:
    """Or its database named as unreadable: the file stays one that other programs can read."""
    damage(tmp_path / "S_000000.db", f"UPDATE checkpoints SET next_seq = {value}")

    write_checkpoint_file(roster, tmp_path / "checkpoint.json")

    document = json.loads((tmp_path / "checkpoint.json").read_text(), parse_constant=pytest.fail)
    assert ("unreadable" in document) != bool(document["sensors"])
