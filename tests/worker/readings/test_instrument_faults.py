"""The rules of version 2: noise of its own, and faults of instruments on signals that move slowly."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.worker.samples import (
    HUMIDITY,
    IDENTITY,
    NEW_YEAR,
    PRESSURE,
    SECOND_US,
    TEMPERATURE,
    VIBRATION,
    VOLTAGE,
)
from worker.readings.anomalies import ANOMALY_CLASSES, ANOMALY_TYPES
from worker.readings.anomaly_type import AnomalyType
from worker.readings.generator import Block, Episode, SignalGenerator
from worker.readings.instrument_faults import reset_value
from worker.readings.random_streams import FloatArray
from worker.spec import AnomalySpec, Channel, Injection, Instrument, Settings, SignalSpec

FIRST, LENGTH, COUNT = 100, 60, 260


def signal(name: str, **parameters: float | str) -> SignalSpec:
    return SignalSpec(name, tuple(parameters.items()))


CHANNELS = (
    replace(
        TEMPERATURE,
        lowest=-40.0,
        highest=85.0,
        decimals=6,
        daily_amplitude=2.0,
        signals=(signal("weather", share=0.7, quantity="temperature"), signal("slow", share=0.299)),
        instrument=Instrument(offset=0.3, warm_up=5.0, warm_up_seconds=120.0),
    ),
    replace(
        HUMIDITY,
        std_dev=10.0,
        decimals=6,
        signals=(signal("follows", channel="temperature", correlation=-0.6), signal("slow", share=0.63)),
    ),
    replace(
        PRESSURE,
        std_dev=500.0,
        decimals=4,
        lowest=30000.0,
        highest=110000.0,
        signals=(signal("weather", share=0.999, quantity="pressure"),),
    ),
    replace(VIBRATION, decimals=6, signals=(signal("machine", share=0.6), signal("uniform", share=0.1))),
    replace(VOLTAGE, decimals=6, highest=40.0, signals=(signal("slow", share=0.95),)),
)
NAMES = [channel.name for channel in CHANNELS]


def sensor(*channels: Channel, injection: Injection | None = None, rate: str = "1") -> SignalGenerator:
    return SignalGenerator(42, IDENTITY, Settings(rate, channels, injection=injection, version=2), 0, NEW_YEAR)


def injected(
    kind: str, channel: str | None = None, size: float | None = None, length: int = LENGTH, number: int = 0
) -> Injection:
    """An episode of `length` readings a second from the reading FIRST on; `number` shifts its beginning by microseconds, for
    other draws."""
    declaration = next(each for each in ANOMALY_CLASSES if each.name == kind)
    parameters = tuple(declaration.sized_parameters(size).items()) if size is not None else ()
    begin = NEW_YEAR + FIRST * SECOND_US - number
    spec = AnomalySpec(kind, 1.0, length, "seconds", parameters)
    return Injection("one", spec, begin, begin + length * SECOND_US, channel, sized=size is not None)


def with_and_without(injection: Injection, channels: tuple[Channel, ...] = CHANNELS) -> tuple[Block, Block, Episode]:
    struck, healthy = (sensor(*channels, injection=each).block(0, COUNT) for each in (injection, None))
    (episode,) = struck.episodes
    return struck, healthy, episode


def of(
    kind: str, channel: str, size: float | None = None, length: int = LENGTH, number: int = 0
) -> tuple[FloatArray, FloatArray, Episode]:
    """The values of a channel in an episode, and those that it would have had."""
    struck, healthy, episode = with_and_without(injected(kind, channel, size, length, number))
    cut = slice(episode.first_seq, episode.last_seq + 1)
    index = NAMES.index(channel)
    return struck.values[index, cut], healthy.values[index, cut], episode


@pytest.mark.parametrize("channel", NAMES)
@pytest.mark.parametrize("kind", [each.name for each in ANOMALY_CLASSES if each.channels != "none"])
def test_each_type_changes_the_channel_that_it_records_and_nothing_else(kind: str, channel: str) -> None:
    """Only while its episode lasts, within the physical limits, and the same again."""
    injection = injected(kind, channel)
    struck, healthy, episode = with_and_without(injection)
    inside = slice(FIRST, FIRST + LENGTH)
    index = NAMES.index(channel)
    changed = struck.values != healthy.values

    assert (kind, (channel,)) == (episode.kind, episode.channels)
    assert (FIRST, FIRST + LENGTH - 1) == (episode.first_seq, episode.last_seq)
    assert changed[index, inside].any()
    changed[index, inside] = False
    assert not changed.any()
    assert (struck.kinds[inside] == ANOMALY_TYPES.index(kind)).all()
    assert CHANNELS[index].lowest <= struck.values[index].min()
    assert struck.values[index].max() <= CHANNELS[index].highest
    again = sensor(*CHANNELS, injection=injection).block(0, COUNT)
    assert again.values.tobytes() == struck.values.tobytes()


@pytest.mark.parametrize("kind", ANOMALY_TYPES)
def test_blocks_join_bit_for_bit_through_an_episode(kind: str) -> None:
    """One by one, and in blocks that begin and end inside it; with instruments that warm up."""
    generator = sensor(*CHANNELS, injection=injected(kind))
    whole = generator.block(0, COUNT)
    for edges in ([*range(COUNT + 1)], [0, 99, 101, 130, 131, 159, 161, COUNT], [0, 7, 121, COUNT]):
        parts = [generator.block(first, end - first) for first, end in pairwise(edges)]

        assert np.concatenate([part.values for part in parts], axis=1).tobytes() == whole.values.tobytes()
        assert [each for part in parts for each in part.episodes] == list(whole.episodes)


@pytest.mark.parametrize("kind", ANOMALY_TYPES)
def test_natural_episodes_join_in_both_versions(kind: str) -> None:
    """Many short episodes, over chunks of any size."""
    for version in (1, 2):
        settings = Settings("1", CHANNELS, (AnomalySpec(kind, 0.3, 9, "readings"),), version=version)
        generator = SignalGenerator(7, IDENTITY, settings, 0, NEW_YEAR)
        whole = generator.block(0, 5_000)
        parts = [generator.block(first, 250) for first in range(0, 5_000, 250)]

        assert np.concatenate([part.values for part in parts], axis=1).tobytes() == whole.values.tobytes()
        assert 0.25 < (whole.kinds >= 0).mean() < 0.35


@pytest.mark.parametrize("channel", NAMES)
def test_noise_is_visible_in_every_channel(channel: str) -> None:
    """It jumps at least twice as far from reading to reading as the channel does by itself."""
    struck, healthy, _ = of("noise", channel)

    assert np.diff(struck).std() > 2 * np.diff(healthy).std()


def test_noise_has_the_deviation_that_is_recorded() -> None:
    """A tenth of the mean, independent of the healthy noise."""
    spec = AnomalySpec("noise", 1.0, 20_000, "seconds")
    injection = Injection("long", spec, NEW_YEAR, NEW_YEAR + 20_000 * SECOND_US)
    struck, healthy = (sensor(*CHANNELS, injection=each).block(0, 20_000) for each in (injection, None))
    added = (struck.values - healthy.values)[NAMES.index("voltage")]

    assert 2.4 == pytest.approx(added.std(), rel=0.03)
    assert 0 == pytest.approx(added.mean(), abs=0.1)
    assert abs(np.corrcoef(added, np.diff(healthy.values[NAMES.index("voltage")], prepend=24.0))[0, 1]) < 0.03


@pytest.mark.parametrize("kind", ["spike", "trend"])
def test_a_multiple_of_nearly_nothing_is_visible(kind: str) -> None:
    """Of a temperature about the freezing point."""
    cold = replace(TEMPERATURE, mean=0.0, std_dev=2.0, decimals=6, signals=(signal("slow", share=0.999),))
    struck, healthy, episode = with_and_without(injected(kind), (cold,))
    change = np.abs(struck.values - healthy.values)[0, episode.last_seq]

    assert change > 0.9


def test_a_stuck_value_is_that_of_the_first_reading() -> None:
    """Even of an instrument that has not warmed up."""
    struck, healthy, episode = of("stuck_value", "temperature")

    assert {float(healthy[0])} == set(struck.tolist())
    assert {} == episode.parameters


def test_a_value_is_stuck_at_either_limit() -> None:
    limits = set()
    for number in range(12):
        struck, _, episode = of("stuck_at_limit", "humidity", number=number)
        limits.add(episode.parameters["limit"])

        assert {episode.parameters["limit"]} == set(struck.tolist())
    assert {0.0, 100.0} == limits


@pytest.mark.parametrize(("size", "expected"), [(None, 4.0), (2.0, 2.0), (-3.0, -3.0)])
def test_a_drift_reaches_its_size_at_the_last_reading(size: float | None, expected: float) -> None:
    struck, healthy, episode = of("drift", "voltage", size)
    error = (struck - healthy) / VOLTAGE.std_dev

    assert abs(expected) == abs(episode.parameters["size"])
    assert (episode.parameters["size"] * np.arange(1, 61) / 60).tolist() == pytest.approx(error.tolist(), abs=1e-4)
    assert size is None or episode.parameters["size"] == size


def test_a_level_shift_is_constant() -> None:
    struck, healthy, episode = of("level_shift", "humidity")

    assert 3.0 == abs(episode.parameters["size"])
    assert [episode.parameters["size"] * 10.0] * LENGTH == pytest.approx((struck - healthy).tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("channel", "added"), [("vibration", np.sqrt(0.4 * 24) * 0.1), ("pressure", 500 / 3), ("temperature", 2 / 3)]
)
def test_the_noise_of_a_channel_is_a_multiple(channel: str, added: float) -> None:
    """Five times as large, or a third of the channel's deviation where that is more. The movement stays."""
    struck, healthy, episode = of("variance_change", channel)

    assert {"factor": 5.0} == episode.parameters
    assert added == pytest.approx((struck - healthy).std(), rel=0.3)
    assert abs((struck - healthy).mean()) < added / 2


