"""The phases of a fleet: who reads when, and that all who count what a sensor owes agree on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from fleet.config.config import Config, SourcedValue, load_config
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.runtime.planner import Plan, Planner
from fleet.runtime.preparation import initial_roster
from fleet.runtime.reload import ConfigSource
from fleet.runtime.sensor_specs import phase_of
from fleet.runtime.start import values_of_last_run
from fleet.runtime.summary import readings_due
from fleet.verify.verification import verify
from worker.clock import elapsed_ns
from worker.sensor import Sensor
from worker.spec import Layout, Phase, SensorSpec
from worker.storage.database import Database

LAYOUTS: dict[Layout, dict[str, object]] = {
    "own": {},
    "shared": {"replicas.database": "shared"},
    "packed": {"replicas.sensors_per_worker": 2},
}
PHASES: tuple[Phase, ...] = ("aligned", "spread", "random")


def config(phase: str, **values: object) -> Config:
    """Five sensors with a reading every two seconds, for three seconds."""
    defaults: dict[str, object] = {
        "replicas.count": 5,
        "replicas.prefix": "S",
        "simulation.seed": 7,
        "simulation.readings_per_second": "0.5",
        "simulation.duration_seconds": 3,
    }
    told = {**defaults, "simulation.phase": phase, **{key.replace("__", "."): value for key, value in values.items()}}
    return load_config(None, {}, {key: SourcedValue(value, key) for key, value in told.items() if value is not None})


def planned(data: Path, settings: Config, after: int = 0) -> Plan:
    """Plan a run, of a later one `after` as many seconds as the last one has been planned before."""
    directory = DataDirectory(data)
    directory.run.mkdir(parents=True, exist_ok=True)
    if (old := directory.read_manifest()) and after:
        directory.write_manifest(replace(old, origin_ns=old.origin_ns - after * 10**9))
    plan = Planner(settings, directory, None).initial_plan()
    directory.write_manifest(plan.record)
    roster = initial_roster(settings, ConfigSource(None, {}, {}), plan, None, datetime.now(UTC), 0)
    roster.write(directory.roster)
    return plan


def sensors_of(plan: Plan) -> list[SensorSpec]:
    return [sensor for worker in plan.workers for sensor in worker.sensors]


def phases(plan: Plan) -> dict[str, float]:
    return {sensor.identity.sensor_id: sensor.phase for sensor in sensors_of(plan)}


def lived(plan: Plan) -> dict[str, list[float]]:
    """Write all that is due at the end of the run, and return the times of the readings in seconds after its start."""
    start_us, written = plan.run.start_us, {}
    for number, worker in enumerate(plan.workers):
        sink = Database(worker.store)
        positions = sink.claim([sensor.identity for sensor in worker.sensors], (plan.run.number << 24) + number + 1)
        for spec, position in zip(worker.sensors, positions, strict=True):
            sensor, times = Sensor(spec, worker.run, position), []
            while portions := sensor.portions(cast("int", worker.run.end_us), 1000):
                sink.deliver(portions)
                for portion in portions:
                    sensor.commit(portion)
                    times += [(time - start_us) / 1e6 for time in portion.block.times.tolist()] if portion.block else []
            assert sensor.done
            written[spec.identity.sensor_id] = times
        sink.close()
    return written


def test_aligned_is_the_default(tmp_path: Path) -> None:
    """Whoever joins readings of several sensors by their timestamps finds them."""
    plan = planned(tmp_path, config("aligned", simulation__phase=None))

    assert {0.0} == set(phases(plan).values())


def test_spread_is_even_at_every_size() -> None:
    """No gap between two neighbours is more than 1.62 times the mean, nor is any less than 0.38 times."""
    for count in (2, 3, 10, 100, 1000, 9_999):
        found = sorted(phase_of("spread", 1, f"S_{row}", row) for row in range(count))
        gaps = [later - before for before, later in pairwise([*found, 1 + found[0]])]

        assert 0 == found[0] <= found[-1] < 1
        assert max(gaps) * count < 1.9
        assert min(gaps) * count > 0.38


def test_random_phases_are_uniform_and_belong_to_seed_and_sensor() -> None:
    found = [phase_of("random", seed, f"S_{number}", 0) for seed in (1, 2) for number in range(5_000)]

    assert len(found) == len(set(found))
    assert 0 <= min(found) <= max(found) < 1
    assert all(850 < count < 1150 for count in Counter(int(10 * phase) for phase in found).values())
    assert found[:9] == [phase_of("random", 1, f"S_{number}", 5) for number in range(9)]


@pytest.mark.parametrize("phase", ["spread", "random"])
def test_a_sensor_keeps_its_phase(phase: Phase, tmp_path: Path) -> None:
    """In every layout, in a fleet of another size, when it is scaled while it runs, and in a later run."""
    plans = {name: planned(tmp_path / name, config(phase, **layout)) for name, layout in LAYOUTS.items()}
    five = phases(plans["own"])
    larger = planned(tmp_path / "larger", config(phase, replicas__count=8))
    running = Planner(config(phase), DataDirectory(tmp_path / "own"), None)
    scaled = running.scaled(plans["own"], 8, elapsed_ns())

    assert 5 == len(set(five.values()))
    assert all(five == phases(plan) for plan in plans.values())
    assert five.items() < phases(larger).items() == phases(scaled).items()
    assert five == phases(planned(tmp_path / "own", config(phase, simulation__seed=None)))


def test_members_that_join_later_have_a_first_reading_of_their_own(tmp_path: Path) -> None:
    """On the grid of the fleet, at their phase; those of the others stay as they are."""
    plan = planned(tmp_path, config("spread", simulation__duration_seconds=3600))
    running = Planner(config("spread", simulation__duration_seconds=3600), DataDirectory(tmp_path), None)
    scaled = running.scaled(plan, 7, plan.run.origin_ns + 101_300_000_000)
    since = [(member.first_due_us - plan.run.start_us) / 1e6 for member in scaled.members]

    assert plan.members == scaled.members[:5]
    assert [2 * sensor.phase for sensor in sensors_of(plan)] == pytest.approx(since[:5], abs=1e-5)
    assert [102 + 2 * sensor.phase for sensor in sensors_of(scaled)[5:]] == pytest.approx(since[5:], abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("phase", PHASES)
def test_all_who_count_agree(phase: Phase, layout: Layout, tmp_path: Path) -> None:
    """With one and a half intervals some sensors owe two readings, some one; at 0.1 readings a second, for some of them
    none is due. Neither the summary nor the verification misses any."""
    for number, rate in enumerate(("0.5", "1", "0.1")):
        data = tmp_path / str(number)
        plan = planned(data, config(phase, simulation__readings_per_second=rate, **LAYOUTS[layout]))
        counts = Counter(map(len, lived(plan).values()))
        expected = {"0.5": {1, 2}, "1": {3}, "0.1": {0, 1}}[rate]

        assert counts.keys() == (expected if phase != "aligned" else {max(expected)})
        assert readings_due(plan) == sum(length * count for length, count in counts.items())
        verdict = verify(data, complete=True)
        assert ({}, 5) == (dict(verdict.counts), verdict.sensors)


@pytest.mark.parametrize("phase", PHASES)
def test_a_later_run_is_complete(phase: Phase, tmp_path: Path) -> None:
    """Also for the sensors of which no reading was due in it; before it is lived, the others miss theirs."""
    lived(planned(tmp_path, config(phase)))
    later = planned(tmp_path, config(phase, simulation__seed=None, simulation__duration_seconds=1), after=100)
    owing = sum(1 for sensor in sensors_of(later) if sensor.phase < 0.5)
    before = verify(tmp_path, complete=True)
    written = lived(later)

    assert 0 < owing == before.counts["incomplete"] == sum(map(len, written.values()))
    assert all(" 1 of 2 " in f" {each.detail}" or " 2 of 3 " in f" {each.detail}" for each in before.findings)
    assert {} == dict(verify(tmp_path, complete=True).counts)


@pytest.mark.parametrize("phase", PHASES)
def test_a_later_run_that_begins_at_once(phase: Phase, tmp_path: Path) -> None:
    """Whether a reading is due in a part of an interval depends on the last one of the earlier run, so that the plan alone
    does not say it; how many are due in whole intervals does not."""
    lived(planned(tmp_path, config(phase)))
    part = planned(tmp_path, config(phase, simulation__seed=None), after=3)
    assert readings_due(part) is None
    lived(part)
    assert {} == dict(verify(tmp_path, complete=True).counts)

    whole = planned(tmp_path, config(phase, simulation__seed=None, simulation__duration_seconds=8), after=3)
    assert 20 == readings_due(whole) == sum(map(len, lived(whole).values()))
    assert {} == dict(verify(tmp_path, complete=True).counts)
    faster = config(phase, simulation__seed=None, simulation__duration_seconds=8, simulation__readings_per_second="1")
    assert readings_due(planned(tmp_path, faster)) is None


def test_what_is_missing_is_found(tmp_path: Path) -> None:
    """Before a sensor has written anything, too."""
    plan = planned(tmp_path, config("spread"))
    for worker in plan.workers:
        sink = Database(worker.store)
        sink.claim([sensor.identity for sensor in worker.sensors], 1)
        sink.close()
    verdict = verify(tmp_path, complete=True)

    assert {"incomplete": 5} == dict(verdict.counts)
    assert {"0 of 2 readings are committed": 3, "0 of 1 readings are committed": 2} == Counter(
        finding.detail for finding in verdict.findings
    )


def test_the_phase_goes_on_in_a_later_run(tmp_path: Path) -> None:
    """Unless a flag or a config says another one."""
    planned(tmp_path, config("spread"))
    continued = values_of_last_run(DataDirectory(tmp_path))
    stated = tmp_path / "stated.yaml"
    stated.write_text("simulation: {phase: aligned}\n")

    assert "spread" == ConfigSource(None, {}, {}, continued).load().simulation.phase
    assert "aligned" == ConfigSource(stated, {}, {}, continued).load().simulation.phase
    flag = {"simulation.phase": SourcedValue("random", "--phase")}
    assert "random" == ConfigSource(None, {}, flag, continued).load().simulation.phase


def test_an_unknown_phase_is_the_users_error() -> None:
    with pytest.raises(UserError) as error:
        config("staggered")

    assert 1 == len(str(error.value).splitlines())
    assert all(word in str(error.value) for word in ("simulation.phase", "staggered", "aligned", "spread", "random"))
