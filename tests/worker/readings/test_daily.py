"""The daily pattern follows the sensor's own clock: peak 15:00, trough 03:00 local."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.worker.samples import HUMIDITY, NEW_YEAR, SECOND_US, TEMPERATURE, VOLTAGE, settings
from worker.readings.daily import daily_pattern, load_timezone, sine, utc_offsets
from worker.readings.generator import SignalGenerator
from worker.schedule import IntArray
from worker.spec import Identity

ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"]
DAYS = [
    "2026-01-15",
    "2026-07-15",
    "2026-03-08",  # clocks change in New York
    "2026-03-29",  # in Berlin
    "2026-10-25",  # back again
    "2026-10-04",  # by half an hour on Lord Howe Island
]


def microseconds(moment: datetime) -> int:
    return round(moment.timestamp()) * SECOND_US


def local(day: str, hour: int, timezone: str) -> IntArray:
    moment = datetime.fromisoformat(day).replace(hour=hour, tzinfo=ZoneInfo(timezone))
    return np.array([microseconds(moment)], dtype=np.int64)


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("timezone", ZONES)
@pytest.mark.claim("002.anomalies-simulated.13")
def test_peak_and_trough_are_at_local_hours(timezone: str, day: str) -> None:
    """On every day, also on one when the clocks change."""
    assert 1.0 == pytest.approx(daily_pattern(local(day, 15, timezone), timezone)[0], abs=1e-9)
    assert -1.0 == pytest.approx(daily_pattern(local(day, 3, timezone), timezone)[0], abs=1e-9)
    assert 0.0 == pytest.approx(daily_pattern(local(day, 9, timezone), timezone)[0], abs=1e-9)
    assert 0.0 == pytest.approx(daily_pattern(local(day, 21, timezone), timezone)[0], abs=1e-9)


@pytest.mark.parametrize("timezone", ZONES)
def test_offsets_are_those_of_the_zone_within_a_block(timezone: str) -> None:
    """One block may hold clock changes: a year in steps of 10 minutes against the standard library's zones."""
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=10 * step) for step in range(52_560)][::7]
    expected = [moment.astimezone(ZoneInfo(timezone)).utcoffset() for moment in moments]
    found = utc_offsets(np.array([microseconds(moment) for moment in moments]), timezone)

    assert [round(offset.total_seconds()) * SECOND_US for offset in expected if offset] == found[found != 0].tolist()
    assert len(expected) == len(found)


def test_sine_is_a_sine() -> None:
    """To 1e-9, over many turns and both signs."""
    turns = np.linspace(-20.0, 20.0, 100_001)

    assert np.abs(sine(turns) - np.sin(2 * math.pi * turns)).max() < 1e-9
    assert np.abs(sine(np.array([0.0, 0.25, 0.5, 0.75, -0.25])) - [0, 1, 0, -1, -1]).max() < 1e-9


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "/etc/passwd", "../tzdata", "Europe", "UTC/", "__init__.py"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    """No path gets out of the table of zones."""
    with pytest.raises(ValueError, match="is not a time zone"):
        load_timezone(name)


@pytest.mark.claim("002.anomalies-simulated.13")
def test_channels_follow_the_day_by_their_amplitude() -> None:
    """Temperature is highest when humidity is lowest; a channel without an amplitude is flat."""
    warm = replace(TEMPERATURE, std_dev=0.0, daily_amplitude=2.0)
    dry = replace(HUMIDITY, std_dev=0.0, daily_amplitude=-5.0)
    flat = replace(VOLTAGE, std_dev=0.0)
    generator = SignalGenerator(
        1, Identity("A", timezone="Asia/Tokyo"), settings(rate="0.001", channels=(warm, dry, flat)), 0, NEW_YEAR
    )
    block = generator.block(0, 864)  # ten days
    hours = (block.times // (3600 * SECOND_US) + 9) % 24
    temperature, humidity, voltage = block.values

    assert {15, 14} >= set(hours[temperature == temperature.max()].tolist())
    assert (24.0, 20.0) == (temperature.max(), temperature.min())
    assert (55.0, 65.0) == (humidity.min(), humidity.max())
    assert {15, 14} >= set(hours[humidity == humidity.min()].tolist())
    assert {24.0} == set(voltage.tolist())
