"""A reading is a pure function of its address; episodes lie where they were asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.worker.samples import (
    ANOMALIES,
    CHANNELS,
    HUMIDITY,
    IDENTITY,
    MISSING,
    NEW_YEAR,
    NOISE,
    PATTERN,
    SPIKE,
    TEMPERATURE,
    TREND,
    VOLTAGE,
    settings,
    with_onset_mode,
)
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import HEALTHY_INDEX, MISSING_DATA_INDEX, Episode, SignalGenerator
from worker.spec import Settings

pytestmark = pytest.mark.claim("000.testing.1", "000.testing.8")

LONG = (
    SPIKE,
    replace(TREND, duration=300.0, unit="seconds"),
    replace(PATTERN, duration=600.0, unit="seconds"),
    replace(NOISE, share=0.01),
)
FINE = tuple(replace(channel, decimals=9, daily_amplitude=channel.std_dev) for channel in CHANNELS)


def generator(told: Settings, first_seq: int = 0, sensor_id: str = "CHI_123456", seed: int = 42) -> SignalGenerator:
    return SignalGenerator(seed, replace(IDENTITY, sensor_id=sensor_id), told, first_seq, NEW_YEAR)


PLANS = {
    "short": settings(*ANOMALIES, channels=FINE),
    "long": settings(*LONG),
    "onset": with_onset_mode(settings(*(replace(spec, share=0.005) for spec in ANOMALIES), rate="0.3")),
}


@pytest.mark.parametrize("told", PLANS.values(), ids=PLANS)
@given(cuts=st.lists(st.integers(1, 2_999), max_size=8), first_seq=st.sampled_from([0, 1_000_003]))
@hypothesis_settings(max_examples=25, deadline=None)
def test_blocks_of_any_sizes_join_bit_for_bit(told: Settings, cuts: list[int], first_seq: int) -> None:
    """However a stretch is cut, and whatever was asked for before: the same bytes, each episode begun once."""
    whole = generator(told, first_seq).block(first_seq, 3_000)
    ends = [0, *sorted(set(cuts)), 3_000]
    subject = generator(told, first_seq)
    pieces = {cut: subject.block(first_seq + cut[0], cut[1] - cut[0]) for cut in reversed(list(pairwise(ends)))}
    parts = [pieces[cut] for cut in pairwise(ends)]

    assert whole.times.tobytes() == np.concatenate([part.times for part in parts]).tobytes()
    assert whole.kinds.tobytes() == np.concatenate([part.kinds for part in parts]).tobytes()
    assert whole.values.tobytes() == np.concatenate([part.values for part in parts], axis=1).tobytes()
    assert whole.episodes == tuple(episode for part in parts for episode in part.episodes)


@pytest.mark.parametrize("told", PLANS.values(), ids=PLANS)
@pytest.mark.claim("001.introduction.4")
def test_labels_are_the_episodes(told: Settings) -> None:
    """What `block` marks is what `episodes` lists: same kinds, same readings, nothing besides."""
    subject = generator(told, 500)
    block = subject.block(500, 40_000)
    episodes = subject.episodes(500, 40_500)
    kinds = np.full(block.size, HEALTHY_INDEX, dtype=np.int8)
    for episode in episodes:
        kinds[episode.first_seq - 500 : episode.last_seq + 1 - 500] = ANOMALY_TYPES.index(episode.kind)

    assert kinds.tolist() == block.kinds.tolist()
    assert list(block.episodes) == episodes


@pytest.mark.parametrize("told", PLANS.values(), ids=PLANS)
def test_episodes_never_overlap(told: Settings) -> None:
    """One at a time per sensor, also across pages, each within what was asked for."""
    episodes = generator(told).episodes(0, 300_000)

    assert all(before.last_seq < after.first_seq for before, after in pairwise(episodes))
    assert {spec.kind for spec in told.anomalies} == {episode.kind for episode in episodes}


@pytest.mark.parametrize("told", PLANS.values(), ids=PLANS)
def test_episodes_have_their_length(told: Settings) -> None:
    """`duration` in readings, or in seconds x rate; only what began before the epoch is shorter."""
    rate = float(told.exact_rate)
    seconds = {spec.kind: spec.duration * (rate if spec.unit == "seconds" else 1) for spec in told.anomalies}
    episodes = generator(told, 1_000).episodes(1_000, 200_000)

    assert all(round(seconds[e.kind]) == e.last_seq - e.first_seq + 1 for e in episodes if e.first_seq > 1_000)


def test_a_short_duration_is_one_reading() -> None:
    rare = replace(TREND, duration=10.0, unit="seconds")

    assert {1} == {e.last_seq - e.first_seq + 1 for e in generator(settings(rare, rate="0.01")).episodes(0, 5_000)}


def test_an_epoch_begins_in_the_middle_of_things() -> None:
    """An episode that began before is recorded from the epoch's first reading on; none is missing_data there."""
    first_episodes: list[Episode] = []
    for number in range(200):
        subject = generator(settings(*ANOMALIES), 700, sensor_id=f"A{number}")
        block = subject.block(700, 100)
        assert block.kinds[0] != MISSING_DATA_INDEX
        assert all(700 <= episode.first_seq for episode in block.episodes)
        first_episodes.extend(episode for episode in block.episodes if episode.first_seq == 700)
    lengths = {episode.last_seq - episode.first_seq + 1 for episode in first_episodes if episode.kind == "pattern"}

    assert len(lengths) > 3


