"""Kinds of sensor in a config: their own files, mixtures, and what they give the settings of a sensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.commands.options import kind_overrides
from fleet.config.config import Config, config_catalogue, load_config, to_yaml
from fleet.config.scenario import scenario_stages
from fleet.config.settings import settings_for
from fleet.errors import UserError
from tests.worker.samples import NEW_YEAR
from worker.readings.generator import HEALTHY_INDEX, SignalGenerator
from worker.spec import IDEAL_INSTRUMENT, SETTINGS_VERSION, Channel, Identity, Instrument, Settings, SignalSpec

AIR = """
channels:
  co2:
    {unit: ppm, mean: 600, std_dev: 100, min: 380, max: 5000,
     signals: {slow: {share: 0.9}, drift: {per_year: 10}}, instrument: {offset: 30, gain: 0.1, response: 1m}}
  temperature: {unit: °C, mean: 20, std_dev: 1, min: 0, max: 40}
reading_attributes:
  air: {type: text, rules: [{channel: co2, at_least: 1000, value: bad}, {value: good}]}
anomalies: {probability: 0.2, types: {spike: {weight: 5, duration_seconds: 60}}}
"""
A = Identity("A")


def load(folder: Path, text: str, **overrides: object) -> Config:
    (folder / "more").mkdir(exist_ok=True)
    (folder / "more" / "air.yaml").write_text(AIR)
    (folder / "air.yaml").write_text(AIR)
    (folder / "fleet.yaml").write_text(text)
    return load_config(folder / "fleet.yaml", {}, overrides)


def settings(config: Config, identity: Identity = A, version: int = SETTINGS_VERSION) -> Settings:
    return settings_for(config, config_catalogue(config), identity, version)


def channels(config: Config, identity: Identity = A) -> dict[str, Channel]:
    return {channel.name: channel for channel in settings(config, identity).channels}


@pytest.mark.parametrize(
    "text",
    [
        "sensor: {type: air.yaml}",
        "replicas: {kinds: {air.yaml: 1}}",
        "kinds: [air.yaml]\nsensor: {type: air}",
        "kinds: [more]\nsensor: {type: air}",
    ],
)
def test_a_kind_is_named_by_its_file(text: str, tmp_path: Path) -> None:
    """Beside the config, wherever a kind is named; the printed config names it again."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    config = load(folder, text)
    printed = tmp_path / "printed.yaml"
    printed.write_text(to_yaml(config))

    assert "air" == config.sensor.type
    assert ["co2", "temperature"] == list(channels(config))
    assert config == load_config(printed)


def test_a_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    """With its place, and the folders that were searched."""
    for text, place in (
        ("sensor: {type: sea.yaml}", "1:16: sensor.type: sea.yaml does not exist (looked for"),
        ("replicas: {kinds: {sea.yaml: 1}}", "1:20: replicas.kinds.sea.yaml: 'sea.yaml' does not exist"),
        ("kinds: [sea.yaml]", "1:9: kinds[0]: sea.yaml does not exist"),
    ):
        with pytest.raises(UserError) as raised:
            load(tmp_path, text)
        assert place in str(raised.value)


