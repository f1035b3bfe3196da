"""Plans: who runs where, on which clock, and what may not be contradicted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config import channels, settings
from fleet.config.config import Config, SourcedValue, load_config
from fleet.config.scenario import scenario_stages
from fleet.datadir.directory import DataDirectory
from fleet.datadir.interventions import Interventions
from fleet.errors import UserError
from fleet.runtime.planner import Plan, Planner, assign_workers
from fleet.runtime.reload import ConfigSource
from fleet.runtime.simulation_clock import iso_to_microseconds
from fleet.runtime.start import values_of_last_run
from worker.clock import elapsed_ns
from worker.schedule import SECOND_US
from worker.spec import SETTINGS_VERSION

START = "2026-01-01T00:00:00Z"
NEW_YEAR = 1_767_225_600 * SECOND_US


def config(**values: object) -> Config:
    """The packaged config, changed: `replicas__count=3` is `replicas.count`."""
    return load_config(None, {}, {key.replace("__", "."): SourcedValue(value, key) for key, value in values.items()})


def planner(data: Path, **values: object) -> Planner:
    return Planner(config(**values), DataDirectory(data), None)


def planned(data: Path, **values: object) -> Plan:
    """A first plan whose record is kept, as that of a fleet that ran."""
    data.mkdir(exist_ok=True)
    plan = planner(data, **values).initial_plan()
    DataDirectory(data).write_manifest(plan.record)
    return plan


def shape(plan: Plan) -> list[tuple[str, list[int]]]:
    return [(worker.store.path.name, [sensor.row for sensor in worker.sensors]) for worker in plan.workers]


def test_each_layout_has_its_databases(tmp_path: Path) -> None:
    """Own: one each. Shared: one for all. Packed: one for each process."""
    three = {"replicas__count": 3, "replicas__prefix": "S"}
    own = planned(tmp_path / "own", **three)
    shared = planned(tmp_path / "shared", **three, replicas__database="shared")
    packed = planned(tmp_path / "packed", **three, replicas__sensors_per_worker=2)

    assert [("S_000001.db", [0]), ("S_000002.db", [1]), ("S_000003.db", [2])] == shape(own)
    assert [[0], [1], [2]] == [rows for _, rows in shape(shared)]
    assert 1 == len({name for name, _ in shape(shared)})
    assert [("pack_0000.db", [0, 1]), ("pack_0001.db", [2])] == shape(packed)
    assert [0, 1, 2] == [member.row for member in packed.members]


def test_a_command_computes_only_the_settings_that_it_changes(tmp_path: Path) -> None:
    """With a scenario they take time for each sensor and step."""
    scenario = tmp_path / "fleet.yaml"
    scenario.write_text("replicas: {count: 2, prefix: S}\nscenario: [{at: 10, anomalies: {probability: 0.5}}]\n")
    first = Planner(load_config(scenario), DataDirectory(tmp_path / "data"), None)
    plan = first.initial_plan()
    before = {sensor.identity.sensor_id: sensor.stages for worker in plan.workers for sensor in worker.sensors}
    later = first.with_interventions(Interventions(probabilities={"S_000002": 0.25}))

    for changed, others in ((first.scaled(plan, 3, elapsed_ns()), before), (later.replanned(plan), ["S_000001"])):
        after = {sensor.identity.sensor_id: sensor.stages for worker in changed.workers for sensor in worker.sensors}
        assert all(1 == len(stages) for stages in after.values())
        assert set(others) == {sensor for sensor, stages in before.items() if after[sensor] is stages}


STEP_CHANGES: dict[str, tuple[str, int]] = {
    "probability": ("anomalies: {{probability: {0:.2f}}}", 0),
    "mean": ("normal_parameters: {{temperature: {{mean: {0:.2f}}}}}", 1),
}
"""A change, and the channels that it changes."""


@pytest.mark.parametrize(("change", "changed"), STEP_CHANGES.values(), ids=STEP_CHANGES)
def test_steps_are_computed_once_for_all_sensors_and_steps_that_share_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, changed: int
) -> None:
    """Steps that change the probability have the channels and the types of anomaly of the step before, those that change
    a channel have all the others; and each step has the settings that its config has alone."""
    calls: Counter[str] = Counter()
    for module, name in ((channels, "build_channel"), (settings, "scaled_anomalies")):
        compute = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, f=compute: (calls.update([name]), f(*a))[1])
    counts = []
    for steps in (1, 51):
        calls.clear()
        text = [f"  - {{at: {10 + n}, {change.format(n / 100 + 0.01)}}}" for n in range(steps)]
        scenario = tmp_path / f"{steps}.yaml"
        head = ["surroundings: none", "replicas: {count: 9, prefix: S}", "simulation: {seed: 7}", "scenario:"]
        scenario.write_text("\n".join([*head, *text]))
        loaded = load_config(scenario, {})
        (tmp_path / str(steps) / "run").mkdir(parents=True)
        plan = Planner(loaded, DataDirectory(tmp_path / str(steps)), None).initial_plan()
        counts.append(dict(calls))

    (few, many) = counts
    assert few | {"build_channel": few["build_channel"] + 50 * changed} == many
    catalogue = load_catalogue()
    for worker in plan.workers:
        (sensor,) = worker.sensors
        staged = scenario_stages(loaded, catalogue.channel_names)
        alone = [settings.settings_for(each.config, catalogue, sensor.identity) for each in staged]
        assert alone == [stage.settings for stage in sensor.stages]
    assert 51 * 9 > len({id(stage.settings) for worker in plan.workers for stage in worker.sensors[0].stages})


def test_places_are_kept() -> None:
    """Those who were there stay where their data is; newcomers follow; a pack that is full is never reopened."""
    assert (("A", "A"), ("B", "B")) == assign_workers((), ["A", "B"], "own", 1)
    first = assign_workers((), ["A", "B", "C"], "packed", 2)
    assert (("A", "pack_0000"), ("B", "pack_0000"), ("C", "pack_0001")) == first

    later = assign_workers(first, ["C", "D", "A"], "packed", 2)

    assert (*first, ("D", "pack_0002")) == later


def test_a_start_is_kept_over_runs(tmp_path: Path) -> None:
    """Simulated time passes at real speed, also between two runs; run numbers grow."""
    first = planned(tmp_path, simulation__start=START, simulation__seed=7)
    second = planned(tmp_path)

    assert NEW_YEAR == first.run.start_us == second.record.start_us
    assert 0 <= second.run.start_us - NEW_YEAR < 60 * SECOND_US
    assert second.run.start_us - NEW_YEAR == pytest.approx(
        (second.run.origin_ns - first.run.origin_ns) / 1000, abs=SECOND_US
    )
    assert second.run.number > first.run.number
    assert (7, first.record.sensors) == (second.record.seed, second.record.sensors)


CONTRADICTIONS: list[tuple[dict[str, object], str]] = [
    ({"simulation__seed": 8}, "has the seed 7, not 8"),
    ({"simulation__start": "2026-01-02T00:00:00Z"}, "began at"),
    ({"replicas__database": "shared"}, "own databases"),
    ({"replicas__sensors_per_worker": 5}, "own databases"),
]


@pytest.mark.parametrize(("values", "message"), CONTRADICTIONS)
def test_contradictions_are_refused(values: dict[str, object], message: str, tmp_path: Path) -> None:
    """In one line with what to do; what says the same again is none."""
    planned(tmp_path, simulation__start=START, simulation__seed=7)

    with pytest.raises(UserError, match=message) as refused:
        planner(tmp_path, **values).initial_plan()

    assert "another --data directory" in str(refused.value)
    planner(tmp_path, simulation__seed=7, simulation__start="2026-01-01T01:00:00+01:00").initial_plan()


def test_scaling_up_joins_the_grid(tmp_path: Path) -> None:
    """Newcomers begin at the next due time of the fleet's grid, the others' specs are the very same."""
    subject = planner(tmp_path, replicas__count=2, simulation__start=START, simulation__readings_per_second=3)
    plan = subject.initial_plan()

    wider = subject.scaled(plan, 4, plan.run.origin_ns + 1_100_000_000)

    assert plan.workers == wider.workers[:2]
    newcomer = wider.workers[3].run
    assert NEW_YEAR + 1_333_333 == newcomer.start_us
    assert plan.run.origin_ns + 1_333_333_000 == newcomer.origin_ns
    assert plan.run == wider.run
    assert sum(member.rate for member in wider.members) == 12


def test_scaling_down_and_up_again(tmp_path: Path) -> None:
    """Who leaves is remembered, and has the same row and database when it comes back."""
    subject = planner(tmp_path, replicas__count=3)
    plan = subject.initial_plan()
    now = plan.run.origin_ns + 10**9

    fewer = subject.scaled(plan, 1, now)
    again = subject.scaled(fewer, 3, now)

    assert plan.members[:1] == fewer.members
    assert plan.members == tuple(replace(member, first_due_us=plan.run.start_us) for member in again.members)
    assert plan.record.sensors == fewer.record.sensors == again.record.sensors


@pytest.mark.parametrize(
    "moment", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01", "2025-12-31T19:00:00-05:00"]
)
def test_times_without_an_offset_are_utc(moment: str) -> None:
    """Microseconds since 1970, exactly."""
    assert NEW_YEAR == iso_to_microseconds(moment)


def test_a_directory_goes_on_by_the_rules_that_it_was_begun_with(tmp_path: Path) -> None:
    """One of version 0.1.0, whose manifest states none, has white noise for ever; a new one the present rules. A kind that
    has attributes of a reading lacks them there, which is said."""
    new = planned(tmp_path / "data", replicas__count=2)
    manifest = tmp_path / "data" / "fleet.json"
    values = json.loads(manifest.read_text())
    assert SETTINGS_VERSION == values.pop("settings_version")
    manifest.write_text(json.dumps(values))
    old = planner(tmp_path / "data", replicas__count=2).initial_plan()
    mixed = planner(tmp_path / "data", replicas__count=4, sensor__type="pipeline").initial_plan()

    assert () == old.warnings
    (warning,) = (each for each in mixed.warnings if "0.1.0" in each)
    assert warning == (
        f"{tmp_path / 'data'}: was begun by version 0.1.0, whose rules it keeps: pipeline sensors have no status, "
        "quality_score, alert_level; take another --data directory for them"
    )
    assert {SETTINGS_VERSION} == {each.settings.version for worker in new.workers for each in worker.sensors}
    assert {1} == {each.settings.version for worker in old.workers for each in worker.sensors}
    assert 1 == old.record.settings_version
    assert not any(each.signals for worker in old.workers for one in worker.sensors for each in one.settings.channels)


def test_a_later_start_finds_the_kinds(tmp_path: Path) -> None:
    """A mixture, and the files of its kinds, unless the later start names kinds of its own."""
    file, data = tmp_path / "air.yaml", tmp_path / "data"
    file.write_text("channels: {co2: {unit: ppm, mean: 600, std_dev: 100, min: 380, max: 5000}}")
    planned(data, replicas__count=2, replicas__kinds={"pipeline": 1, str(file): 2})
    last = values_of_last_run(DataDirectory(data))

    again = ConfigSource(None, {}, {}, last).load()
    other = ConfigSource(None, {}, {"replicas.kinds": {"bme280": 1}}, last).load()
    typed = ConfigSource(None, {"SENSOR_TYPE": "bme280"}, {}, last).load()

    assert ({"pipeline": 1, "air": 2}, (str(file),)) == (again.replicas.kinds, again.kinds)
    assert ({"bme280": 1}, (str(file),)) == (other.replicas.kinds, other.kinds)
    assert ("bme280",) == typed.sensor_types
    file.unlink()
    assert "kinds" not in values_of_last_run(DataDirectory(data))
