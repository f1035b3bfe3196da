"""Each kind of anomaly does to the healthy signal what it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.worker.samples import (
    CHANNELS,
    IDENTITY,
    NEW_YEAR,
    VIBRATION,
    VOLTAGE,
    settings,
)
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES, build_anomaly
from worker.readings.anomaly_type import AnomalyType
from worker.readings.generator import HEALTHY_INDEX, MISSING_DATA_INDEX, Block, Episode, SignalGenerator
from worker.readings.seasonality import sine
from worker.spec import AnomalySpec, Channel, Settings

pytestmark = pytest.mark.claim(
    "000.overview-quick.4", "000.testing.1", "001.contributing-license.2", "001.key-features.5"
)

FINE = tuple(replace(channel, decimals=9, daily_amplitude=channel.std_dev) for channel in CHANNELS)


def generator(
    sensor_settings: Settings, first_seq: int = 0, sensor_id: str = "CHI_123456", seed: int = 42
) -> SignalGenerator:
    return SignalGenerator(seed, replace(IDENTITY, sensor_id=sensor_id), sensor_settings, first_seq, NEW_YEAR)


def alone(kind: str, *parameters: tuple[str, float], share: float = 0.1, duration: float = 20.0) -> AnomalySpec:
    return AnomalySpec(kind, share, duration, "readings", parameters)


def with_and_without(spec: AnomalySpec, *channels: Channel, rate: str = "1") -> tuple[Block, Block]:
    """The same 5,000 readings with that kind of anomaly and healthy, without rounding worth mentioning."""
    chosen = channels or FINE
    struck, healthy = (generator(settings(*some, rate=rate, channels=chosen)) for some in ((spec,), ()))
    return struck.block(0, 5_000), healthy.block(0, 5_000)


def span(episode: Episode) -> slice:
    return slice(episode.first_seq, episode.last_seq + 1)


def complete(block: Block) -> list[Episode]:
    """The episodes that lie in the block from their first reading to their last."""
    found = [episode for episode in block.episodes if 0 < episode.first_seq and episode.last_seq < block.end]
    assert len(found) > 5
    return found


def test_a_spike_multiplies_or_divides_one_channel() -> None:
    """By its factor, between multiplier_min and multiplier_max or one over it, about as often either way."""
    struck, healthy = with_and_without(alone("spike", ("multiplier_min", 2.0), ("multiplier_max", 4.0), duration=1))
    factors = []
    for episode in complete(struck):
        index = [channel.name for channel in FINE].index(episode.channels[0])
        factors.append(episode.parameters["factor"])
        changed = np.flatnonzero(struck.values[:, episode.first_seq] != healthy.values[:, episode.first_seq])
        unclipped = healthy.values[index, episode.first_seq] * factors[-1]

        assert [index] == changed.tolist()
        assert min(unclipped, FINE[index].highest) == pytest.approx(struck.values[index, episode.first_seq], abs=1e-8)
    up = [factor for factor in factors if factor > 1]

    assert 2.0 <= min(up) < 2.2
    assert 3.8 < max(up) <= 4.0
    assert all(0.25 <= factor <= 0.5 for factor in factors if factor < 1)
    assert 0.4 < len(up) / len(factors) < 0.6


@pytest.mark.claim("002.anomalies-simulated.9")
def test_a_trend_reaches_its_change_at_its_last_reading() -> None:
    """Linear from one step on; between half of max_change and all of it, up or down."""
    struck, healthy = with_and_without(alone("trend", ("max_change", 0.4)), replace(VOLTAGE, decimals=9))
    for episode in complete(struck):
        ratio = struck.values[0, span(episode)] / healthy.values[0, span(episode)] - 1
        change = episode.parameters["change"]

        assert 0.2 <= abs(change) <= 0.4
        assert (change * np.arange(1, 21) / 20).tolist() == pytest.approx(ratio.tolist(), abs=1e-8)
    assert {1.0, -1.0} == {float(np.sign(episode.parameters["change"])) for episode in complete(struck)}


@pytest.mark.parametrize(
    ("parameter", "size"), [(("amplitude", 3.0), (6.0, 0.3)), (("amplitude_percent", 10.0), (2.2, 0.05))]
)
def test_a_pattern_moves_temperature_and_vibration_in_opposition(
    parameter: tuple[str, float], size: tuple[float, float]
) -> None:
    """A sine of the frequency asked for, of `amplitude` standard deviations or `amplitude_percent` of the mean."""
    wide = replace(FINE[3], lowest=-1000.0)
    spec = alone("pattern", parameter, ("frequency", 0.05))
    struck, healthy = with_and_without(spec, *FINE[:3], wide)
    for episode in complete(struck):
        wave = sine(np.arange(20, dtype=np.float64) * 0.05 + episode.parameters["phase"])
        added = struck.values[:, span(episode)] - healthy.values[:, span(episode)]

        assert ("temperature", "vibration") == episode.channels
        assert (wave * size[0]).tolist() == pytest.approx(added[0].tolist(), abs=1e-8)
        assert (-wave * size[1]).tolist() == pytest.approx(added[3].tolist(), abs=1e-8)
        assert not added[1:3].any()


def test_a_pattern_can_be_seen_at_a_low_rate() -> None:
    """Its frequency is lowered to an eighth of the rate; without vibration it moves temperature alone."""
    struck, healthy = with_and_without(alone("pattern", ("frequency", 10.0)), FINE[0], FINE[1], rate="0.01")
    episode = complete(struck)[0]
    added = (struck.values - healthy.values)[:, span(episode)]

    assert ("temperature",) == episode.channels
    assert added[0][:8].tolist() == pytest.approx(added[0][8:16].tolist(), abs=1e-8)
    assert not added[1].any()


def test_noise_amplifies_the_deviation() -> None:
    """By sqrt(1 + r^2), r = factor x mean / std_dev, at least 1/2; vibration by its own gain. The sign stays."""
    spec = alone("noise", ("factor", 0.15), ("vibration_gain", 2.0))
    wide = [replace(c, minimum=c.lowest, maximum=c.highest, daily_amplitude=0.0) for c in FINE if c.name != "vibration"]
    deep = replace(VIBRATION, minimum=-100.0, lowest=-100.0, decimals=9)
    struck, healthy = with_and_without(spec, *wide, deep)
    anomalous = struck.kinds != HEALTHY_INDEX
    for index, channel in enumerate((*wide, deep)):
        factor = 0.3 if channel is deep else 0.15
        gain = np.sqrt(1 + max(factor * channel.mean / channel.std_dev, 0.5) ** 2)
        expected = channel.mean + (healthy.values[index, anomalous] - channel.mean) * gain
        expected = np.clip(expected, channel.lowest, channel.highest)

        assert expected.tolist() == pytest.approx(struck.values[index, anomalous].tolist(), abs=1e-6)


@pytest.mark.claim("000.measurement-types.6", "002.anomalies-simulated.11")
def test_missing_data_takes_up_its_numbers() -> None:
    """Its readings are marked, keep their times, and the values around them are what they were."""
    struck, healthy = with_and_without(alone("missing_data", duration=5))
    present = struck.kinds != MISSING_DATA_INDEX

    assert 0.05 < 1 - present.mean() < 0.15
    assert all(() == episode.channels and {} == episode.parameters for episode in struck.episodes)
    assert healthy.times.tolist() == struck.times.tolist()
    assert healthy.values[:, present].tolist() == struck.values[:, present].tolist()


@pytest.mark.parametrize("declaration", ANOMALY_CLASSES, ids=ANOMALY_TYPES)
def test_a_declaration_is_consistent(declaration: type[AnomalyType]) -> None:
    """Defaults are within their bounds and do not contradict each other; a size sets parameters that the worker takes."""
    defaults = declaration.default_parameters()

    assert all(each.allows(defaults[each.name]) for each in declaration.parameters if each.default is not None)
    assert declaration.contradiction(defaults) is None
    assert declaration.merge_parameters(defaults).keys() == defaults.keys()
    stored = {each.stored for each in declaration.parameters}
    assert set(declaration.sized_parameters(1.0)) <= stored
    assert (declaration.size is None) == (declaration.sized_parameters(1.0) == {})
    assert declaration({}).values == declaration.stored_parameters(defaults)


def test_an_unknown_parameter_or_type_is_refused() -> None:
    """Of a damaged record."""
    with pytest.raises(KeyError, match="sise"):
        build_anomaly(alone("spike", ("sise", 2.0)))
    with pytest.raises(KeyError, match="spyke"):
        build_anomaly(alone("spyke"))


def test_channel_odds_weigh_the_choice() -> None:
    """Three to one against each other channel, where the odds say so."""
    spec = replace(alone("spike", share=0.2, duration=1), channel_odds=(("temperature", 3.0), ("pressure", 0.0)))
    episodes = generator(settings(spec)).episodes(0, 30_000)
    shares = {c.name: sum(e.channels == (c.name,) for e in episodes) / len(episodes) for c in CHANNELS}

    assert 0 == shares.pop("pressure")
    assert {"temperature": 0.5, "humidity": 1 / 6, "vibration": 1 / 6, "voltage": 1 / 6} == pytest.approx(
        shares, abs=0.03
    )
