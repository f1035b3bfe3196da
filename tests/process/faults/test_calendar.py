"""Moments at which calendars and clocks do odd things, and rates at the ends of what may be asked for."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.process.faults.attack import READINGS_PER_SECOND, backdate, verify_data
from tests.process.faults.conftest import Up, Write
from tests.process.running_fleet import fleet

pytestmark = pytest.mark.thorough

CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00:00+00:00", timedelta(hours=1)),
    "America/New_York": ("2026-11-01T06:00:00+00:00", timedelta(hours=-1)),
}
NEW_YEAR = "2017-01-01T00:00:00+00:00"
"""A leap second came before this one."""
INSTANT = timedelta(microseconds=1)


def identities(folder: Path) -> Path:
    """A sensor in each of the time zones, and one in UTC."""
    folder.mkdir()
    for zone in ("UTC", *CHANGES):
        name = zone.rpartition("/")[2]
        (folder / f"{name}.json").write_text(json.dumps({"sensor_id": name, "location": name, "timezone": zone}))
    return folder


def offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    """Of the zone's clocks from UTC, as they are then."""
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


def test_calendars_leave_time_alone(up: Up, quick: Write, tmp_path: Path) -> None:
    """Where clocks are put forward or back, in the sensor's own time zone and in others', and when a year begins with a
    leap second before it: timestamps are UTC and go on in even steps."""
    for zone, (change, step) in CHANGES.items():
        after, local = datetime.fromisoformat(change), ZoneInfo(zone)
        assert step == offset(after, local) - offset(after - INSTANT, local)
    moments = [datetime.fromisoformat(text) for text in (*(change for change, _ in CHANGES.values()), NEW_YEAR)]
    told = ("-c", quick(count=3), "--identities", identities(tmp_path / "people"), "--for", "2s", "--no-http")
    runs = {
        moment: up(*told, "--start", (moment - timedelta(seconds=1)).isoformat(), data=tmp_path / f"{moment:%Y%m%d}")
        for moment in moments
    }

    for moment, running in runs.items():
        assert 0 == running.wait(), running.output
        found = verify_data(running.data, 3, 2 * READINGS_PER_SECOND)
        grid = [
            moment + timedelta(seconds=number / READINGS_PER_SECOND - 1) for number in range(2 * READINGS_PER_SECOND)
        ]
        for sensor, seen in found.items():
            told_times = {seq: row[0] for seq, row in seen.readings}
            assert told_times == {seq: grid[seq].isoformat(timespec="microseconds") for seq in told_times}, sensor


def test_a_second_that_no_clock_here_shows(quick: Write, tmp_path: Path) -> None:
    """A leap second: one line that names the flag and what was given, and nothing is begun."""
    moment = "2016-12-31T23:59:60Z"
    told = fleet("up", "-c", quick(), "--data", tmp_path / "data", "--start", moment, "--no-http", "--for", "1s")

    assert (1, "") == (told.returncode, told.stdout)
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"fleet: --start: {moment} ")
    assert not (tmp_path / "data").exists()


def assert_verified(data: Path, readings: int) -> None:
    """By the command: the one sensor has that many readings, all that were due."""
    told = fleet("verify", "--data", data, "--complete", "--json")
    assert 0 == told.returncode, told.stdout
    verdict = json.loads(told.stdout)
    assert (1, readings) == (verdict["sensors"], verdict["readings"])


CALM = "replicas: {count: 1, prefix: S}\nanomalies: {enabled: false}\n"


def test_a_hundred_thousand_readings_a_second(up: Up, tmp_path: Path) -> None:
    """The most that may be asked of a sensor: ten microseconds from one to the next, and none is left out."""
    config = tmp_path / "fast.yaml"
    config.write_text(CALM)

    assert 0 == up("-c", config, "--rate", 100_000, "--for", "1s", "--no-http").wait()

    assert_verified(tmp_path / "data", 100_000)


def test_a_reading_in_a_quarter_of_an_hour(up: Up, tmp_path: Path) -> None:
    """A thousandth of a reading per second. Interrupted for two hours, longer than a pause is caught up by default."""
    config = tmp_path / "slow.yaml"
    config.write_text(f"{CALM}simulation: {{longest_pause_seconds: 10000, resume: catch_up}}\n")
    told = ("-c", config, "--rate", 0.001, "--start", "2026-01-01T00:00:00Z", "--for", "2h", "--no-http")
    running = up(*told).ready()
    assert 0 == fleet("down", "--data", running.data).returncode
    assert 0 == running.wait()
    backdate(running.data, 7200)

    assert 0 == up(*told).wait()

    assert_verified(running.data, 8)
