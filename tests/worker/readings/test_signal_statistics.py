"""The signal has the statistics that were asked for, measured over a million readings of a sensor.

An episode has exactly the duration configured, so counts come in lumps: one pattern of 600 readings is a tenth of what
a weight of 0.1 of 5 % leaves it in a million. What lumps are large for is therefore judged over many sensors together,
and every judgement comes with its standard error, from the scatter among the sensors themselves: it must be below a
third of the tolerance, else the tolerance would decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import fleet_settings
from tests.worker.samples import NEW_YEAR
from worker.readings.anomalies import ANOMALY_CLASSES
from worker.readings.generator import SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.spec import Identity, Instrument, Settings

pytestmark = pytest.mark.thorough

MILLION = 1_000_000
PROBABILITY = 0.05
DEFAULT_TYPES = tuple(each.name for each in ANOMALY_CLASSES if each.enabled_by_default)

DURATIONS = {
    "up to 20 readings": """
    spike: {weight: 0.3}
    trend: {weight: 0.25, duration_readings: 20}
    pattern: {weight: 0.2, duration_readings: 20}
    missing_data: {weight: 0.15, duration_readings: 5}
    noise: {weight: 0.1, duration_readings: 20}
""",
    "up to 600 seconds": """
    spike: {weight: 0.4}
    trend: {weight: 0.2, duration_seconds: 300}
    pattern: {weight: 0.1, duration_seconds: 600}
    missing_data: {weight: 0.1, duration_seconds: 30}
    noise: {weight: 0.2, duration_seconds: 180}
