"""Interventions: the sensors that they select, the specs that follow, and the file that keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.datadir.directory import FleetManifest
from fleet.datadir.events import MAX_EVENTS, EventLog, read_events
from fleet.datadir.interventions import MAX_FINISHED_INJECTIONS, InjectionRecord, Interventions, read_interventions
from fleet.datadir.roster import Member
from fleet.errors import UserError
from fleet.runtime.commands import Pause as PauseCommand
from fleet.runtime.selectors import select_sensors
from fleet.runtime.sensor_specs import SettingsCache, sensor_specs, stages_with_injections
from fleet.runtime.sensor_specs import apply_injection as under
from tests.worker.samples import NOISE, SPIKE, settings
from worker.clock import SimulatedClock
from worker.spec import Identity, Pause, Stage

HEALTHY, WORSE = settings(SPIKE, NOISE), settings(replace(SPIKE, share=0.5), NOISE)
SPIKED = InjectionRecord("a", "spike", None, 3.0, ("S_1",), 1, 100, 200, "{}")
NOISY = InjectionRecord("b", "noise", None, None, ("S_1",), 1, 150, 300, "{}")


def member(
    number: int, city: str, maker: str = "SensorTech", firmware: str = "1.4", kind: str = "environmental_monitoring"
) -> Member:
    identity = Identity(f"S_{number}", firmware, None, maker, location=city, sensor_type=kind)
    return Member(number, f"S_{number}", 1.0, Path("x.db"), Path("log"), (), identity)


MEMBERS = [
    member(1, "Denver, CO, USA"),
    member(2, "Denver, CO, USA", firmware="2.5"),
    member(3, "Lyon, FR", maker="DataLogger", kind="pipeline"),
    *(member(number, "Zürich") for number in range(4, 14)),
]


def chosen(**wanted: object) -> list[str]:
    return [m.sensor_id for m in select_sensors(MEMBERS, PauseCommand.model_validate({"command": "pause", **wanted}))]


def test_several_things_mean_those_to_whom_all_apply() -> None:
    """A place by its city or all of it, in any case; nothing means everybody."""
    assert ["S_1", "S_2"] == chosen(city="denver") == chosen(city="Denver, CO, USA")
    assert ["S_2"] == chosen(city="Denver", firmware="2.5")
    assert ["S_3"] == chosen(manufacturer="DATALOGGER") == chosen(sensors=("S_3",), city="lyon")
    assert ["S_4"] == chosen(sensors=("S_4",), city="ZÜRICH", share=0.1)
    assert ["S_3"] == chosen(kind="pipeline") == chosen(kind="Pipeline", city="lyon")
    assert 12 == len(chosen(kind="environmental")) == len(chosen(kind="environmental_monitoring"))
    assert 13 == len(chosen())


def test_a_share_is_always_the_same_and_part_of_a_larger_one() -> None:
    """Rounded up: the least share is one sensor."""
    shares = [set(chosen(share=share)) for share in (0.01, 0.1, 0.3, 0.5, 1.0)]

    assert [1, 2, 4, 7, 13] == [len(share) for share in shares]
    assert all(smaller < larger for smaller, larger in pairwise(shares))
    assert 5 == len(chosen(city="zürich", share=0.5))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"city": "Paris"}, "no sensor is in Paris; to choose from: Denver, Lyon, Zürich"),
        ({"city": "Lyon", "firmware": "2.5"}, "no sensor has the firmware 2.5; to choose from: 1.4"),
        ({"sensors": ("S_1", "s_1")}, "there is no sensor s_1 in this fleet; there are S_1, S_10, S_11, "),
        ({"sensors": ()}, "no sensor is named"),
        ({"manufacturer": "\x1b[2J"}, r"no sensor is made by \\x1b\[2J; to choose from: DataLogger, SensorTech"),
    ],
)
def test_nobody_being_meant_is_an_error_that_says_what_there_is(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        chosen(**wanted)


def test_of_two_injections_the_later_one_counts() -> None:
    """While it lasts; then the earlier goes on, and after both what would have been, whatever a scenario says of it."""
    later = (Stage(170, WORSE),)
    found = stages_with_injections(HEALTHY, later, [NOISY, SPIKED], under)

    assert [
        (100, under(HEALTHY, SPIKED)),
        (150, under(HEALTHY, SPIKED)),
        (170, under(WORSE, SPIKED)),
        (200, under(WORSE, NOISY)),
        (300, WORSE),
    ] == [(stage.at_us, stage.settings) for stage in found]
    assert later == stages_with_injections(HEALTHY, later, [], under)


def test_one_that_is_taken_back_ends_then() -> None:
    """Before it began, nothing comes of it."""
    ended, never = replace(SPIKED, cancelled_us=120), replace(SPIKED, cancelled_us=50)

    assert [(100, under(HEALTHY, ended)), (120, HEALTHY)] == [
        (s.at_us, s.settings) for s in stages_with_injections(HEALTHY, (), [ended], under)
    ]
    assert {HEALTHY} == {stage.settings for stage in stages_with_injections(HEALTHY, (), [never], under)}
    assert ["planned", "running", "over"] == [SPIKED.state(now) for now in (99, 100, 200)]
    assert {"cancelled"} == {ended.state(now) for now in (99, 100, 200)}


def test_an_injection_is_as_the_sensors_own_anomalies_but_for_its_size() -> None:
    own = settings(replace(SPIKE, parameters=(("multiplier_max", 9.0),), channel_odds=(("voltage", 2.0),)))
    usual, sized = under(own, replace(SPIKED, size=None)).injection, under(own, SPIKED).injection

    assert usual
    assert sized
    assert ((("multiplier_max", 9.0),), (("voltage", 2.0),), False) == (
        usual.anomaly.parameters,
        usual.anomaly.channel_odds,
        usual.sized,
    )
    assert {"multiplier_min": 3.0, "multiplier_max": 3.0} == dict(sized.anomaly.parameters)
    assert own.anomalies == under(own, SPIKED).anomalies


def test_a_probability_is_that_of_its_sensors(tmp_path: Path) -> None:
    """Over the config's, in all steps of a scenario, with what the catalogue makes of it; the others keep theirs."""
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "version: 2\nanomalies: {probability: 0.01}\nscenario: [{at: 10, anomalies: {probability: 0.02}}]\n"
    )
    config, catalogue = load_config(path, {}, {}), load_catalogue(None)
    who = [Identity(f"S_{number}") for number in (1, 2)]
    interventions = Interventions(pauses={"S_2": (Pause(5),)}, probabilities={"S_1": 0.5})
    record = FleetManifest(1, "own", 1, 0, 0, 1, (("S_1", "S_1"), ("S_2", "S_2")))
    one, two = sensor_specs(config, catalogue, who, record, interventions, SettingsCache())

    assert [0.5, 0.5] == [
        pytest.approx(sum(each.share for each in s.anomalies)) for s in (one.settings, one.stages[0].settings)
    ]
    assert [0.01, 0.02] == [
        pytest.approx(sum(each.share for each in s.anomalies)) for s in (two.settings, two.stages[0].settings)
    ]
    assert [(), (Pause(5),)] == [one.pauses, two.pauses]


