"""The catalogue is data: what it says holds, and more of it needs no code."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from fleet.catalogue import entries
from fleet.catalogue.catalogue import load_catalogue
from fleet.errors import UserError
from worker.scoreboard import MAX_CHANNELS

CHANNELS = ("temperature", "vibration", "voltage")


@pytest.mark.claim("001.simulator.1", "001.simulator.2")
def test_the_environmental_kind_is_that_of_its_documents() -> None:
    """Manufacturers, models, firmware and multipliers."""
    kind = load_catalogue().sensor_type("environmental")
    multipliers = {name: str(maker.multiplier) for name, maker in kind.entry.manufacturers.items()}

    assert {"SensorTech": "1.2", "DataLogger": "1.1", "DataSense": "0.8", "MonitorPro": "0.9"} == multipliers
    assert kind.models["DataLogger"] == ("DataLogger-X1", "AirData-Plus", "ClimateTracker", "IndustrialMonitor-5000")
    assert {"1.0": "0.7", "2.3.5": "0.85", "3.0.0-beta": "1.5"}.items() <= {
        version: str(effect.multiplier) for version, effect in kind.entry.firmware.items()
    }.items()
    assert list(kind.channels) == ["temperature", "humidity", "pressure", "vibration", "voltage"]


@pytest.mark.claim("002.anomalies-simulated.3", "002.introduction-features.1")
def test_the_temperature_and_vibration_kind_is_that_of_its_documents() -> None:
    """What firmware 1.3, a DataSense and a VibrationPlus do."""
    kind = load_catalogue().sensor_type("temperature_vibration")
    old = kind.effects("SensorTech", "TempVibe-1000", "1.3")

    assert kind.firmware == ("1.3", "1.4")
    assert list(kind.channels) == list(CHANNELS)
    assert old.anomaly_share(0.05) == Fraction("0.075")
    assert old.parameters("spike") == {"multiplier_min": 1.8, "multiplier_max": 3.5}
    assert old.parameters("noise") == {"noise_factor": 0.15}
    assert old.weight("missing_data", 0.1) == Fraction("0.2")
    assert kind.effects("SensorTech", None, "1.4").anomaly_share(0.05) == Fraction("0.035")
    assert kind.effects("DataSense", None, None).severity == 1.25
    assert kind.effects("VibrationPlus", None, None).parameters("noise") == {"vibration_gain": 1.5}


def test_the_later_hardware_sets_the_amplitude_in_either_unit(tmp_path: Path) -> None:
    """Firmware overrides the manufacturer, though the two state different parameters."""
    path = tmp_path / "more.yaml"
    path.write_text(
        "environmental:\n"
        "  manufacturers: {Acme: {models: [A1], parameters: {pattern: {amplitude: 4}}}}\n"
        "  firmware: {9: {parameters: {pattern: {amplitude_percent: 10}}}}\n"
    )
    effects = load_catalogue(path).sensor_type("environmental").effects("Acme", "A1", "9")

    assert {"amplitude_percent": 10} == effects.parameters("pattern")


def test_a_kind_has_aliases_and_others_are_an_error_that_lists_them() -> None:
    """As an identity file names its kind."""
    catalogue = load_catalogue()

    assert catalogue.sensor_type("environmental_monitoring").name == "environmental"
    with pytest.raises(
        UserError, match=r"'sonar' is not a sensor type; there are air_quality, .*, environmental, pipeline"
    ):
        catalogue.sensor_type("sonar")


@pytest.mark.claim("000.advanced-features.6")
def test_multipliers_compound_and_are_capped() -> None:
    """Exactly, and at nine readings in ten."""
    effects = load_catalogue().sensor_type("environmental").effects("SensorTech", "PressureGuard", "3.2-rc1")

    assert effects.anomaly_share(0.05) == Fraction("0.05") * Fraction("1.2") * Fraction("1.5")
    assert effects.anomaly_share(0.6) == Fraction("0.9")


def test_what_the_catalogue_does_not_know_has_no_effect() -> None:
    """An identity may come from anywhere."""
    effects = load_catalogue().sensor_type("environmental").effects("Acme", "X", "DLG_v3.15.21")

    assert effects.anomaly_share(0.05) == Fraction("0.05")
    assert (effects.weight("spike", 0.4), effects.severity, effects.channel_odds(CHANNELS)) == (
        Fraction("0.4"),
        1.0,
        (),
    )


def test_a_share_of_the_channels_becomes_odds() -> None:
    """60 % for one of three is odds of 3 against 1 and 1; a channel that is not there takes none."""
    effects = load_catalogue().sensor_type("temperature_vibration").effects(None, None, "1.3")

    assert effects.channel_odds(CHANNELS) == (("temperature", 3.0),)
    assert effects.channel_odds(("temperature", "voltage")) == (("temperature", 1.5),)
    assert effects.channel_odds(("voltage",)) == ()
    assert [name for name, _ in effects.channel_odds(("temperature",))] == ["temperature"]


def test_a_share_of_nearly_all_is_odds_that_can_be_computed(tmp_path: Path) -> None:
    """Of a channel that others get one in 10^390 of, which is no float."""
    path = tmp_path / "more.yaml"
    path.write_text(f"environmental: {{firmware: {{9: {{channel_shares: {{voltage: 0.{'9' * 390}}}}}}}}}")
    effects = load_catalogue(path).sensor_type("environmental").effects(None, None, "9")

    assert (("voltage", 1e12),) == effects.channel_odds(CHANNELS)


@pytest.mark.claim("001.architecture.4", "001.contributing-license.1")
def test_a_file_extends_the_catalogue(tmp_path: Path) -> None:
    """With a manufacturer for a kind that is there, and with a kind of its own."""
    path = tmp_path / "more.yaml"
    path.write_text(
        "environmental:\n"
        "  manufacturers:\n"
        "    Acme: {multiplier: 2, models: [A1]}\n"
        "sound:\n"
        "  channels:\n"
        "    vibration: {unit: dB, mean: 40, std_dev: 5, min: 20, max: 90}\n"
        "  manufacturers: {Ear: {models: [E1]}}\n"
        "  firmware: {1.0: }\n"
    )
    catalogue = load_catalogue(path)

    assert catalogue.sensor_type("environmental").effects("Acme", "A1", None).anomaly_share(0.1) == Fraction("0.2")
    assert "SensorTech" in catalogue.sensor_type("environmental").models
    assert catalogue.sensor_type("sound").models == {"Ear": ("E1",)}
    assert catalogue.sensor_type("sound").firmware == ("1.0",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "environmental: {manufacturers: {A: {multiplier: 1}}}",
            "1:33: environmental.manufacturers.A.models: is missing",
        ),
        ("sound: {}", "1:1: sound.channels: is missing"),
        (
            "environmental: {firmware: {9: {weights: {spyke: 2}}}}",
            "1:42: environmental.firmware.9.weights.spyke: is not one of spike, trend, pattern, missing_data, noise",
        ),
        (
            "environmental: {firmware: {9: {parameters: {spike: {size: 2}}}}}",
            "parameters.spike.size: unknown parameter; spike has multiplier_min, multiplier_max",
        ),
        (
            "environmental: {firmware: {9: {channel_shares: {temperature: 0.6, voltage: 0.5}}}}",
            "1:48: environmental.firmware.9.channel_shares: the shares add up to more than 1",
        ),
        (
            "environmental: {firmware: {9: {parameters: {spike: {multiplier_min: 0}}}}}",
            "1:69: environmental.firmware.9.parameters.spike.multiplier_min: 0 is not between 1 and 1000",
        ),
        (
            "environmental: {firmware: {9: {parameters: {spike: {multiplier_min: 4}}}}}",
            "1:69: environmental.firmware.9.parameters.spike.multiplier_min: 4 is more than multiplier_max 3",
        ),
        ("environmental: {manufacturers: {' ': {models: [A]}}}", "1:33: environmental.manufacturers. : is blank"),
        (f"{'k' * 101}: {{}}", "...: is not a name of 1 to 100 characters on one line"),
        ('"": {}', "1:1: is not a name of 1 to 100 characters on one line"),
        ("environmental: {firmware: {9: {multplier: 2}}}", "did you mean 'multiplier'?"),
        ("- a", "not a catalogue"),
    ],
)
def test_a_wrong_catalogue_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    """With its file, line and column, like a config."""
    path = tmp_path / "more.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        load_catalogue(path)

    assert str(raised.value).startswith(f"{path}:1:")
    assert message in str(raised.value)


def test_a_row_of_the_scoreboard_has_room_for_all_channels() -> None:
    """It has the last value of each."""
    assert MAX_CHANNELS == entries.MAX_CHANNELS