def test_flags_name_and_mix_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file relative to the current folder; weights; they override a mixture of the config."""
    monkeypatch.chdir(tmp_path)
    config = load(tmp_path, "replicas: {kinds: {wind_turbine: 1}}", **kind_overrides(["pipeline", "air.yaml=3"]))

    assert {"pipeline": 1, "air": 3} == config.replicas.kinds
    assert "pipeline" == config.sensor.type
    with pytest.raises(UserError, match="--kind: pipeline is there twice"):
        kind_overrides(["pipeline", "pipeline"])
    with pytest.raises(UserError, match=r"--kind: 'pipelin' is not one of .* did you mean 'pipeline'\?.*\)$"):
        load(tmp_path, "", **kind_overrides(["pipelin"]))
    with pytest.raises(UserError, match=r"--kind: .*many is not a number between 0 and 1000000"):
        load(tmp_path, "", **kind_overrides(["pipeline=many"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{pipelin: 1}",
            "1:20: replicas.kinds.pipelin: 'pipelin' is not one of the types of sensor; did you mean 'pipeline'?",
        ),
        ("{pipeline: -1}", "1:30: replicas.kinds.pipeline: -1 is not between 0 and 1000000"),
        ("{pipeline: 0}", "1:19: replicas.kinds: all weights are 0; give a kind another weight, such as 1"),
        (
            "{}",
            "1:19: replicas.kinds: is empty; name a kind with its weight, such as pipeline: 1, or leave the key out",
        ),
        ("{pipeline: .nan}", "1:30: replicas.kinds.pipeline: .nan is not a number between 0 and 1000000"),
        ("{air: 1, air.yaml: 2}", "1:28: replicas.kinds.air.yaml: air is there twice"),
        ("[pipeline]", "1:19: replicas.kinds: a list is not a section of keys and values"),
    ],
)
def test_a_wrong_mixture_is_reported(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        load(tmp_path, f"replicas: {{kinds: {text}}}")

    assert message in str(raised.value)
    assert "more)" not in str(raised.value)


def test_the_anomalies_of_a_kind_apply_where_the_config_states_none(tmp_path: Path) -> None:
    """Those of a mixture to each kind by itself."""
    one = load(tmp_path, "sensor: {type: air.yaml}\nanomalies: {types: {spike: {weight: 1}}}")
    mixed = load(
        tmp_path, "replicas: {kinds: {environmental: 1, air.yaml: 1}}\nanomalies: {types: {trend: {enabled: no}}}"
    )
    air, environmental = (settings(mixed, replace(A, sensor_type=name)) for name in ("air", "environmental"))

    assert (0.2, 1, 60) == (
        one.anomalies.probability,
        one.anomalies.types.spike.weight,
        one.anomalies.types.spike.duration_seconds,
    )
    assert pytest.approx(0.2) == sum(spec.share for spec in air.anomalies)
    assert pytest.approx(0.05) == sum(spec.share for spec in environmental.anomalies)
    assert ["spike", "pattern", "missing_data", "noise"] == [spec.kind for spec in air.anomalies]


def test_the_packaged_config_leaves_the_anomalies_to_the_kind() -> None:
    """`fleet up --kind pipeline` has the 2 % of the pipeline, unless a user says otherwise."""
    usual, pipeline, stated = (
        load_config(None, {}, overrides)
        for overrides in (
            {},
            kind_overrides(["pipeline"]),
            {**kind_overrides(["pipeline"]), "anomalies.probability": 0.1},
        )
    )

    assert [0.05, 0.02, 0.1] == [each.anomalies.probability for each in (usual, pipeline, stated)]


def test_the_anomalies_of_a_pipeline_leave_the_range(tmp_path: Path) -> None:
    """2 % of readings, and no others; the attributes follow."""
    flow = Identity("A", sensor_type="pipeline", attributes=(("type", "flow_rate"),))
    block = SignalGenerator(7, flow, settings(load(tmp_path, "sensor: {type: pipeline}"), flow), 0, NEW_YEAR).block(
        0, 10_000
    )
    outside = (block.values[0] < 0) | (block.values[0] > 50_000)

    assert list(outside) == list(block.kinds != HEALTHY_INDEX)
    assert 150 < outside.sum() < 250
    assert block.values[0].max() <= 60_000
    assert [bool(each) for each in outside] == [value != "normal" for value in block.attributes[0]]


def test_a_step_of_a_scenario_changes_any_channel(tmp_path: Path) -> None:
    """Of the kind that a sensor has; the anomalies of the kind stay."""
    config = load(
        tmp_path,
        "replicas: {kinds: {environmental: 1, air.yaml: 1}}\n"
        "scenario: [{at: 1h, normal_parameters: {co2: {mean: 900}}, anomalies: {mode: onset}}]",
    )
    ((_, later),) = scenario_stages(config, config_catalogue(config).channel_names)
    air = replace(A, sensor_type="air")

    assert {"co2": 900, "temperature": 20} == {name: each.mean for name, each in channels(later, air).items()}
    assert 5 == len(settings(later).channels)
    assert pytest.approx(0.2) == sum(spec.share for spec in settings(later, air).anomalies)
    with pytest.raises(UserError, match="unknown channel; this config has temperature"):
        load(tmp_path, "scenario: [{at: 1h, normal_parameters: {co2: {mean: 9}}}]")


def test_a_config_overrides_any_channel_of_the_kind(tmp_path: Path) -> None:
    """The shares of the signals stay, what is in the unit of the channel changes with the deviation."""
    config = load(tmp_path, "sensor: {type: air.yaml}\nnormal_parameters: {co2: {std_dev: 50}}")
    co2 = channels(config)["co2"]

    assert (600, 50) == (co2.mean, co2.std_dev)
    assert (
        SignalSpec("slow", (("share", 0.9), ("correlation", 21600.0))),
        SignalSpec("drift", (("per_year", 5.0),)),
    ) == co2.signals
    assert Instrument(offset=15, gain=0.1, response=60) == co2.instrument
    with pytest.raises(UserError, match="unknown channel; air sensors have co2, temperature; did you mean 'co2'"):
        load(tmp_path, "sensor: {type: air.yaml}\nnormal_parameters: {co: }")


def test_the_correlation_replaces_the_signals(tmp_path: Path) -> None:
    """0 is white noise without an instrument, a time makes all movement slow, a deviation of 0 leaves none."""
    text = "sensor: {{type: air.yaml}}\nnormal_parameters: {{co2: {{{}}}}}"
    white, slow, constant = (
        channels(load(tmp_path, text.format(value)))["co2"]
        for value in ("correlation: 0", "correlation: 90m", "std_dev: 0")
    )

    with pytest.raises(UserError, match="correlation: 10s is neither 0 nor at least 120 seconds"):
        load(tmp_path, text.format("correlation: 10s"))
    assert ((), IDEAL_INSTRUMENT) == (white.signals, white.instrument)
    assert (SignalSpec("slow", (("share", 1.0), ("correlation", 5400.0))),) == slow.signals
    assert ((), IDEAL_INSTRUMENT) == (constant.signals, constant.instrument)


def test_a_channel_without_the_one_that_it_follows_moves_slowly(tmp_path: Path) -> None:
    """With the same part of the variance, together with the slow movement that it has."""
    config = load(tmp_path, "normal_parameters: {humidity: }")
    ((name, share),) = [(spec.name, dict(spec.parameters)["share"]) for spec in channels(config)["humidity"].signals]

    assert "slow" == name
    assert share == pytest.approx(0.999)


def test_a_sensor_has_the_channels_of_its_variant(tmp_path: Path) -> None:
    config = load(tmp_path, "sensor: {type: pipeline}")
    flow = Identity("A", sensor_type="pipeline", attributes=(("type", "flow_rate"),))

    assert ["flow_rate"] == list(channels(config, flow))
    assert ["pressure"] == list(channels(config))
    assert ["status", "quality_score", "alert_level"] == [each.name for each in settings(config, flow).attributes]


def test_a_rule_about_an_absent_channel_is_left_out(tmp_path: Path) -> None:
    config = load(tmp_path, "sensor: {type: air.yaml}\nnormal_parameters: {temperature: }")

    assert [1] == [len(each.rules) for each in settings(config).attributes]


def test_the_rules_of_version_1_know_nothing_new(tmp_path: Path) -> None:
    """No signals, no instrument, no attributes: what 0.1.0 computed."""
    old = settings(load(tmp_path, "sensor: {type: air.yaml}"), version=1)

    assert 1 == old.version
    assert () == old.attributes
    assert {((), IDEAL_INSTRUMENT)} == {(channel.signals, channel.instrument) for channel in old.channels}