def test_clipping_cuts_at_a_level() -> None:
    """A quarter of a deviation inside of the first value; beyond it nothing changes."""
    for number, size in ((0, 0.25), (1, -0.25)):
        struck, healthy, episode = of("clipping", "vibration", size, number=number)
        level = healthy[0] - size * 0.1
        clipped = np.minimum(healthy, level) if size > 0 else np.maximum(healthy, level)

        assert {"depth": size} == episode.parameters
        assert clipped.tolist() == pytest.approx(struck.tolist(), abs=1e-6)
        assert struck[0] != healthy[0]


def test_single_readings_drop_out() -> None:
    """To the physical limit; the first always does. Without a limit they fall to 0."""
    struck, healthy, episode = of("dropout", "pressure")
    fallen = struck == 30000.0

    assert {"probability": 0.3, "value": 30000.0} == episode.parameters
    assert 0.1 < fallen.mean() < 0.5
    assert fallen[0]
    assert healthy[~fallen].tolist() == struck[~fallen].tolist()
    endless = replace(TEMPERATURE, lowest=-1e12)
    struck_block, _, _ = with_and_without(injected("dropout", size=1.0), (endless,))
    assert {0.0} == set(struck_block.values[0, FIRST : FIRST + LENGTH].tolist())


def test_a_decoupled_channel_is_a_mirror() -> None:
    struck, healthy, _ = of("decoupling", "humidity")

    assert (2 * healthy[0] - healthy).tolist() == pytest.approx(struck.tolist(), abs=1e-5)


