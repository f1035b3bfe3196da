"""Events about sensors that cannot write, and about databases that were replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.monitoring.health_events import MAX_SENSORS_PER_CHECK, HealthEvents
from fleet.monitoring.observation import Observer
from tests.fleet.staged import StagedFleet, sensor_name

Events = list[tuple[str, str]]


@pytest.fixture
def recorded() -> Events:
    return []


def health_events(staged: StagedFleet, recorded: Events) -> HealthEvents:
    return HealthEvents(Observer(staged.run, tick=0).observe, lambda *event: recorded.append(event))


@pytest.mark.claim("002.error-handling.6")
def test_each_trouble_is_told_once_and_its_end(tmp_path: Path, recorded: Events) -> None:
    """A sensor that failed meanwhile, or left, is not "no longer unready". Of a whole fleet only the first are named."""
    staged = StagedFleet(tmp_path / "data", 8)
    check = health_events(staged, recorded)
    for number in (1, 2, 3):
        staged.set(number, "unready", "disk full")
    check()
    check()
    assert [(sensor_name(number), "unready: disk full") for number in (1, 2, 3)] == recorded
    recorded.clear()

    staged.set(1, "healthy")
    staged.set(2, "failed")
    staged.members = tuple(member for member in staged.members if member.row != 3)
    staged.write_roster()
    check()
    check()
    assert [(sensor_name(1), "no longer unready")] == recorded
    recorded.clear()

    for number in range(8):
        staged.set(number, "unready")
    check()
    assert (MAX_SENSORS_PER_CHECK + 1, ("fleet", "and 2 sensors more")) == (len(recorded), recorded[-1])


def test_each_renewal_is_told_once(tmp_path: Path, recorded: Events) -> None:
    """A database that many sensors share is named once; a sensor that left and comes back brings no old news."""
    staged = StagedFleet(tmp_path / "data", 3, layout="packed")
    check = health_events(staged, recorded)
    check()
    assert [] == recorded

    staged.set(1, renewals=1)
    staged.set(2, renewals=1)
    check()
    check()
    text = "sensors.db was damaged, deleted or replaced: a new one was created"
    assert [(f"{sensor_name(1)} (and 1 more)", text)] == recorded

    everyone = staged.members
    for members in (everyone[:2], everyone):
        staged.members = members
        staged.write_roster()
        check()
    assert 1 == len(recorded)
    staged.set(0, renewals=1)
    check()
    assert (sensor_name(0), text) == recorded[1]
