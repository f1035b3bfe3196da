"""What firmware, manufacturer and model do to the readings, sentence by sentence of the source documents.

Shares of types and totals are judged in tests/worker/readings/test_signal_statistics.py; here is what the anomalies are like.
Every tolerance is a number of standard errors of what is measured.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from pathlib import Path

import numpy as np
import pytest

from tests.fleet.config.behaving_sensors import VIBE, channels, generate_block, generator_of, sensor_settings
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import Episode
from worker.readings.random_streams import FloatArray
from worker.spec import AnomalySpec, Channel, Identity, Settings

pytestmark = pytest.mark.claim("001.introduction.5", "002.introduction-features.3")

OLD, NEW = (replace(VIBE, manufacturer="SensorTech", firmware_version=version) for version in ("1.3", "1.4"))
PLAIN = replace(VIBE, manufacturer="SensorTech", firmware_version="2.0")
SEVERE = replace(PLAIN, manufacturer="DataSense")
SHAKY = replace(PLAIN, manufacturer="VibrationPlus")
SIGMAS = 4.0


def only(kind: str, duration: str = "") -> str:
    """A config with half of all readings struck by anomalies of that type alone."""
    others = ", ".join(f"{name}: {{enabled: false}}" for name in ANOMALY_TYPES if name != kind)
    return f"anomalies: {{probability: 0.5, types: {{{others}, {kind}: {{{duration}}}}}}}"


def episodes(folder: Path, identity: Identity, kind: str, duration: str = "", readings: int = 20_000) -> list[Episode]:
    return generator_of(sensor_settings(folder, identity, only(kind, duration)), identity).episodes(0, readings)


def uniform(numbers: FloatArray, low: float, high: float) -> None:
    """They are spread evenly from `low` to `high`: bounds, mean and deviation of such numbers."""
    count, width = len(numbers), high - low

    assert low <= numbers.min() < low + 12 * width / count
    assert high - 12 * width / count < numbers.max() <= high
    assert abs(numbers.mean() - (low + high) / 2) < SIGMAS * width / sqrt(12 * count)
    assert abs(numbers.std() / width * sqrt(12) - 1) < SIGMAS / sqrt(count)


@pytest.mark.parametrize(
    ("identity", "low", "high"),
    [(PLAIN, 1.5, 3.0), (NEW, 1.5, 3.0), (OLD, 1.8, 3.5), (SEVERE, 1.625, 3.5)],
    ids=["others", "1.4", "1.3", "DataSense"],
)
@pytest.mark.claim("000.measurement-types.3", "002.anomalies-simulated.8", "002.firmware-dependent.2")
def test_spikes_have_their_factors(identity: Identity, low: float, high: float, tmp_path: Path) -> None:
    """1.5 to 3.0, with firmware 1.3 1.8 to 3.5; as often a divisor as a multiplier. DataSense: a quarter more."""
    factors = np.array([episode.parameters["factor"] for episode in episodes(tmp_path, identity, "spike")])

    uniform(factors[factors > 1], low, high)
    uniform(1 / factors[factors < 1], low - 1e-5, high + 1e-5)
    assert abs((factors > 1).mean() - 0.5) < SIGMAS / sqrt(4 * len(factors))


@pytest.mark.parametrize("kind", ["spike", "trend"])
@pytest.mark.parametrize(
    ("identity", "share"), [(OLD, 0.6), (NEW, 1 / 3), (PLAIN, 1 / 3)], ids=["1.3", "1.4", "others"]
)
@pytest.mark.claim(
    "000.advanced-features.5", "002.anomalies-simulated.7", "002.firmware-dependent.1", "002.firmware-dependent.4"
)
def test_firmware_1_3_strikes_the_temperature(kind: str, identity: Identity, share: float, tmp_path: Path) -> None:
    """60 % of what strikes one channel, against an equal distribution."""
    found = [episode.channels for episode in episodes(tmp_path, identity, kind, "duration_readings: 2")]
    shares = {name: found.count((name,)) / len(found) for name in ("temperature", "vibration", "voltage")}

    assert abs(shares["temperature"] - share) < SIGMAS * sqrt(share * (1 - share) / len(found))
    assert abs(shares["vibration"] - shares["voltage"]) < SIGMAS * sqrt(2 * (1 - share) / 2 / len(found))
    assert 1.0 == pytest.approx(sum(shares.values()))


@pytest.mark.claim("000.measurement-types.4", "001.simulator.3", "002.anomalies-simulated.9")
def test_a_trend_reaches_up_to_half_of_the_value(tmp_path: Path) -> None:
    """By the end of its duration, up or down alike; 62.5 % on a DataSense."""
    for identity, most in ((PLAIN, 0.5), (SEVERE, 0.625)):
        changes = np.array(
            [e.parameters["change"] for e in episodes(tmp_path, identity, "trend", "duration_readings: 5")]
        )

        uniform(np.abs(changes), most / 2, most)
        assert abs((changes > 0).mean() - 0.5) < SIGMAS / sqrt(4 * len(changes))


def struck_and_healthy(
    folder: Path, identity: Identity, kind: str, more: str = ""
) -> tuple[Settings, FloatArray, FloatArray]:
    """The values (channels, readings) of the readings that one type strikes, and what they would be without it."""
    config = only(kind, "duration_readings: 20") + more
    settings = sensor_settings(folder, identity, config)
    fine = replace(settings, channels=tuple(unlimited(channel) for channel in settings.channels))
    there = generate_block(fine, identity, 60_000)
    without = generate_block(replace(fine, anomalies=()), identity, 60_000)
    return fine, there.values[:, there.kinds >= 0], without.values[:, there.kinds >= 0]


def unlimited(channel: Channel) -> Channel:
    """So that clipping and rounding hide nothing."""
    return replace(channel, minimum=-1e9, maximum=1e9, lowest=-1e9, highest=1e9, decimals=9, daily_amplitude=0.0)


@pytest.mark.claim("000.measurement-types.5", "002.anomalies-simulated.10")
def test_a_pattern_has_a_fifth_of_the_normal_value_and_opposes_vibration(tmp_path: Path) -> None:
    """On temperature and vibration: when one goes up, the other goes down. The voltage is as it was."""
    settings, struck, healthy = struck_and_healthy(tmp_path, PLAIN, "pattern")
    temperature, vibration, voltage = struck - healthy

    assert 0.2 * channels(settings)["temperature"].mean == pytest.approx(np.abs(temperature).max(), rel=0.001)
    assert 0.2 * channels(settings)["vibration"].mean == pytest.approx(np.abs(vibration).max(), rel=0.001)
    assert -1.0 == pytest.approx(np.corrcoef(temperature, vibration)[0, 1], abs=1e-6)
    assert not voltage.any()


@pytest.mark.parametrize(
    ("identity", "factor", "vibration_gain"),
    [(PLAIN, 0.10, 1.0), (NEW, 0.10, 1.0), (OLD, 0.15, 1.0), (SHAKY, 0.10, 1.5), (SEVERE, 0.125, 1.0)],
    ids=["others", "1.4", "1.3", "VibrationPlus", "DataSense"],
)
@pytest.mark.claim("000.measurement-types.7", "002.anomalies-simulated.12", "002.firmware-dependent.2")
def test_noise_has_its_factor(identity: Identity, factor: float, vibration_gain: float, tmp_path: Path) -> None:
    """10 % of the normal value on all parameters, 15 % with firmware 1.3; VibrationPlus: half as much again on
    vibration. Where that is less than half a standard deviation (vibration), it is half of one."""
    settings, struck, _ = struck_and_healthy(tmp_path, identity, "noise")
    for channel, values in zip(settings.channels, struck, strict=True):
        gain = vibration_gain if channel.name == "vibration" else 1.0
        added = max(factor * gain * channel.mean, 0.5 * channel.std_dev)
        found = sqrt(values.std() ** 2 - channel.std_dev**2)
        error = values.std() ** 2 / found / sqrt(2 * values.size)

        assert abs(found - added) < SIGMAS * error


@pytest.mark.claim("002.firmware-dependent.3")
def test_firmware_decides_how_steady_the_voltage_is(tmp_path: Path) -> None:
    """1.3: more fluctuations, by half; 1.4: more stable, by three tenths. Temperature and vibration are alike."""
    deviations = {}
    for identity in (OLD, NEW, PLAIN):
        settings = sensor_settings(tmp_path, identity, "{anomalies: {enabled: false}, daily_pattern: false}")
        values = generate_block(settings, identity, 40_000).values
        deviations[identity.firmware_version] = dict(zip(channels(settings), values.std(axis=1).tolist(), strict=True))
    error = 1 / sqrt(2 * 40_000)

    assert 1.5 == pytest.approx(deviations["1.3"]["voltage"] / 0.5, abs=SIGMAS * 1.5 * error)
    assert 0.7 == pytest.approx(deviations["1.4"]["voltage"] / 0.5, abs=SIGMAS * 0.7 * error)
    assert 0.5 == pytest.approx(deviations["2.0"]["voltage"], abs=SIGMAS * 0.5 * error)
    for name in ("temperature", "vibration"):
        assert deviations["1.3"][name] == deviations["1.4"][name] == deviations["2.0"][name]


def test_a_steady_voltage_is_as_noisy_in_an_anomaly(tmp_path: Path) -> None:
    """The noise factor is of the normal value, whatever the healthy deviation is."""
    for identity in (NEW, PLAIN):
        _, struck, _ = struck_and_healthy(tmp_path, identity, "noise")
        channel = channels(sensor_settings(tmp_path, identity))["voltage"]

        assert 2.4 == pytest.approx(sqrt(struck[2].std() ** 2 - channel.std_dev**2), rel=SIGMAS / sqrt(2 * 25_000))


@pytest.mark.parametrize(
    ("model", "kind", "factor"),
    [("TempVibe-1000", "missing_data", 2), ("TempVibe-2000", "pattern", 1.5), ("TempVibe-3000", "spike", 1.5)],
)
@pytest.mark.claim("001.key-features.2", "002.anomalies-simulated.6")
def test_a_model_prefers_a_type(model: str, kind: str, factor: float, tmp_path: Path) -> None:
    """Its odds against the other types are that many times as high, in the episodes that there are."""
    types = ", ".join(f"{name}: {{duration_readings: 4}}" for name in ANOMALY_TYPES)
    config = f"anomalies: {{probability: 0.2, types: {{{types}}}}}"
    shares = {}
    for identity in (PLAIN, replace(PLAIN, model=model)):
        settings = sensor_settings(tmp_path, identity, config)
        struck = [episode.kind for episode in generator_of(settings, identity).episodes(0, 100_000)]
        shares[identity.model] = struck.count(kind) / len(struck)
    odds = {name: share / (1 - share) for name, share in shares.items()}

    assert factor == pytest.approx(odds[model] / odds[None], rel=0.02)


@pytest.mark.parametrize("kind", ANOMALY_TYPES)
def test_a_severe_maker_lacks_no_type(kind: str, tmp_path: Path) -> None:
    """DataSense has every type of anomaly, a fifth less of each."""
    config = f"anomalies: {{types: {{{kind}: {{enabled: true}}}}}}"
    plain, severe = (found(sensor_settings(tmp_path, identity, config), kind) for identity in (PLAIN, SEVERE))

    assert 0.8 * plain.share == pytest.approx(severe.share, rel=1e-15)


def found(settings: Settings, kind: str) -> AnomalySpec:
    return next(spec for spec in settings.anomalies if spec.kind == kind)


@pytest.mark.claim("001.key-features.2")
def test_a_catalogue_may_make_anything_steadier(tmp_path: Path) -> None:
    """Manufacturers, models and firmware multiply; a deviation of nothing is none."""
    (tmp_path / "more.yaml").write_text(
        "temperature_vibration:\n"
        "  manufacturers: {Acme: {models: [A1], std_dev: {temperature: 0.5, vibration: 0}}}\n"
        "  models: {A1: {std_dev: {temperature: 3, sound: 7}}}\n"
    )
    identity = replace(VIBE, manufacturer="Acme", model="A1", firmware_version="1.4")
    settings = channels(sensor_settings(tmp_path, identity, "", tmp_path / "more.yaml"))

    assert (3.0, 0.0, 0.35) == tuple(settings[name].std_dev for name in ("temperature", "vibration", "voltage"))
    assert 2.0 == settings["temperature"].daily_amplitude
