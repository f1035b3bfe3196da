"""Databases that the records of a fleet name: one that is gone, renamed or emptied is found; none outside is looked at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.datadir.directory import DataDirectory
from fleet.datadir.interventions import Interventions
from fleet.datadir.manifest import FleetManifest
from fleet.verify.verification import verify
from tests.fleet.staged import StagedFleet
from tests.fleet.verify.damage import damage, finding_counts, make_identities, write_database
from tests.worker.samples import NEW_YEAR, run
from worker.schedule import SECOND_US
from worker.spec import Layout, Pause

RUN = 1
SECONDS = 50
NAMES = {"own": ["S_000000.db", "S_000001.db", "S_000002.db"], "shared": ["sensor_data.db"]}


def write_fleet(data: Path, layout: Layout) -> Path:
    """Write the data directory of a fleet of three that has ended; the roster has absolute paths, as `fleet up` makes it."""
    staged = StagedFleet(data, 3)
    identities = make_identities(3)
    databases = [data / name for name in NAMES[layout]]
    members = tuple(
        replace(member, worker=identity.sensor_id, identity=identity, database=databases[number % len(databases)])
        for number, (member, identity) in enumerate(zip(staged.members, identities, strict=True))
    )
    staged.write_roster(layout=layout, members=members, duration=SECONDS + 0.5)
    ids = tuple((identity.sensor_id, identity.sensor_id) for identity in identities)
    DataDirectory(data).write_manifest(FleetManifest(42, layout, 1, NEW_YEAR, NEW_YEAR, RUN, ids))
    rows = staged.scoreboard.rows
    rows["incarnation"], rows["readings"], rows["next_seq"] = (RUN << 24) + 1, 48, SECONDS + 1
    for number, database in enumerate(databases):
        sensors = identities if layout == "shared" else [identities[number]]
        write_database(database, SECONDS, sensors=sensors, run_spec=run(seconds=SECONDS + 0.5))
    return data


@pytest.mark.parametrize("layout", NAMES)
def test_a_fleet_that_has_everything(layout: Layout, tmp_path: Path) -> None:
    for complete in (False, True):
        verdict = verify(write_fleet(tmp_path / f"{complete}", layout), complete=complete)
        assert ((), (), 3) == (verdict.findings, verdict.skipped, verdict.sensors)


@pytest.mark.parametrize("layout", NAMES)
def test_a_copy_is_judged_by_itself(layout: Layout, tmp_path: Path) -> None:
    """The databases of the original, which the roster names, prove nothing about a copy without them."""
    write_fleet(tmp_path / "data", layout)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    for name in NAMES[layout]:
        (tmp_path / "copy" / name).unlink()

    for complete in (True, False):
        verdict = verify(tmp_path / "copy", complete=complete)
        assert (0, 3) == (verdict.readings, verdict.counts["gone"])
        assert complete == ("incomplete" in verdict.counts)


def delete(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_suffix(".sqlite"))


def empty(path: Path) -> None:
    os.truncate(path, 0)


def wipe(path: Path) -> None:
    for table in ("sensor_readings", "anomaly_episodes", "epochs", "checkpoints"):
        damage(path, f"DELETE FROM {table} WHERE sensor_id = 'S_000001'")


@pytest.mark.parametrize("layout", NAMES)
@pytest.mark.parametrize("ruin", [delete, rename, empty, wipe])
def test_a_database_on_record_that_is_gone(ruin: Callable[[Path], None], layout: Layout, tmp_path: Path) -> None:
    """Without --complete: deleted, with another ending, emptied, or a sensor wiped from it."""
    data = write_fleet(tmp_path / "data", layout)
    if layout == "shared":
        write_database(data / "other.db", 9, sensors=make_identities(4)[3:])
    ruin(data / NAMES[layout][-2 if layout == "own" else 0])

    verdict = verify(data)

    gone = 3 if layout == "shared" and ruin is not wipe else 1
    assert gone == verdict.counts["gone"]
    (first, *_) = verdict.findings
    assert "the last run has committed 51 readings of it, and " in first.detail
    assert {"S_000001"} <= {found.sensor_id for found in verdict.findings}
    if layout == "own":
        assert verify(data, sensor="S_000000").ok
        assert not verify(data, sensor="S_000001").ok


def test_a_database_with_the_name_of_another(tmp_path: Path) -> None:
    """The next run would not find it."""
    data = write_fleet(tmp_path, "own")
    (data / "S_000001.db").rename(data / "elsewhere.db")

    (finding,) = verify(data).findings

    assert ("record", "S_000001", "elsewhere.db") == (finding.kind, finding.sensor_id, finding.database)
    assert "its database must be S_000001.db" == finding.detail


@pytest.mark.parametrize("record", ["run", "run/board"])
def test_sensors_that_may_never_have_started(record: str, tmp_path: Path) -> None:
    """Without a reading on record they are no finding, and named."""
    data = write_fleet(tmp_path, "own")
    (data / "S_000001.db").unlink()
    shutil.rmtree(data / record) if (data / record).is_dir() else (data / record).unlink()

    verdict = verify(data)

    assert verdict.ok
    (note,) = verdict.skipped
    assert "sensors of fleet.json of which no reading is on record: 1 (S_000001)" == note


def test_a_scoreboard_of_another_run_proves_nothing(tmp_path: Path) -> None:
    data = write_fleet(tmp_path, "own")
    (data / "S_000001.db").unlink()
    manifest = DataDirectory(data).read_manifest()
    assert manifest
    DataDirectory(data).write_manifest(replace(manifest, runs=RUN + 1))

    assert verify(data).ok


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        (
            {"sensors": (("S_000000", "S_000000"), ("S_000009", "S_000009"), ("S_000002", "S_000002"))},
            {"gone", "record"},
        ),
        ({"sensors": (("S_000001", "S_000001"), ("S_000000", "S_000000"), ("S_000002", "S_000002"))}, {"record"}),
        ({"sensors": (("S_000000", "S_000000"), ("S_000001", "S_000001"))}, {"record"}),
    ],
)
def test_altered_sensors_of_the_manifest(changes: dict[str, object], counts: set[str], tmp_path: Path) -> None:
    """Another id, another order, and one that is left out."""
    data = write_fleet(tmp_path, "own")
    directory = DataDirectory(data)
    manifest = directory.read_manifest()
    assert manifest
    directory.write_manifest(replace(manifest, **changes))  # type: ignore[arg-type]

    assert counts == set(finding_counts(verify(data)))


def test_a_single_worker_has_its_database_above_its_own_directory(tmp_path: Path) -> None:
    """It is found by its name there, and also in a copy of the whole."""
    store = tmp_path / "store"
    data = write_fleet(store / "workers" / "ONE", "shared")
    (data / "sensor_data.db").rename(store / "sensor_data.db")
    shutil.copytree(store, tmp_path / "copy")
    assert verify(data, complete=True).ok

    (tmp_path / "copy" / "sensor_data.db").unlink()

    assert 3 == verify(tmp_path / "copy" / "workers" / "ONE", complete=True).counts["gone"]


def test_single_workers_that_share_a_database_have_seeds_and_runs_of_their_own(tmp_path: Path) -> None:
    """The directory of one knows nothing of another; its own sensors must have its seed."""
    data = write_fleet(tmp_path / "workers" / "ONE", "shared")
    (data / "sensor_data.db").rename(tmp_path / "sensor_data.db")
    other = replace(run(number=RUN + 1, seconds=SECONDS), seed=43)
    write_database(tmp_path / "sensor_data.db", SECONDS, sensors=make_identities(4)[3:], run_spec=other)
    verdict = verify(data)
    assert (4, ()) == (verdict.sensors, verdict.findings)
    damage(tmp_path / "sensor_data.db", "UPDATE epochs SET seed = '44' WHERE sensor_id = 'S_000002'")

    details = [finding.detail for finding in verify(data).findings if finding.kind == "epoch"]
    assert ["its seed is 44, that of the fleet is 42"] == details


def test_a_database_that_was_copied_without_its_log(tmp_path: Path) -> None:
    """The scoreboard has counted more readings than it has: that is told, and a finding with --complete."""
    data = write_fleet(tmp_path, "own")
    (data / "S_000001.db").unlink()
    write_database(data / "S_000001.db", 30, sensors=make_identities(2)[1:], run_spec=run(seconds=SECONDS + 0.5))

    verdict = verify(data)

    assert verdict.ok
    (note,) = verdict.skipped
    assert note.startswith(
        "S_000001.db: ends at reading 31 of S_000001, the last run has committed 51: there may be more"
    )
    assert {"incomplete": 1} == finding_counts(verify(data, complete=True))


def test_altered_units_and_runs(tmp_path: Path) -> None:
    """The roster has the units of the last epoch, fleet.json the number of the last run."""
    data = write_fleet(tmp_path, "own")
    damage(data / "S_000001.db", "UPDATE epochs SET settings = replace(settings, '°C', '°F')")
    damage(data / "S_000002.db", f"UPDATE checkpoints SET incarnation = {RUN + 1} << 24")

    details = {finding.sensor_id: finding.detail for finding in verify(data).findings}

    assert {"S_000001", "S_000002"} == set(details)
    assert details["S_000001"].startswith("the channels and units of its last epoch are temperature in °F, ")
    assert "run 2 has written to it, the last one of fleet.json is 1" == details["S_000002"]


def pause(data: Path, from_s: int, until_s: int | None) -> None:
    until_us = None if until_s is None else NEW_YEAR + until_s * SECOND_US
    pauses = {"S_000001": (Pause(NEW_YEAR + from_s * SECOND_US, until_us),)}
    Interventions(pauses=pauses).write(DataDirectory(data).interventions)


def test_a_paused_sensor_owes_nothing(tmp_path: Path) -> None:
    """From its pause on, if that lasts to the end of the run; what was due before is due."""
    data = tmp_path / "data"
    write_fleet(data, "own")
    (data / "S_000001.db").unlink()
    write_database(data / "S_000001.db", 19, sensors=make_identities(2)[1:], run_spec=run(RUN))

    assert {"incomplete": 1} == finding_counts(verify(data, complete=True))
    pause(data, 20, None)
    verdict = verify(data, complete=True)
    assert (True, 1) == (verdict.ok, len(verdict.paused))
    pause(data, 20, 51)
    assert verify(data, complete=True).ok
    for from_s, until_s in ((20, 40), (23, None)):
        pause(data, from_s, until_s)
        assert {"incomplete": 1} == finding_counts(verify(data, complete=True))
