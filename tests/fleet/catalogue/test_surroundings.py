"""What a sensor stands in shows in its readings: a factory, a warehouse, the outdoors."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import sqrt
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from fleet.errors import UserError
from tests.fleet.config.behaving_sensors import CATALOGUE, VIBE, channels, generate_block, sensor_settings
from tests.worker.samples import SECOND_US
from worker.readings.generator import Block
from worker.spec import Identity

pytestmark = pytest.mark.claim("001.introduction.5", "002.introduction-features.4")

HEALTHY = "{simulation: {readings_per_second: 0.005}, anomalies: {enabled: false}}"
WEEK = 7 * 86_400 // 200
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SIGMAS = 4.0


def known(**fields: str) -> str | None:
    return CATALOGUE.surroundings_of("auto", Identity("A", **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("Factory A - Line 1", "factory"),
        ("Warehouse B - Section 1", "warehouse"),
        ("Outdoor - Area 1", "outdoor"),
        ("New York Factory Floor 3", "factory"),
        ("Production Floor A", "factory"),
        ("WAREHOUSE_7", "warehouse"),
        ("Outdoor yard of factory 2", "outdoor"),
        ("Factory 2, outdoor yard", "factory"),
        ("Chicago", None),
        ("Satisfactory Road, Plantation", None),
        ("", None),
    ],
)
def test_a_location_tells_the_surroundings(location: str, name: str | None) -> None:
    """By the first of its words that does; whole words, in any case."""
    assert name == known(location=location)


def test_a_deployment_type_tells_them_too() -> None:
    """One that names them beats the location, one that merely has such a word does not."""
    assert "outdoor" == known(deployment_type="fixed_outdoor", location="Denver, Colorado, United States")
    assert "outdoor" == known(deployment_type="rooftop")
    assert "factory" == known(deployment_type="fixed_outdoor", location="Factory A")
    assert "warehouse" == known(deployment_type="Warehouse", location="Factory A")
    assert None is known(deployment_type="fixed_indoor")


def test_a_config_tells_them_for_all(tmp_path: Path) -> None:
    """Or turns them off; a name that is not known is an error that lists those that are."""
    there = replace(VIBE, location="Factory A")

    assert 3.0 == channels(sensor_settings(tmp_path, there))["temperature"].working_hours
    assert 0.0 == channels(sensor_settings(tmp_path, there, "surroundings: none"))["temperature"].working_hours
    assert 5.0 == channels(sensor_settings(tmp_path, there, "surroundings: outdoor"))["temperature"].daily_amplitude
    assert sensor_settings(tmp_path, VIBE) == sensor_settings(tmp_path, there, "surroundings: none")
    with pytest.raises(UserError, match=r"fleet.yaml:1:15: surroundings: 'moon' is not one of auto, none, factory, w"):
        sensor_settings(tmp_path, VIBE, "surroundings: moon")


def week(folder: Path, location: str, timezone: str = "UTC", text: str = HEALTHY) -> Block:
    """A week from Monday 00:00 UTC, a reading every 200 s."""
    identity = replace(VIBE, location=location, timezone=timezone)
    return generate_block(
        sensor_settings(folder, identity, text), identity, WEEK, round(MONDAY.timestamp()) * SECOND_US
    )


def local(block: Block, timezone: str) -> list[datetime]:
    zone = ZoneInfo(timezone)
    return [datetime.fromtimestamp(time / SECOND_US, UTC).astimezone(zone) for time in block.times.tolist()]


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Tokyo", "America/Denver"])
@pytest.mark.claim("002.scenario-based.1")
def test_a_factory_is_warmer_while_people_work(timezone: str, tmp_path: Path) -> None:
    """By 1.5 standard deviations from 9 to 18 o'clock, Monday to Friday, by its own clock; rising from 8 on, gone at
    19. Nothing else differs, not by a bit."""
    there, elsewhere = (week(tmp_path, place, timezone) for place in ("Factory A - Line 1", "Hall 1"))
    added = there.values[0] - elsewhere.values[0]
    times = local(there, timezone)
    clock = np.array([time.hour + time.minute / 60 + time.second / 3600 for time in times])
    working = np.array([time.weekday() < 5 for time in times])
    expected = np.where(working, 3.0 * np.minimum(np.clip(clock - 8, 0, 1), np.clip(19 - clock, 0, 1)), 0.0)

    assert expected.tolist() == pytest.approx(added.tolist(), abs=0.011)
    assert 3.0 == expected.max()
    assert there.values[1:].tolist() == elsewhere.values[1:].tolist()


def test_hours_follow_the_clock_when_it_changes(tmp_path: Path) -> None:
    """In New York on 8 March 2026 noon comes an hour earlier; the Monday after, work begins at 8 by the new time."""
    there, elsewhere = (week(tmp_path, place, "America/New_York") for place in ("Factory 1", "Hall 1"))
    warm = (there.values[0] - elsewhere.values[0]) > 2.9
    sunday_on = replace(VIBE, location="Factory 1", timezone="America/New_York")
    start = round((MONDAY + timedelta(days=6)).timestamp()) * SECOND_US
    later = generate_block(sensor_settings(tmp_path, sunday_on, HEALTHY), sunday_on, WEEK // 3, start)
    plain = generate_block(
        sensor_settings(tmp_path, replace(sunday_on, location="Hall"), HEALTHY), sunday_on, WEEK // 3, start
    )
    first = int(np.flatnonzero(later.values[0] - plain.values[0] > 2.9)[0])

    assert 14 == datetime.fromtimestamp(int(there.times[np.flatnonzero(warm)[0]]) / SECOND_US, UTC).hour
    assert 13 == datetime.fromtimestamp(int(later.times[first]) / SECOND_US, UTC).hour
    assert 0 == datetime.fromtimestamp(int(later.times[first]) / SECOND_US, UTC).weekday()


@pytest.mark.claim("002.scenario-based.2")
def test_a_warehouse_is_steadier_and_shakes_more(tmp_path: Path) -> None:
    """Half the deviation and half the swing of temperature, 1.5 times the deviation (2.25 times the variance) of
    vibration, the voltage as elsewhere."""
    text = HEALTHY.replace("}}", "}, daily_pattern: false}")
    there, elsewhere = (week(tmp_path, place, text=text).values.std(axis=1) for place in ("Warehouse B", "Hall 1"))
    error = SIGMAS / sqrt(WEEK)

    assert [0.5, 1.5, 1.0] == pytest.approx((there / elsewhere).tolist(), rel=error)
    swinging = channels(sensor_settings(tmp_path, replace(VIBE, location="Warehouse B")))
    assert (1.0, 1.0) == (swinging["temperature"].daily_amplitude, swinging["temperature"].std_dev)
    assert 2.25 == pytest.approx((there[1] / elsewhere[1]) ** 2, rel=2 * error)


@pytest.mark.claim("002.scenario-based.3")
def test_outdoors_the_day_swings_more(tmp_path: Path) -> None:
    """2.5 times as much, between 03:00 and 15:00."""
    swings = {}
    for place in ("Outdoor - Area 1", "Hall 1"):
        block = week(tmp_path, place)
        hours = np.array([time.hour for time in local(block, "UTC")])
        warm, cold = (block.values[0, np.isin(hours, some)] for some in ((14, 15), (2, 3)))
        swings[place] = float(warm.mean() - cold.mean())
        error = SIGMAS * 2 * sqrt(2 / warm.size)

        assert (10.0 if "Out" in place else 4.0) == pytest.approx(swings[place], abs=error + 0.1)
    assert swings["Outdoor - Area 1"] > 2 * swings["Hall 1"]


def test_without_the_daily_pattern_nothing_follows_the_clock(tmp_path: Path) -> None:
    """Neither the swing nor the working hours."""
    for place in ("Factory A", "Outdoor - Area 1"):
        told_there = channels(sensor_settings(tmp_path, replace(VIBE, location=place), "daily_pattern: false"))

        assert (0.0, 0.0) == (told_there["temperature"].daily_amplitude, told_there["temperature"].working_hours)


def test_a_catalogue_may_add_surroundings_and_change_those_there_are(tmp_path: Path) -> None:
    """With hours of their own."""
    more = tmp_path / "more.yaml"
    more.write_text(
        "surroundings:\n"
        "  bakery:\n"
        "    words: [bakery]\n"
        "    hours: {begin: 2, end: 6, days: 7}\n"
        "    channels: {temperature: {working_hours: 4}}\n"
        "  warehouse: {channels: {temperature: {std_dev: 0.25}}}\n"
    )
    baker, warehouse = (
        sensor_settings(tmp_path, replace(VIBE, location=f"{name} 1"), "", more) for name in ("Bakery", "Depot")
    )

    assert (2, 6, 7) == (baker.working_hours.begin, baker.working_hours.end, baker.working_hours.days)
    assert 8.0 == channels(baker)["temperature"].working_hours
    assert (0.5, 1.0) == (
        channels(warehouse)["temperature"].std_dev,
        channels(warehouse)["temperature"].daily_amplitude,
    )
    assert pytest.approx(0.15) == channels(warehouse)["vibration"].std_dev


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("surroundings: 7", "more.yaml:1:15: surroundings: "),
        ("surroundings: {auto: {}}", "more.yaml:1:16: surroundings.auto: "),
        ("surroundings: {moon: {hours: {begin: 9, end: 9}}}", "is not after begin 9"),
        ("surroundings: {moon: {channels: {temperature: {daily: 2}}}}", "daily"),
        ("surroundings: {moon: {hours: {begin: 24}}}", "24"),
    ],
)
def test_an_error_in_them_has_its_place(text: str, message: str, tmp_path: Path) -> None:
    """One line."""
    (tmp_path / "more.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        sensor_settings(tmp_path, VIBE, "", tmp_path / "more.yaml")

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