def test_they_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "interventions.json"
    interventions = Interventions(
        (SPIKED, NOISY), {"S_1": (Pause(1, 2), Pause(3))}, {"S_2": 0.5}, SimulatedClock(7, 8_000, Fraction(5, 2))
    )
    interventions.write(path)

    assert interventions == read_interventions(path)
    assert [True, False] == [interventions.paused(s) for s in ("S_1", "S_2")]
    assert Interventions() == read_interventions(tmp_path / "none")


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"injections": [{}]}', "null"])
def test_damaged_ones_are_none(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "interventions.json"
    path.write_text(damage)

    assert Interventions() == read_interventions(path)


def test_a_field_of_another_type_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "interventions.json"
    Interventions((SPIKED,)).write(path)
    for field in ("id", "from_us", "size", "settled", "cancelled_us"):
        document = json.loads(path.read_text())
        document["injections"][0][field] = [1]
        (tmp_path / "damaged").write_text(json.dumps(document))
        assert Interventions() == read_interventions(tmp_path / "damaged")


def test_those_that_are_over_are_forgotten_in_the_end() -> None:
    """The oldest first, never one that is under way."""
    over = [replace(SPIKED, id=f"x{number}").mark_settled() for number in range(MAX_FINISHED_INJECTIONS + 5)]
    kept = Interventions((SPIKED, *over)).pruned().injections

    assert ["a", "x5", "x6"] == [each.id for each in kept[:3]]
    assert MAX_FINISHED_INJECTIONS + 1 == len(kept)
    assert {"S_1": [SPIKED]} == Interventions((SPIKED, *over)).open_by_sensor()


def test_events_are_bounded_and_go_on_counting(tmp_path: Path) -> None:
    """Over restarts, and whatever was cut off at the end."""
    path = tmp_path / "events.jsonl"
    events = EventLog(path)
    for number in range(2 * MAX_EVENTS + 10):
        events.add(float(number), "note", "x" * 10_000)
    assert len(path.read_text().splitlines()) < 2 * MAX_EVENTS
    with path.open("a") as file:
        file.write('{"id": 99999999')
    again = EventLog(path)
    with again.on_behalf_of("me"):
        again.add(0.0, "scale", "mine")
    again.add(0.0, "note", "\u2028\n")

    found = read_events(path)
    assert [2 * MAX_EVENTS + 11, 2 * MAX_EVENTS + 12] == [event["id"] for event in found[-2:]]
    assert ["me", "supervisor"] == [event["who"] for event in found[-2:]]
    assert len(found) <= MAX_EVENTS + 1
    assert all(len(event["what"]) <= 500 for event in found)


def test_a_full_disk_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    """What could not be written then is there later."""
    path = tmp_path / "run" / "events.jsonl"
    events = EventLog(path)
    events.add(0.0, "note", "one")
    path.parent.mkdir()
    events.add(0.0, "note", "two")

    assert ["one", "two"] == [event["what"] for event in read_events(path)]
