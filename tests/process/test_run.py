"""A run from start to end: every reading that was due is there once, and nothing else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.process.conftest import Up
from tests.process.evidence import assert_complete, databases, read_records
from tests.process.running_fleet import fleet

SHAPES = {"own": 3, "shared": 1, "packed": 2}


def shape_arguments(shape: str, config: Path) -> list[str]:
    if shape == "packed":
        config.write_text(config.read_text().replace("{count: 3}", "{count: 3, sensors_per_worker: 2}"))
    return ["--shared-db"] if shape == "shared" else []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_is_complete(shape: str, up: Up, lively: Path, tmp_path: Path) -> None:
    """Exit code 0, exactly ceil(for x rate) scheduled readings, gaps only where missing_data is on record."""
    running = up("-c", lively, "--for", "1.53s", "--seed", 3, *shape_arguments(shape, lively))

    assert 0 == running.wait()
    assert [] == list((tmp_path / "data").glob("*-wal")), "all of it is in the databases themselves"
    found = assert_complete(tmp_path / "data", sensors=3, scheduled=31)
    assert SHAPES[shape] == len(databases(tmp_path / "data"))
    assert any(seen.missing for seen in found.values())
    assert [[(0, "start")]] * 3 == [seen.epochs for seen in found.values()]


def test_a_fleet_out_of_step_is_complete(up: Up, tmp_path: Path) -> None:
    """With one and a half intervals three sensors owe two readings and two owe one: that is all of them."""
    running = up("--replicas", 5, "--rate", "30/min", "--for", "3s", "--phase", "spread", "--seed", 3, "--no-http")

    assert 0 == running.wait()
    found = read_records(tmp_path / "data")
    assert [1, 1, 2, 2, 2] == sorted(seen.next_seq for seen in found.values())
    assert 5 == len({seen.timestamps[0] for seen in found.values()})
    assert "scheduled readings: 8 of 8" in running.output
    assert "success rate: 100.00% of the readings that were due" in running.output
    verified = fleet("verify", "--data", tmp_path / "data", "--complete")
    assert (0, "") == (verified.returncode, verified.stderr)


def test_the_summary_says_what_was_done(up: Up, lively: Path, tmp_path: Path) -> None:
    """Without a terminal: plain lines, and at the end the counts that the databases have."""
    running = up("-c", lively, "--for", "2s")

    assert 0 == running.wait()
    found = assert_complete(tmp_path / "data", sensors=3, scheduled=40)
    rows = sum(len(seen.readings) for seen in found.values())
    missing = sum(len(seen.missing) for seen in found.values())
    summary = dict(line.strip().split(": ", 1) for line in running.output.splitlines() if ": " in line)
    assert "120 of 120" == summary["scheduled readings"]
    assert str(rows) == summary["rows written"]
    assert str(missing) == summary["missing_data"]
    assert summary["restarts"] == "0"
    assert "errors" not in summary
    assert summary["achieved rate"].startswith("60.0 readings/s")
    assert "\x1b" not in running.output


@pytest.mark.claim("001.introduction.2")
def test_the_shape_of_a_fleet_changes_no_bit(up: Up, tmp_path: Path) -> None:
    """With one seed and one start a sensor is who it is and measures what it measures, however many others there are
    and wherever they write."""
    plain, packed = tmp_path / "plain.yaml", tmp_path / "packed.yaml"
    plain.write_text("replicas: {count: 12}\n")
    packed.write_text("replicas: {count: 12, sensors_per_worker: 5}\n")
    common = ("--seed", 42, "--start", "2026-03-01T12:00:00Z", "--rate", 50, "--for", "2s", "--no-http")
    runs = [
        up("-c", plain, "--replicas", 4, *common, data=tmp_path / "four"),
        up("-c", plain, "--shared-db", *common, data=tmp_path / "twelve"),
        up("-c", packed, *common, data=tmp_path / "packed"),
    ]

    assert [0, 0, 0] == [running.wait() for running in runs]
    four, twelve, packs = (read_records(running.data) for running in runs)
    assert 4 == len(four)
    assert twelve.keys() == packs.keys() > four.keys()
    for sensor, seen in four.items():
        assert 100 == seen.next_seq
        assert seen.readings == twelve[sensor].readings == packs[sensor].readings
        assert seen.episodes == twelve[sensor].episodes == packs[sensor].episodes
        files = {(running.data / "identities" / f"{sensor}.json").read_bytes() for running in runs}
        assert 1 == len(files)
    for sensor, seen in twelve.items():
        assert seen.readings == packs[sensor].readings


def test_the_same_command_gives_the_same_bytes(up: Up, tmp_path: Path) -> None:
    """With a seed and an end, at another time of day too."""
    common = ("--replicas", 2, "--seed", 42, "--rate", 20, "--for", "0.5s", "--no-http")
    for name in ("one", "two"):
        assert 0 == up(*common, data=tmp_path / name).wait()
    one, two = (read_records(tmp_path / name) for name in ("one", "two"))

    assert 2 == len(one)
    for sensor, seen in one.items():
        assert (seen.timestamps, seen.readings) == (two[sensor].timestamps, two[sensor].readings)


def test_a_seed_without_an_end_says_what_is_missing(up: Up) -> None:
    running = up("--replicas", 1, "--seed", 42, "--no-http").ready()
    running.interrupt()
    running.wait()

    assert "for the same bytes from this seed, add --start TIME or --for TIME\n" in running.output


def test_another_seed_gives_other_readings(up: Up, tmp_path: Path) -> None:
    """So that the test above compares something."""
    common = ("--prefix", "S", "--replicas", 2, "--start", "2026-03-01T12:00:00Z", "--for", "1s", "--rate", 20)
    runs = [up("--seed", seed, *common, data=tmp_path / str(seed)) for seed in (1, 2)]

    assert [0, 0] == [running.wait() for running in runs]
    one, two = (read_records(running.data) for running in runs)
    assert one.keys() == two.keys()
    assert one["S_000001"].timestamps == two["S_000001"].timestamps
    assert one["S_000001"].readings != two["S_000001"].readings


def test_a_second_run_continues(up: Up, lively: Path, tmp_path: Path) -> None:
    """The next sequence number, a new epoch at the present, the same identities; and the seed is remembered."""
    data = tmp_path / "data"
    assert 0 == up("-c", lively, "--for", "1s", "--no-http").wait()
    before = assert_complete(data, 3, 20)
    files = {path: path.read_bytes() for path in (data / "identities").iterdir()}

    assert 0 == up("-c", lively, "--for", "1s", "--no-http").wait()

    after = assert_complete(data, 3, 40)
    assert files == {path: path.read_bytes() for path in (data / "identities").iterdir()}
    for sensor, seen in after.items():
        assert before[sensor].readings == seen.readings[: len(before[sensor].readings)]
        assert [(0, "start"), (20, "resume")] == seen.epochs


def test_a_run_that_says_nothing_goes_on_as_the_last_one(up: Up, tmp_path: Path) -> None:
    """With its count, rate and layout, also after a backup was restored that has no folder `run`."""
    assert 0 == up("--replicas", 3, "--rate", 20, "--shared-db", "--for", "0.3s", "--no-http").wait()
    shutil.rmtree(tmp_path / "data" / "run")
    second = up("--for", "0.3s", "--no-http")

    assert 0 == second.wait()
    assert "3 sensors, 60 readings/s, one shared database in " in second.output


CONTRADICTIONS = {
    "seed": ["--seed", "8"],
    "began at": ["--start", "2026-01-02T00:00:00Z"],
    "own databases": ["--shared-db"],
}


def test_what_contradicts_the_data_is_refused(up: Up, tmp_path: Path) -> None:
    """One line that says what to do, exit code 1, nothing changed."""
    data = tmp_path / "data"
    first = ("--replicas", 2, "--seed", 7, "--start", "2026-01-01T00:00:00Z", "--for", "0.2s", "--no-http")
    assert 0 == up(*first).wait()
    record = (data / "fleet.json").read_bytes()

    for message, flags in CONTRADICTIONS.items():
        refused = fleet("up", "--data", data, "--replicas", 2, "--no-http", "--for", "0.2s", *flags)

        assert (1, "") == (refused.returncode, refused.stdout)
        (line,) = refused.stderr.splitlines()
        assert line.startswith("fleet: ")
        assert message in line
        assert "another --data directory" in line
    assert record == (data / "fleet.json").read_bytes()


@pytest.mark.claim("001.environment-variables.3")
def test_an_existing_database_is_moved_aside_on_request(up: Up, tmp_path: Path) -> None:
    """PRESERVE_EXISTING_DB=false starts over, and still deletes nothing."""
    data = tmp_path / "data"
    common = ("--replicas", 1, "--prefix", "S", "--rate", 10, "--for", "1s", "--no-http")
    assert 0 == up(*common).wait()
    old = read_records(data)["S_000001"].readings
    config = tmp_path / "over.yaml"
    config.write_text("database: {preserve_existing: false}\n")

    assert 0 == up("-c", config, *common).wait()

    new, aside = data / "S_000001.db", [path for path in databases(data) if "before" in path.name]
    assert new.exists()
    assert 1 == len(aside)
    (tmp_path / "old").mkdir()
    aside[0].rename(tmp_path / "old" / "S_000001.db")
    assert old == read_records(tmp_path / "old")["S_000001"].readings
    assert [(0, "start")] == read_records(data)["S_000001"].epochs
