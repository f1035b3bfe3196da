"""Data directories of earlier versions: they are verified and continued by this one.

The folder `data` has directories as a version left them, one for each layout. The paths in them are relative to the
folder that contains `own`, `shared` and `packed`.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from fleet.datadir.directory import DataDirectory
from fleet.datadir.interventions import read_interventions
from fleet.datadir.roster import DEFAULT_HANG_SECONDS, Roster
from tests.process.running_fleet import fleet

pytestmark = pytest.mark.process

DATA = Path(__file__).parent / "data"
VERSIONS = sorted(folder.name for folder in DATA.iterdir())
PACKED = """
version: 2
replicas: {count: 4, sensors_per_worker: 2}
simulation: {readings_per_second: 10}
"""
LAYOUTS = {
    "own": ("--replicas", 3, "--rate", 10),
    "shared": ("--replicas", 3, "--rate", 10, "--shared-db"),
    "packed": ("--config", "packed.yaml"),
}
CONTENTS = {
    ("0.1.0", "own"): "3 sensors, 858 readings, 79 episodes in 3 databases: ",
    ("0.1.0", "shared"): "3 sensors, 48 readings, 1 episode in 1 database: ",
    ("0.1.0", "packed"): "4 sensors, 64 readings, 19 episodes in 2 databases: ",
}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A version whose directories are in `tmp_path`."""
    for archive in (DATA / request.param).glob("*.tar.gz"):
        with tarfile.open(archive) as file:
            file.extractall(tmp_path, filter="data")
    (tmp_path / "packed.yaml").write_text(PACKED)
    return str(request.param)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_older_directory_is_continued(version: str, layout: str, tmp_path: Path) -> None:
    """It is verified before and after another run, which starts nothing over."""
    before = fleet("verify", "--data", layout, cwd=tmp_path)
    assert (0, True) == (before.returncode, before.stdout.startswith(CONTENTS[version, layout])), before.stdout
    old = DataDirectory(tmp_path / layout).read_manifest()

    run = fleet("up", *LAYOUTS[layout], "--for", "2s", "--no-http", "--data", layout, cwd=tmp_path)

    assert 0 == run.returncode, run.stdout + run.stderr
    after = fleet("verify", "--data", layout, cwd=tmp_path)
    assert 0 == after.returncode, after.stdout
    assert count(after.stdout, "sensors") == count(before.stdout, "sensors")
    assert count(after.stdout, "readings") > count(before.stdout, "readings")
    new = DataDirectory(tmp_path / layout).read_manifest()
    assert old is not None
    assert new is not None
    assert (old.seed, old.layout, old.start_us, old.sensors) == (new.seed, new.layout, new.start_us, new.sensors)


def test_an_older_directory_takes_sensors_of_other_kinds(version: str, tmp_path: Path) -> None:
    """By its own rules, with a warning of what they lack; it is verified."""
    run = fleet(
        "up", "--kind", "pipeline", "--replicas", 5, "--for", "1s", "--no-http", "--data", "shared", cwd=tmp_path
    )
    assert 0 == run.returncode, run.stderr

    assert "pipeline sensors have no status, quality_score, alert_level" in run.stdout + run.stderr
    after = fleet("verify", "--data", "shared", cwd=tmp_path)
    assert (0, 5) == (after.returncode, count(after.stdout, "sensors")), after.stdout


def count(verdict: str, noun: str) -> int:
    found = re.search(rf"(\d+) {noun}", verdict)
    assert found, verdict
    return int(found[1])


def test_state_files_of_an_older_directory_are_read(version: str, tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "own")
    roster = Roster.read(directory.roster)

    assert (3, "own") == (len(roster.members), roster.layout)
    assert "0.1.0" != version or DEFAULT_HANG_SECONDS == roster.hang_seconds
    assert ["ebc3348c"] == [injection.id for injection in read_interventions(directory.interventions).injections]
