"""The data directory: one fleet at a time, a manifest that outlives it, nothing deleted."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.config.config import Config, load_config
from fleet.datadir.directory import DataDirectory, FleetManifest
from fleet.datadir.readings import latest_due_us
from fleet.errors import UserError
from fleet.runtime.planner import Planner
from tests.fleet.verify.damage import (
    SCHEDULED_READINGS,
    SETTINGS,
    write_database,
    write_sample_database,
    write_sample_manifest,
)
from tests.worker.samples import NEW_YEAR
from worker.schedule import SECOND_US
from worker.scoreboard import Scoreboard
from worker.spec import AnomalySpec

RECORD = FleetManifest(7, "packed", 2, 1_000, 2_000, 3, (("A_1", "pack_0000"), ("A_2", "pack_0000")))


HOLD = """
import sys
from pathlib import Path
from fleet.datadir.directory import DataDirectory
directory = DataDirectory(Path(sys.argv[1]))
directory.hold()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a directory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    ) as holder:
        try:
            assert holder.stdout is not None
            assert "held\n" == holder.stdout.readline()
            yield holder
        finally:
            holder.kill()


@pytest.mark.process
def test_one_holder_at_a_time(tmp_path: Path) -> None:
    """The second fleet learns the process id of the first. An unused directory is not held."""
    directory = DataDirectory(tmp_path / "data")
    assert directory.holder() is None
    assert not directory.path.exists()
    with held(directory.path) as first:
        assert first.pid == directory.holder()
        with pytest.raises(UserError, match=rf"another fleet runs here \(pid {first.pid}\)"):
            DataDirectory(directory.path).hold()
        assert first.pid == directory.holder()
        assert 0o700 == directory.run.stat().st_mode & 0o777  # the socket that controls the fleet is in there


@pytest.mark.process
def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    """The system releases it, regardless of the contents of the lock file."""
    directory = DataDirectory(tmp_path / "data")
    with held(directory.path) as first:
        first.kill()
        first.wait()
        assert directory.holder() is None
        with held(directory.path) as second:
            assert second.pid == directory.holder()


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """None on a new directory."""
    directory = DataDirectory(tmp_path)
    assert directory.read_manifest() is None

    directory.write_manifest(RECORD)

    assert RECORD == directory.read_manifest()
    assert ["fleet.json"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("rate", ["10", "0.000001", "1/min", "7/h", "1/d", "1/7s", "100000"])
def test_a_rate_is_recorded_as_a_config_writes_it(rate: str, tmp_path: Path) -> None:
    """So that the next start continues with it."""
    path = tmp_path / "fleet.yaml"
    path.write_text(f"simulation: {{readings_per_second: {rate}}}")
    written = str(load_config(path).simulation.readings_per_second)
    DataDirectory(tmp_path).write_manifest(replace(RECORD, rate=written))
    manifest = DataDirectory(tmp_path).read_manifest()

    assert (rate, rate) == (written, manifest.rate if manifest else "")
    assert rate == str(
        load_config(path, {}, {"simulation.readings_per_second": written}).simulation.readings_per_second
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"seed": 1}', "\x00\x01"])
def test_a_record_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    """By a line that names the file; to start over on old data would be worse."""
    (tmp_path / "fleet.json").write_text(text)

    with pytest.raises(UserError, match=r"fleet\.json"):
        DataDirectory(tmp_path).read_manifest()


def write_scoreboard_time(directory: DataDirectory, time_us: int) -> None:
    directory.run.mkdir(exist_ok=True)
    Scoreboard.create(directory.scoreboard, 2).rows["timestamp_us"][1] = time_us


@pytest.mark.parametrize("time_us", [10_413_792_000_000_000, 5_680_281_600_000_000, 1 << 62, -(1 << 62)])
def test_a_wrong_time_on_the_scoreboard_is_ignored(time_us: int, tmp_path: Path) -> None:
    """The years 2300 and 2150, and garbage: the databases say how far the fleet came, and a start goes on from there."""
    data = tmp_path / "data"
    directory = DataDirectory(data)
    data.mkdir()
    write_sample_database(data)
    write_sample_manifest(data)
    write_scoreboard_time(directory, time_us)

    plan = Planner(Config.model_validate({}), directory, None).initial_plan()

    told = [warning for warning in plan.warnings if "board: ignored" in warning]
    assert (1 if time_us > 0 else 0) == len(told), plan.warnings
    now_us = time.time_ns() // 1000
    assert plan.record.start_us == NEW_YEAR
    assert plan.run.start_us < now_us + 60_000_000
    directory.write_manifest(plan.record)
    assert plan.record == directory.read_manifest()


def test_a_time_ahead_of_the_clock_counts_if_a_database_has_it(tmp_path: Path) -> None:
    """As after the wall clock was set back; the scoreboard is a row ahead of the database at most."""
    directory = DataDirectory(tmp_path)
    write_sample_database(tmp_path)
    latest = NEW_YEAR + (SCHEDULED_READINGS - 1) * SECOND_US
    write_scoreboard_time(directory, latest)
    behind = replace(RECORD, start_us=NEW_YEAR, wall_us=time.time_ns() // 1000)

    found = directory.latest_reading(behind)

    assert (True, "") == (latest - 60 * SECOND_US < found.time_us <= latest, found.warning)


@pytest.mark.parametrize("seconds", [86_400.0, -86_400.0])
def test_a_wrong_clock_does_not_tell_how_far_a_fleet_came(seconds: float, tmp_path: Path) -> None:
    """Otherwise the next start would leave a day out, or take the scoreboard for damaged."""
    fast = AnomalySpec("clock_jump", 0.9, 1000, "readings", (("seconds", seconds),))
    write_database(tmp_path / "A.db", 4_999, replace(SETTINGS, anomalies=(fast,)), commit_every=800)
    latest = NEW_YEAR + 4_999 * SECOND_US

    assert latest == latest_due_us(tmp_path / "A.db")
    directory = DataDirectory(tmp_path)
    write_scoreboard_time(directory, latest)
    found = directory.latest_reading(replace(RECORD, start_us=NEW_YEAR, wall_us=time.time_ns() // 1000))
    assert (latest, "") == (found.time_us, found.warning)


def test_a_database_is_moved_aside_whole(tmp_path: Path) -> None:
    """With its log and index; what is not there is no matter."""
    for suffix in ("", "-wal"):
        (tmp_path / f"A.db{suffix}").write_text(suffix)

    DataDirectory(tmp_path).move_aside(tmp_path / "A.db", 9)

    assert {"A.before-9.db": "", "A.before-9.db-wal": "-wal"} == {
        path.name: path.read_text() for path in tmp_path.iterdir()
    }
