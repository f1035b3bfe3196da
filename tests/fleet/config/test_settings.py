"""The settings of a sensor are those of the config with the effects of its hardware, exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import product
from pathlib import Path

import pytest

from fleet.catalogue.catalogue import Catalogue, load_catalogue
from fleet.config.channels import decimals_for
from fleet.config.config import Config, load_config
from fleet.config.settings import fleet_settings, settings_for
from worker.readings.anomalies import build_anomaly
from worker.spec import IDEAL_INSTRUMENT, AnomalySpec, Channel, Identity, Instrument, Settings, SignalSpec

CATALOGUE = load_catalogue()
HARDWARE = [
    Identity("A", sensor_type=kind.name, manufacturer=maker, model=model, firmware_version=version)
    for kind in map(CATALOGUE.sensor_type, ("environmental", "temperature_vibration"))
    for maker, models in kind.models.items()
    for model, version in product(models, kind.firmware)
]
VIBE = Identity("A", sensor_type="temperature_vibration")


def config(folder: Path, text: str) -> Config:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return load_config(path)


def settings(folder: Path, text: str, identity: Identity, catalogue: Catalogue = CATALOGUE) -> Settings:
    return settings_for(config(folder, text), catalogue, identity)


def kinds(actual: Settings) -> dict[str, AnomalySpec]:
    return {spec.kind: spec for spec in actual.anomalies}


def channels(actual: Settings) -> dict[str, Channel]:
    return {channel.name: channel for channel in actual.channels}


@pytest.mark.parametrize(("text", "jitter"), [("0.25", 0.25), ("50%", 0.5), ("0", 0.0)])
def test_jitter_is_a_part_of_the_interval(text: str, jitter: float, tmp_path: Path) -> None:
    assert jitter == settings(tmp_path, f"simulation: {{jitter: {text}}}", VIBE).jitter
    assert 0 == settings(tmp_path, "{}", VIBE).jitter


@pytest.mark.claim("001.key-features.3")
def test_the_share_is_the_base_times_the_multipliers_for_all_hardware(tmp_path: Path) -> None:
    """Every combination of the catalogue: the total is exact to the rounding of the parts, and 0.9 at most."""
    tables = {
        "environmental": (
            {"SensorTech": "1.2", "DataLogger": "1.1", "DataSense": "0.8", "MonitorPro": "0.9"},
            {"1": "0.7", "2": "0.85", "3": "1.5"},
        ),
        "temperature_vibration": (
            {"SensorTech": "1", "DataSense": "0.8", "VibrationPlus": "1.2"},
            {"1.3": "1.5", "1.4": "0.7"},
        ),
    }
    for probability in ("0.05", "0.2", "0.7"):
        loaded = config(tmp_path, f"anomalies: {{probability: {probability}}}")
        for identity in HARDWARE:
            makers, versions = tables[identity.sensor_type or ""]
            version = identity.firmware_version or ""
            firmware = versions.get(version) or versions[version[0]]
            expected = Fraction(probability) * Fraction(makers[identity.manufacturer or ""]) * Fraction(firmware)

            shares = [spec.share for spec in settings_for(loaded, CATALOGUE, identity).anomalies]

            assert math.isclose(min(expected, Fraction(9, 10)), math.fsum(shares), rel_tol=4e-16)
    assert len(HARDWARE) == 4 * 4 * 9 + 3 * 3 * 2


def test_one_kind_alone_has_the_exact_share(tmp_path: Path) -> None:
    """5 % under firmware 1.3 is 7.5 %, to the last bit."""
    others = ", ".join(f"{name}: {{enabled: false}}" for name in ("trend", "pattern", "missing_data", "noise"))
    text = f"anomalies: {{types: {{{others}}}}}"

    actual = settings(tmp_path, text, replace(VIBE, firmware_version="1.3"))

    assert [("spike", 0.075)] == [(spec.kind, spec.share) for spec in actual.anomalies]


def test_a_model_shifts_the_weights_and_not_the_total(tmp_path: Path) -> None:
    """TempVibe-1000: missing data twice as likely, among weights that are normalised again."""
    actual = kinds(settings(tmp_path, "anomalies: {probability: 0.1}", replace(VIBE, model="TempVibe-1000")))

    assert actual["missing_data"].share == float(Fraction("0.1") * Fraction("0.2") / Fraction("1.1"))
    assert actual["spike"].share == float(Fraction("0.1") * Fraction("0.4") / Fraction("1.1"))


def test_weights_need_not_add_up_to_one(tmp_path: Path) -> None:
    """They are relative; a weight of 0 is no anomaly of that type."""
    actual = kinds(
        settings(tmp_path, "anomalies: {probability: 0.1, types: {spike: {weight: 3.4}, noise: {weight: 0}}}", VIBE)
    )

    assert actual.keys() == {"spike", "trend", "pattern", "missing_data"}
    assert actual["spike"].share == float(Fraction("0.1") * Fraction("3.4") / Fraction("3.8"))


def test_anomalies_can_be_off(tmp_path: Path) -> None:
    """By the switch or by the probability; a type that is disabled leaves the whole share to the others."""
    assert settings(tmp_path, "anomalies: {enabled: false}", VIBE).anomalies == ()
    assert settings(tmp_path, "anomalies: {probability: 0}", VIBE).anomalies == ()
    actual = settings(tmp_path, "anomalies: {types: {spike: {enabled: false}}}", VIBE)
    assert math.isclose(0.05, math.fsum(spec.share for spec in actual.anomalies), rel_tol=4e-16)


@pytest.mark.claim("001.configuration-options.11")
def test_mode_onset_is_passed_on(tmp_path: Path) -> None:
    """With the same numbers, which then are probabilities of a beginning."""
    share = settings(tmp_path, "", VIBE)
    onset = settings(tmp_path, "anomalies: {mode: onset}", VIBE)

    assert (share.mode, onset.mode) == ("share", "onset")
    assert share.anomalies == onset.anomalies


@pytest.mark.claim("000.configuration-file.9")
def test_durations_are_seconds_or_readings(tmp_path: Path) -> None:
    """As the config says, else 1 reading, 300 s, 600 s, 30 s and 180 s."""
    actual = kinds(settings(tmp_path, "anomalies: {types: {trend: {duration_readings: 20}}}", VIBE))

    assert {
        "spike": (1, "readings"),
        "trend": (20, "readings"),
        "pattern": (600, "seconds"),
        "missing_data": (30, "seconds"),
        "noise": (180, "seconds"),
    } == {name: (spec.duration, spec.unit) for name, spec in actual.items()}


def test_firmware_changes_parameters_that_the_config_does_not_state(tmp_path: Path) -> None:
    """1.3: spikes of 1.8 to 3.5 and a noise factor of 0.15; what the config states holds."""
    old = replace(VIBE, firmware_version="1.3")
    plain, stated = (
        kinds(settings(tmp_path, text, old))
        for text in ("", "anomalies: {types: {spike: {multiplier_max: 9}, noise: {noise_factor: 0.3}}}")
    )

    assert dict(plain["spike"].parameters) == {"multiplier_min": 1.8, "multiplier_max": 3.5}
    assert dict(plain["noise"].parameters) == {"factor": 0.15, "vibration_gain": 1.0}
    assert dict(stated["spike"].parameters) == {"multiplier_min": 1.8, "multiplier_max": 9.0}
    assert dict(stated["noise"].parameters) == {"factor": 0.3, "vibration_gain": 1.0}


def test_defaults_of_the_parameters(tmp_path: Path) -> None:
    """Firmware 1.4 and an amplitude in standard deviations, which replaces the one in percent."""
    actual = kinds(settings(tmp_path, "", replace(VIBE, firmware_version="1.4")))
    pattern = kinds(settings(tmp_path, "anomalies: {types: {pattern: {amplitude: 5.0}}}", VIBE))["pattern"]

    assert {
        "spike": {"multiplier_min": 1.5, "multiplier_max": 3.0},
        "trend": {"max_change": 0.5},
        "pattern": {"frequency": 0.1, "amplitude_percent": 20.0},
        "missing_data": {},
        "noise": {"factor": 0.1, "vibration_gain": 1.0},
    } == {name: dict(spec.parameters) for name, spec in actual.items()}
    assert dict(pattern.parameters) == {"frequency": 0.1, "amplitude": 5.0}


def test_the_later_amplitude_holds_in_either_unit(tmp_path: Path) -> None:
    """Default, catalogue, config: in this order, whichever of the two each of them states."""
    (tmp_path / "more.yaml").write_text(
        "temperature_vibration: {firmware: {9: {parameters: {pattern: {amplitude: 4}}}}}",
    )
    catalogue, identity = load_catalogue(tmp_path / "more.yaml"), replace(VIBE, firmware_version="9")
    plain, stated = (
        kinds(settings(tmp_path, text, identity, catalogue))["pattern"]
        for text in ("", "anomalies: {types: {pattern: {amplitude_percent: 10}}}")
    )

    assert dict(plain.parameters) == {"frequency": 0.1, "amplitude": 4.0}
    assert dict(stated.parameters) == {"frequency": 0.1, "amplitude_percent": 10.0}


def test_severity_enlarges_what_exceeds_the_healthy_value(tmp_path: Path) -> None:
    """DataSense: a quarter more."""
    actual = kinds(settings(tmp_path, "", replace(VIBE, manufacturer="DataSense")))

    assert dict(actual["spike"].parameters) == {"multiplier_min": 1.625, "multiplier_max": 3.5}
    assert dict(actual["trend"].parameters) == {"max_change": 0.625}
    assert dict(actual["pattern"].parameters) == {"frequency": 0.1, "amplitude_percent": 25.0}
    assert dict(actual["noise"].parameters) == {"factor": 0.125, "vibration_gain": 1.0}


def test_one_channel_kinds_prefer_what_the_firmware_prefers(tmp_path: Path) -> None:
    """Spikes and trends of firmware 1.3 strike the temperature in 60 % of cases; the others strike more channels."""
    actual = kinds(settings(tmp_path, "", replace(VIBE, firmware_version="1.3")))

    assert actual["spike"].channel_odds == actual["trend"].channel_odds == (("temperature", 3.0),)
    assert actual["noise"].channel_odds == actual["pattern"].channel_odds == actual["missing_data"].channel_odds == ()


@pytest.mark.parametrize("identity", HARDWARE[::7], ids=str)
def test_the_worker_knows_every_parameter(identity: Identity, tmp_path: Path) -> None:
    """Each type of anomaly in the settings can be built from its stored parameters."""
    actual = settings(tmp_path, "", identity)

    assert [spec.kind for spec in actual.anomalies] == [build_anomaly(spec).name for spec in actual.anomalies]


@pytest.mark.claim("000.overview-quick.2")
def test_channels_are_those_of_the_profile(tmp_path: Path) -> None:
    """With their limits and their daily swing, in units."""
    actual = settings(tmp_path, "", Identity("A"))

    assert ["temperature", "humidity", "pressure", "vibration", "voltage"] == list(channels(actual))
    assert channels(actual)["temperature"] == Channel(
        name="temperature",
        unit="°C",
        mean=22.0,
        std_dev=2.0,
        minimum=-10.0,
        maximum=50.0,
        lowest=-273.15,
        highest=2000.0,
        decimals=2,
        daily_amplitude=2.0,
        signals=(
            SignalSpec("weather", (("share", 0.86), ("quantity", "temperature"), ("correlation", 345600.0))),
            SignalSpec("slow", (("share", 0.1395), ("correlation", 43200.0))),
        ),
        instrument=Instrument(offset=0.1, resolution=0.01, response=20.0, lowest=-40.0, highest=125.0),
    )
    assert channels(actual)["humidity"].daily_amplitude == -10.0
    assert channels(actual)["pressure"].daily_amplitude == 0.0
    assert [2, 2, 1, 4, 3] == [channel.decimals for channel in actual.channels]


def test_a_config_changes_what_it_lists(tmp_path: Path) -> None:
    """Unit, decimals, limits and swing included; the channels keep the order of the profile."""
    actual = channels(
        settings(
            tmp_path,
            "normal_parameters:\n"
            "  voltage: {mean: 12, std_dev: 0.0001, min: 11, max: 13}\n"
            "  temperature: {mean: 70, min: 40, max: 90, unit: °F, lowest: -459, highest: 900, decimals: 0,"
            " daily_amplitude: 3}\n",
            Identity("A"),
        )
    )

    assert list(actual) == ["temperature", "voltage"]
    assert replace(actual["temperature"], signals=(), instrument=IDEAL_INSTRUMENT) == Channel(
        "temperature", "°F", 70, 2, 40, 90, -459, 900, 0, 6
    )
    assert actual["voltage"].decimals == 6


def test_the_daily_pattern_can_be_off(tmp_path: Path) -> None:
    """For every channel."""
    actual = settings(tmp_path, "daily_pattern: false", Identity("A"))

    assert {channel.daily_amplitude for channel in actual.channels} == {0.0}


def test_an_identity_of_another_kind_has_its_own_channels(tmp_path: Path) -> None:
    """Of those that a config lists, the ones it can measure; all of its own if that is none."""
    listed = "normal_parameters: {humidity: {mean: 50}, voltage: {mean: 23}}"

    assert list(channels(settings(tmp_path, "", VIBE))) == ["temperature", "vibration", "voltage"]
    assert list(channels(settings(tmp_path, listed, VIBE))) == ["voltage"]
    assert list(channels(settings(tmp_path, "normal_parameters: {humidity: }", VIBE))) == list(
        channels(settings(tmp_path, "", VIBE))
    )
    assert list(channels(settings(tmp_path, listed, Identity("A", sensor_type="sonar")))) == ["humidity", "voltage"]


@pytest.mark.parametrize(
    ("std_dev", "decimals"),
    [(0.0, 0), (500.0, 0), (100.0, 0), (99.9, 1), (2.0, 2), (1.0, 2), (0.5, 3), (0.1, 3), (0.001, 5), (1e-12, 9)],
)
def test_values_are_written_finely_enough(std_dev: float, decimals: int) -> None:
    """To a hundredth of the standard deviation or finer, by exact arithmetic, and to nine places at most."""
    assert decimals == decimals_for(std_dev)
    if 0 < decimals < 9:
        assert Decimal(10) ** -decimals <= Decimal(repr(std_dev)) / 100 < Decimal(10) ** (1 - decimals)


@pytest.mark.parametrize(
    ("written", "rate"), [("10", "10"), ("1.0", "1"), ("0.5", "0.5"), ("1e-6", "0.000001"), ("1e5", "100000")]
)
def test_the_rate_is_the_shortest_exact_text(written: str, rate: str, tmp_path: Path) -> None:
    """So that settings that mean the same are the same."""
    assert rate == settings(tmp_path, f"simulation: {{readings_per_second: {written}}}", VIBE).rate


def test_sensors_of_like_hardware_share_their_settings(tmp_path: Path) -> None:
    """One object each, in the order of the sensors: thousands of them cost what their kinds cost."""
    loaded = config(tmp_path, "")
    identities = [replace(identity, sensor_id=f"S{n}") for n in range(3) for identity in HARDWARE]

    actual = fleet_settings(loaded, CATALOGUE, identities)

    assert [settings_for(loaded, CATALOGUE, identity) for identity in identities] == actual
    assert len(set(actual)) == len({id(each) for each in actual})