def test_other_sensors_seeds_and_epochs_are_independent() -> None:
    """Nothing of one sensor's noise is in another's; a seed or an id that differs at all changes everything."""
    told = settings(channels=(TEMPERATURE,))
    subjects = [
        generator(told),
        generator(told, sensor_id="CHI_123457"),
        generator(told, seed=43),
        generator(told, seed=42 + 2**64),
    ]
    signals = np.array([subject.block(0, 20_000).values[0] for subject in subjects])
    correlations = np.corrcoef(signals)[np.triu_indices(len(subjects), 1)]

    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)
    assert signals[0].tobytes() == generator(told).block(0, 20_000).values[0].tobytes()


def test_a_channel_left_out_leaves_the_others() -> None:
    """A channel's noise is addressed by its name; so are the episodes of the kinds."""
    some = generator(settings(*ANOMALIES, channels=(TEMPERATURE, VOLTAGE))).block(0, 2_000)
    healthy = generator(settings(channels=CHANNELS)).block(0, 2_000)
    calm = some.kinds == HEALTHY_INDEX

    assert healthy.values[0][calm].tolist() == some.values[0][calm].tolist()
    assert healthy.values[4][calm].tolist() == some.values[1][calm].tolist()


def test_a_change_of_settings_leaves_the_noise() -> None:
    """A new epoch goes on with the noise where it stood: only what was changed changes."""
    before, after = generator(settings()).block(1_000, 500), generator(settings(*ANOMALIES), 1_000).block(1_000, 500)
    calm = after.kinds == HEALTHY_INDEX

    assert before.values[:, calm].tolist() == after.values[:, calm].tolist()


@pytest.mark.claim("000.configuration-file.8")
def test_the_healthy_signal_keeps_within_its_bounds() -> None:
    """minimum and maximum are reached and never passed."""
    tight = replace(TEMPERATURE, minimum=20.5, maximum=23.25)
    values = generator(settings(channels=(tight,))).block(0, 5_000).values[0]

    assert (20.5, 23.25) == (values.min(), values.max())


def test_anomalies_keep_within_physical_limits_only() -> None:
    """A spike is to be seen above the healthy maximum, but humidity stays a percentage."""
    spikes = replace(SPIKE, share=0.3)
    humidity = generator(settings(spikes, channels=(HUMIDITY,))).block(0, 5_000).values[0]
    voltage = generator(settings(spikes, channels=(VOLTAGE,))).block(0, 5_000).values[0]

    assert 100.0 == humidity.max()
    assert voltage.max() > 60.0 > VOLTAGE.maximum


@pytest.mark.parametrize("decimals", [0, 2, 3, 9])
def test_values_are_rounded_to_the_channel(decimals: int) -> None:
    """Each value is the double nearest to its decimal, so that it is written short."""
    channel = replace(TEMPERATURE, decimals=decimals)
    values = generator(settings(*ANOMALIES, channels=(channel,))).block(0, 2_000).values[0].tolist()

    assert [round(value, decimals) for value in values] == values
    assert any(round(value, decimals - 1) != value for value in values)


@pytest.mark.claim("001.configuration-options.11")
def test_onset_mode_begins_episodes_with_the_given_probability() -> None:
    """Per healthy reading; six thousand onsets, so three in a hundred is more than two standard errors."""
    episodes = generator(with_onset_mode(settings(replace(TREND, share=0.01), replace(SPIKE, share=0.02)))).episodes(
        0, 250_000
    )
    healthy = 250_000 - sum(e.last_seq - e.first_seq + 1 for e in episodes)
    rates = [sum(e.kind == kind for e in episodes) / (healthy + len(episodes)) for kind in ("trend", "spike")]

    assert [0.01, 0.02] == pytest.approx(rates, rel=0.05)


def test_no_share_no_anomaly() -> None:
    assert [] == generator(settings(replace(SPIKE, share=0.0))).episodes(0, 100_000)
    assert not (generator(settings(replace(MISSING, share=0.0))).block(0, 1_000).kinds != HEALTHY_INDEX).any()
