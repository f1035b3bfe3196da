"""Scenarios: what steps say, what they leave as it was, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, load_config, to_yaml
from fleet.config.scenario import scenario_stages
from fleet.config.settings import settings_for
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.resources import resource_path
from fleet.runtime.planner import Planner
from tests.worker.samples import IDENTITY
from worker.schedule import SECOND_US
from worker.spec import CHANNEL_NAMES, Identity, Settings

WORSENING = """
anomalies: {probability: 0.01}
scenario:
  - at: 90m
    anomalies: {probability: 0.05, types: {spike: {duration_seconds: 3}, noise: {factor: 0.3}}}
  - {at: 7200, normal_parameters: {temperature: {mean: 30}}, daily_pattern: false}
  - {at: 1d, simulation: {readings_per_second: 0.5}, anomalies: {enabled: false}}
"""


def loaded(folder: Path, text: str) -> Config:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return load_config(path)


def staged(config: Config, identity: Identity = IDENTITY) -> list[tuple[float, Settings]]:
    return [
        (after, settings_for(stage, load_catalogue(), identity))
        for after, stage in scenario_stages(config, CHANNEL_NAMES)
    ]


def test_each_step_has_what_the_ones_before_it_changed(tmp_path: Path) -> None:
    """In any spelling of a config; a duration in other words takes the place of the one before."""
    config = loaded(tmp_path, WORSENING)
    (first, worse), (second, warm), (third, slow) = staged(config)

    assert [5400, 7200, 86_400] == [first, second, third]
    kinds = {spec.kind: spec for spec in worse.anomalies}
    assert (3.0, "seconds") == (kinds["spike"].duration, kinds["spike"].unit)
    assert 0.3 == dict(kinds["noise"].parameters)["factor"]
    assert worse.anomalies == warm.anomalies
    assert [22.0, 30.0, 30.0] == [actual.channels[0].mean for actual in (worse, warm, slow)]
    assert [True, False, False] == [any(c.daily_amplitude for c in actual.channels) for actual in (worse, warm, slow)]
    assert ((), "0.5", "1") == (slow.anomalies, slow.rate, warm.rate)
    assert config == loaded(tmp_path, to_yaml(config))


def test_channels_that_are_not_listed_are_those_of_each_sensor(tmp_path: Path) -> None:
    """A step changes the mean of one channel; the rest is the profile's, also for another type of sensor."""
    config = loaded(tmp_path, "scenario: [{at: 1h, normal_parameters: {temperature: {mean: 45, max: 90}}}]")
    other = Identity("X", sensor_type="temperature_vibration")
    before, ((_, after),) = settings_for(config, load_catalogue(), other), staged(config, other)

    assert [channel.name for channel in before.channels] == [channel.name for channel in after.channels]
    assert before.channels[1:] == after.channels[1:]
    assert (45.0, 90.0, before.channels[0].std_dev) == (
        after.channels[0].mean,
        after.channels[0].maximum,
        after.channels[0].std_dev,
    )


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        (
            "[{at: 1h, anomalies: {probability: 2}}]",
            "1:46: scenario[0].anomalies.probability: 2 is not between 0 and 1",
        ),
        ("[{at: 1x}]", "1:17: scenario[0].at: 1x is not a time such as 30s, 5m, 1h30m or 2d"),
        ("[{at: 0}]", "1:17: scenario[0].at: 0 is not a time such as 30s, 5m, 1h30m or 2d"),
        ("[{at: 2h}, {at: 1h}]", "1:27: scenario[1].at: 3600 seconds are not after the 7200 of the step before"),
        ("[{anomalies: {}}]", "1:12: scenario[0].at: is missing"),
        ("[{at: 1h, anomalys: {}}]", "1:21: scenario[0].anomalys: unknown key; did you mean 'anomalies'?"),
        (
            "[{at: 1h, normal_parameters: {temperature: {min: 40}}}]",
            "1:41: scenario[0].normal_parameters.temperature.mean: 22 is not between min 40 and max 50",
        ),
        (
            "[{at: 1h, normal_parameters: {smell: {min: 40}}}]",
            (
                "1:41: scenario[0].normal_parameters.smell: unknown channel; this config has "
                "temperature, humidity, pressure, vibration, voltage"
            ),
        ),
        ("3", "1:11: scenario: 3 is not a list"),
    ],
)
def test_what_is_wrong_with_a_step_has_its_place(tmp_path: Path, steps: str, complaint: str) -> None:
    with pytest.raises(UserError) as raised:
        loaded(tmp_path, f"scenario: {steps}")

    assert f"{tmp_path}/fleet.yaml:{complaint}" == str(raised.value)


@pytest.mark.claim("001.advanced-testing.1", "001.simulator.4")
def test_the_number_of_steps_is_limited(tmp_path: Path) -> None:
    """Each costs time at the start and memory for as long as the fleet runs."""
    steps = [f"{{at: {second}}}" for second in range(1, 10_002)]
    assert 10_000 == len(loaded(tmp_path, f"scenario: [{', '.join(steps[1:])}]").scenario)
    with pytest.raises(UserError) as refused:
        loaded(tmp_path, f"scenario: [{', '.join(steps)}]")

    message = "1:11: scenario: a list with 10001 entries; at most 10000 are allowed"
    assert f"{tmp_path / 'fleet.yaml'}:{message}" == str(refused.value)


def test_the_example_of_decay(tmp_path: Path) -> None:
    """1 % at first, 5 % after an hour, 10 % after two, 25 % after three; each sensor has the steps from the start."""
    config = load_config(resource_path("sensor-decay.yaml"))
    assert [(1, 0.05), (2, 0.10), (3, 0.25)] == [
        (after / 3600, stage.anomalies.probability) for after, stage in scenario_stages(config, CHANNEL_NAMES)
    ]
    tmp_path.mkdir(exist_ok=True)
    plan = Planner(config, DataDirectory(tmp_path), None).initial_plan()

    for worker in plan.workers:
        (sensor,) = worker.sensors
        begun = [(stage.at_us - plan.record.start_us) / 3600 / SECOND_US for stage in sensor.stages]
        shares = [
            sum(spec.share for spec in actual.anomalies) for actual in (sensor.settings, sensor.stages[-1].settings)
        ]
        assert [1, 2, 3] == begun
        assert 25 * shares[0] == pytest.approx(shares[1])


def test_a_step_enables_a_type_that_is_off_by_default(tmp_path: Path) -> None:
    """By its weight, as a config does; a type that the config has switched off stays so."""
    types = "{drift: {weight: 0.5}, spike: {weight: 0.5}}"
    text = f"anomalies: {{types: {{spike: {{enabled: false}}}}}}\nscenario: [{{at: 1h, anomalies: {{types: {types}}}}}]"
    ((_, later),) = staged(loaded(tmp_path, text))

    assert ["trend", "pattern", "missing_data", "noise", "drift"] == [spec.kind for spec in later.anomalies]