def test_a_value_out_of_range_is_beyond_a_limit() -> None:
    """By at most a fifth of the range; above and below. Of a longer episode, by at least half of the excess."""
    sides = set()
    for number in range(12):
        struck, _, episode = of("out_of_range", "voltage", length=1, number=number)
        excess = episode.parameters["excess"]
        sides.add(excess > 0)

        assert 0.02 <= abs(excess) <= 0.2
        assert (28.0 if excess > 0 else 20.0) + 8.0 * excess == pytest.approx(float(struck[0]), abs=1e-6)
    assert {True, False} == sides
    longer, _, episode = of("out_of_range", "voltage", 0.2)
    assert longer.min() >= 28.0 + 0.8 - 1e-6
    assert longer.max() <= 28.0 + 1.6 + 1e-6
    assert longer.std() > 0.1


def test_a_value_out_of_range_has_room_there() -> None:
    """Humidity has none, so it is not chosen; vibration has some above only."""
    chosen = set()
    for number in range(40):
        struck, _, episode = with_and_without(injected("out_of_range", length=1, number=number))
        chosen.add(episode.channels[0])
        if episode.channels == ("vibration",):
            assert struck.values[3, FIRST] > 10.0
    assert {"temperature", "pressure", "vibration", "voltage"} == chosen