""",
}
WEIGHTS = {
    "up to 20 readings": {"spike": 0.3, "trend": 0.25, "pattern": 0.2, "missing_data": 0.15, "noise": 0.1},
    "up to 600 seconds": {"spike": 0.4, "trend": 0.2, "pattern": 0.1, "missing_data": 0.1, "noise": 0.2},
}


class Hardware(NamedTuple):
    """What the catalogue is held to here, said again by hand: the multiplier of manufacturer x firmware."""

    kind: str
    manufacturer: str
    firmware: str
    multiplier: float


MAKERS = {
    "environmental": {"SensorTech": 1.2, "DataLogger": 1.1, "DataSense": 0.8, "MonitorPro": 0.9},
    "temperature_vibration": {"SensorTech": 1.0, "DataSense": 0.8, "VibrationPlus": 1.2},
}
VERSIONS = {
    "environmental": dict.fromkeys(("1.0", "1.2.0", "1.4"), 0.7)
    | dict.fromkeys(("2.1", "2.3.5", "2.5"), 0.85)
    | dict.fromkeys(("3.0.0-beta", "3.1.2-alpha", "3.2-rc1"), 1.5),
    "temperature_vibration": {"1.3": 1.5, "1.4": 0.7},
}
HARDWARE = [
    Hardware(kind, maker, version, MAKERS[kind][maker] * VERSIONS[kind][version])
    for kind in MAKERS
    for maker, version in product(MAKERS[kind], VERSIONS[kind])
]


def told(folder: Path, anomalies: str, identities: Sequence[Identity], more: str = "") -> list[Settings]:
    """The settings of those sensors at a reading a second, the way a fleet gets them."""
    path = folder / "fleet.yaml"
    path.write_text(f"version: 2\nsimulation: {{readings_per_second: 1}}\n{more}\nanomalies:\n{anomalies}")
    return fleet_settings(load_config(path), load_catalogue(), identities)


def with_types(durations: str) -> str:
    return f"  placement: even\n  probability: {PROBABILITY}\n  types:{DURATIONS[durations]}"


def identity(hardware: Hardware, number: int) -> Identity:
    """A sensor of that hardware, of a model without weights of its own."""
    kind, maker, version, _ = hardware
    return Identity(f"A_{number}", sensor_type=kind, manufacturer=maker, firmware_version=version)


def covered(seed: int, who: Identity, settings: Settings, readings: int) -> FloatArray:
    """The share of the readings that each kind covers, in the order of DEFAULT_TYPES."""
    counts = dict.fromkeys(DEFAULT_TYPES, 0)
    for episode in SignalGenerator(seed, who, settings, 0, NEW_YEAR).episodes(0, readings):
        counts[episode.kind] += min(episode.last_seq, readings - 1) - episode.first_seq + 1
    return np.array(list(counts.values())) / readings


def judge(ratios: FloatArray, tolerance: float) -> None:
    """The mean of found / asked for is within the tolerance of 1, and could be told from it if it were not."""
    error = ratios.std(ddof=1) / np.sqrt(len(ratios))

    assert error < tolerance / 3
    assert abs(ratios.mean() - 1) < tolerance


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("statistics")


@cache
def catalogue_shares(folder: Path, durations: str) -> FloatArray:
    """A million readings of one sensor of each manufacturer with each firmware; shape (hardware, kinds)."""
    identities = [identity(hardware, number) for number, hardware in enumerate(HARDWARE)]
    settings = told(folder, with_types(durations), identities)
    return np.array([covered(7, who, how, MILLION) for who, how in zip(identities, settings, strict=True)])


def expected() -> FloatArray:
    return np.array([PROBABILITY * hardware.multiplier for hardware in HARDWARE])


@pytest.mark.claim("001.configuration-options.8")
def test_the_hardware_is_that_of_the_catalogue() -> None:
    """No manufacturer and no firmware of the two kinds whose documents state multipliers is left out."""
    catalogue = load_catalogue()
    known = {
        (kind.name, maker, version)
        for kind in map(catalogue.sensor_type, ("environmental", "temperature_vibration"))
        for maker, version in product(kind.models, kind.firmware)
    }

    assert known == {hardware[:3] for hardware in HARDWARE}


@pytest.mark.parametrize("durations", DURATIONS)
@pytest.mark.claim("001.configuration-options.8", "001.simulator.1", "001.simulator.2", "002.anomalies-simulated.1")
def test_the_anomalous_share_is_probability_times_multipliers(folder: Path, durations: str) -> None:
    """Within 2 % for every single sensor; their scatter around it is below a third of that, so 3 % off would show."""
    ratios = catalogue_shares(folder, durations).sum(axis=1) / expected()

    assert np.abs(ratios - 1).max() < 0.02
    assert ratios.std(ddof=1) < 0.02 / 3


@pytest.mark.parametrize("kind", DEFAULT_TYPES)
@pytest.mark.parametrize("durations", DURATIONS)
@pytest.mark.claim("001.configuration-options.12")
def test_each_type_has_its_share(folder: Path, durations: str, kind: str) -> None:
    """Within 5 % of its weight. Over all 42 sensors of the catalogue, because a million readings of the quietest
    hold five patterns of 600 readings, one more or less of which is 20 %."""
    found = catalogue_shares(folder, durations)[:, DEFAULT_TYPES.index(kind)]

    judge(found / (expected() * WEIGHTS[durations][kind]), 0.05)


@pytest.mark.parametrize(("durations", "sensors"), [("up to 20 readings", 100), ("up to 600 seconds", 2_700)])
@pytest.mark.claim("001.architecture.2")
def test_the_shares_hold_in_the_first_readings(folder: Path, durations: str, sensors: int) -> None:
    """Within 20 % in the first 20,000 readings, all together and each type, on the quietest hardware.

    20,000 readings there hold 560 anomalous ones, 56 of them patterns: one sensor in ten has one, of 600 readings. So
    a sensor's pattern share scatters by three times its mean, and 2,700 of them are needed to know it to 6 %.
    """
    quietest = min(HARDWARE, key=lambda hardware: hardware.multiplier)
    identities = [identity(quietest, number) for number in range(sensors)]
    settings = told(folder, with_types(durations), identities)
    shares = np.array([covered(7, who, how, 20_000) for who, how in zip(identities, settings, strict=True)])
    asked = PROBABILITY * quietest.multiplier

    judge(shares.sum(axis=1) / asked, 0.2)
    for name, found in zip(DEFAULT_TYPES, shares.T, strict=True):
        judge(found / (asked * WEIGHTS[durations][name]), 0.2)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.claim(
    "000.configuration-file.8",
    "000.overview-quick.1",
    "000.overview-quick.3",
    "001.database-schema.3",
    "001.key-features.1",
)
def test_means_and_deviations_are_those_configured(folder: Path, kind: str) -> None:
    """White noise, as of version 1: mean and standard deviation within 1 % (the mean even of a standard deviation), anomalies and daily pattern off.

    Over a million readings the standard error is 0.1 % and 0.07 % of a standard deviation.
    """
    who = Identity("A", sensor_type=kind)
    (moving,) = told(folder, "  enabled: false", [who], "daily_pattern: false")
    settings = replace(
        moving,
        version=1,
        channels=tuple(replace(each, signals=(), instrument=Instrument()) for each in moving.channels),
    )
    values = SignalGenerator(7, who, settings, 0, NEW_YEAR).block(0, MILLION).values
    asked = [(channel.mean, channel.std_dev) for channel in settings.channels]

    for (mean, deviation), found in zip(asked, values, strict=True):
        assert abs(found.mean() - mean) < 0.01 * min(deviation, abs(mean))
        assert abs(found.std() / deviation - 1) < 0.01


@pytest.mark.parametrize("kind", ["environmental", "temperature_vibration"])
def test_means_and_deviations_of_moving_signals_are_those_configured(folder: Path, kind: str) -> None:
    """Within 3 % of a standard deviation, over 60 sensors and 400 readings of each that lie three days apart."""
    (settings,) = told(folder, "  enabled: false", [Identity("A", sensor_type=kind)], "daily_pattern: false")
    rare = replace(settings, rate="1/259200")
    blocks = [
        SignalGenerator(7, Identity(f"A_{number}", sensor_type=kind), rare, 0, NEW_YEAR).block(0, 400)
        for number in range(60)
    ]

    for channel, found in zip(
        settings.channels, np.concatenate([block.values for block in blocks], axis=1), strict=True
    ):
        assert abs(found.mean() - channel.mean) < 0.03 * channel.std_dev
        assert abs(found.std() / channel.std_dev - 1) < 0.03