def test_an_instrument_that_powers_up_has_constants() -> None:
    """All channels, far from what they measure."""
    struck, healthy, episode = with_and_without(injected("power_up", length=3))
    cut = slice(FIRST, FIRST + 3)

    assert tuple(NAMES) == episode.channels
    for channel, values, before in zip(CHANNELS, struck.values[:, cut], healthy.values[:, FIRST], strict=True):
        assert 1 == len(set(values.tolist()))
        assert channel.minimum < values[0] < channel.maximum
        assert abs(values[0] - before) > 2 * channel.std_dev


def test_pressure_without_compensation_is_wrong_by_some_percent() -> None:
    for number in range(5):
        struck, healthy, episode = with_and_without(injected("uncompensated", number=number))
        cut = slice(FIRST, FIRST + LENGTH)
        error = episode.parameters["error"]

        assert ("pressure",) == episode.channels
        assert 0.025 <= abs(error) <= 0.05
        assert (healthy.values[2, cut] * (1 + error)).tolist() == pytest.approx(
            struck.values[2, cut].tolist(), abs=1e-3
        )


def test_a_reset_value_is_none_of_the_usual_ones() -> None:
    """A range of a few deviations, whose quarters are among them: the constant lies outside."""
    narrow = replace(TEMPERATURE, mean=23.0, std_dev=2.0, minimum=18.0, maximum=28.0)

    assert 29.0 == reset_value(narrow)
    assert 25.5 == reset_value(replace(narrow, std_dev=0.5))


@pytest.mark.parametrize("channel", ["temperature", "vibration", "voltage"])
def test_a_sensor_without_pressure_shows_a_lack_of_compensation_in_another_channel(channel: str) -> None:
    """By two to four deviations at least, where some percent of the value are less."""
    (one,) = (each for each in CHANNELS if each.name == channel)
    for number in range(5):
        struck, healthy, episode = with_and_without(injected("uncompensated", channel, number=number), (one,))
        cut = slice(FIRST, FIRST + LENGTH)
        error = episode.parameters["error"]

        expected = error * np.maximum(np.abs(healthy.values[0, cut]), 80 * one.std_dev)
        limited = np.clip(healthy.values[0, cut] + expected, one.lowest, one.highest)
        assert limited.tolist() == pytest.approx(struck.values[0, cut].tolist(), abs=1e-5)
        assert np.abs(expected).min() >= 2 * one.std_dev * 0.99


def test_a_coupled_channel_is_decoupled() -> None:
    """Voltage here has nothing in common with another."""
    chosen = {with_and_without(injected("decoupling", number=number))[2].channels[0] for number in range(40)}

    assert {"temperature", "humidity", "pressure", "vibration"} == chosen


@pytest.mark.parametrize("declaration", [each for each in ANOMALY_CLASSES if not each.enabled_by_default])
def test_a_fault_that_began_before_the_epoch_goes_on(declaration: type[AnomalyType]) -> None:
    """Its first value is the first of the epoch, in blocks of any size."""
    spec = AnomalySpec(declaration.name, 1.0, 300, "seconds")
    injection = Injection("early", spec, NEW_YEAR - 20 * SECOND_US, NEW_YEAR + 60 * SECOND_US)
    generator = sensor(*CHANNELS, injection=injection)
    whole = generator.block(0, 100)
    parts = [generator.block(first, 10) for first in range(0, 100, 10)]

    assert np.concatenate([part.values for part in parts], axis=1).tobytes() == whole.values.tobytes()
    assert [(0, 59)] == [(each.first_seq, each.last_seq) for each in whole.episodes]
