"""Anomalies at random places: nothing before an episode foretells it, and the shares are those that were asked for."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from tests.worker.readings.golden_settings import LONG, SHORT, VARIED
from tests.worker.readings.test_overlap import overlapping
from tests.worker.samples import IDENTITY, NEW_YEAR, settings
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import Episode, SignalGenerator
from worker.readings.placement import LayerStreams, episode_lengths, random_episodes
from worker.readings.random_episodes import EPISODES_PER_WINDOW, OnsetProcess, OnsetRule
from worker.readings.random_streams import RandomStreams
from worker.schedule import IntArray
from worker.spec import AnomalySpec, Settings
from worker.storage.schema import settings_from_json, settings_to_json


def at_random(*anomalies: AnomalySpec, mode: Literal["share", "onset"] = "share") -> Settings:
    return replace(settings(*anomalies), version=3, placement="random", mode=mode)


def signals(settings: Settings, first_seq: int = 0, seed: int = 7) -> SignalGenerator:
    return SignalGenerator(seed, IDENTITY, settings, first_seq, NEW_YEAR)


def placed(settings: Settings, count: int, seed: int = 7) -> tuple[IntArray, IntArray, IntArray]:
    """The first and last readings of the episodes among the first `count` readings, and the indexes of their types."""
    streams = LayerStreams(RandomStreams(seed, "A"), 0)
    episodes = random_episodes(streams, 0, settings, settings.anomalies)
    window = episodes.window_with(0)
    windows = [window]
    while window.end < count:
        window = episodes.window_after(window)
        windows.append(window)
    columns = [(each.starts, each.lasts, each.kinds) for each in windows]
    starts, lasts, kinds = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return starts, lasts, kinds


def covered(settings: Settings, count: int, seed: int = 7) -> list[int]:
    """The readings among the first `count` that each type covers."""
    starts, lasts, kinds = placed(settings, count, seed)
    lengths = np.maximum(np.minimum(lasts, count - 1) - starts + 1, 0)
    return [int(lengths[kinds == kind].sum()) for kind in range(len(settings.anomalies))]


CASES = {
    "short": at_random(*SHORT),
    "long": at_random(*LONG),
    "varied": at_random(*VARIED, SHORT[0]),
    "onset": at_random(*(replace(spec, share=0.002) for spec in LONG), mode="onset"),
    "nine in ten": at_random(*(replace(spec, share=0.18) for spec in SHORT)),
    "overlap": replace(overlapping(), placement="random", version=3),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_any_reading_is_found_without_those_before_it(case: Settings) -> None:
    """Blocks of any sizes join bit for bit, in any order, and each has the episodes that begin in it."""
    whole = signals(case, 50).block(50, 12_000)
    generator = signals(case, 50)
    rng = np.random.default_rng(1)
    cuts = [50, *sorted(set(rng.integers(51, 12_050, 30).tolist())), 12_050]
    ranges = list(itertools.pairwise(cuts))
    rng.shuffle(ranges)
    for first, end in ranges:
        block = generator.block(first, end - first)
        expected = whole.between(first, end)
        assert block.values.tobytes() == expected.values.tobytes()
        assert block.kinds.tolist() == expected.kinds.tolist()
        assert block.episodes == expected.episodes
    assert whole.episodes


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_far_out_it_is_the_same(case: Settings) -> None:
    """As after all the readings before."""
    far = 3_000_000
    before = signals(case)
    before.episodes(far - 5_000, far)

    assert before.episodes(far, far + 5_000) == signals(case).episodes(far, far + 5_000)
    assert signals(case).episodes(far, far + 5_000)


def test_an_epoch_begins_with_a_healthy_reading_or_an_onset() -> None:
    """No episode is under way whose beginning is not on record."""
    case = at_random(*(replace(spec, share=0.15) for spec in LONG))
    for first in range(0, 40_000, 1_000):
        for episode in signals(case, first).episodes(first, first + 1):
            assert first == episode.first_seq


def test_episodes_do_not_overlap_and_have_their_lengths() -> None:
    starts, lasts, kinds = placed(CASES["long"], 500_000)

    assert (starts[1:] > lasts[:-1]).all()
    for kind, spec in enumerate(LONG):
        assert {episode_lengths(spec, 1.0)[0]} == set((lasts - starts + 1)[kinds == kind].tolist())


@pytest.mark.parametrize("name", ["short", "varied", "nine in ten"])
def test_shares_are_those_asked_for(name: str) -> None:
    case, count = CASES[name], 600_000 if name == "nine in ten" else 2_000_000
    readings = covered(case, count)

    assert sum(spec.share for spec in case.anomalies) == pytest.approx(sum(readings) / count, rel=0.02)
    assert [spec.share for spec in case.anomalies] == pytest.approx([each / count for each in readings], rel=0.1)


def test_onsets_have_their_probability() -> None:
    """Of a healthy reading."""
    case, count = CASES["onset"], 2_000_000
    starts, lasts, kinds = placed(case, count)
    healthy = count - (np.minimum(lasts, count - 1) - starts + 1)[starts < count].sum()

    numbers = [int((kinds[starts < count] == kind).sum()) for kind in range(len(case.anomalies))]
    assert [0.002 * healthy] * len(numbers) == pytest.approx(numbers, rel=0.12)


def test_lengths_vary_as_configured() -> None:
    """Between two ends, or exponentially about a mean; a fixed length is the only one."""
    uniform, exponential = (episode_lengths(spec, 10.0) for spec in VARIED)

    assert 16 == len(set(uniform)) == len(set(exponential))
    assert 200 < min(uniform) < max(uniform) < 3000
    assert 1600 == pytest.approx(np.mean(uniform), rel=0.001)
    assert 600 == pytest.approx(np.mean(exponential), rel=0.001)
    assert np.log(2) == pytest.approx(np.median(exponential) / 600, rel=0.03)
    assert (300,) == episode_lengths(LONG[1], 1.0)
    assert (1,) * 16 == episode_lengths(replace(VARIED[0], duration=0.01, longest=0.02), 1.0)


def test_gaps_are_those_of_a_poisson_process() -> None:
    """Healthy readings between two onsets of a type are distributed exponentially, and a gap does not tell the next."""
    starts, lasts, kinds = placed(CASES["long"], 5_000_000)
    healthy = starts - np.concatenate(([0], np.cumsum(lasts - starts + 1)[:-1]))  # those before each onset
    for kind in (0, 3):
        gaps = np.diff(healthy[kinds == kind])
        scaled = np.sort(gaps / gaps.mean())
        distance = np.abs((np.arange(len(gaps)) + 0.5) / len(gaps) - (1 - np.exp(-scaled))).max()
        assert (
            distance < 1.6 / np.sqrt(len(gaps)) + 0.5 / gaps.mean()
        )  # Kolmogorov-Smirnov, 1 in 100; gaps are whole numbers
        assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 3.5 / np.sqrt(len(gaps))


def test_a_window_has_some_episodes() -> None:
    """Far fewer would be slow, far more would take memory."""
    case = CASES["short"]
    episodes = random_episodes(LayerStreams(RandomStreams(7, "A"), 0), 0, case, case.anomalies)

    assert EPISODES_PER_WINDOW / 4 < len(episodes.window_with(123_456).starts) < EPISODES_PER_WINDOW * 4


def test_the_number_of_onsets_before_a_place_is_that_of_those_found() -> None:
    process = OnsetProcess(RandomStreams(3, "A"), 0, OnsetRule("spike", 0, 0.013, 1, 8), 0.3)
    counted = [len(process.between(0, end).positions) for end in (0, 1, 100, 12_345, 400_000)]

    assert counted == [process.count_before(end) for end in (0, 1, 100, 12_345, 400_000)]
    assert counted == [
        OnsetProcess(RandomStreams(3, "A"), 0, OnsetRule("spike", 0, 0.013, 1, 8), 0.3).count_before(end)
        for end in (0, 1, 100, 12_345, 400_000)
    ]
    assert 400_000 * 0.013 == pytest.approx(counted[-1], rel=0.02)


def test_an_epoch_keeps_how_episodes_are_placed() -> None:
    """What is not said is left out, as in epochs of earlier versions."""
    for case in CASES.values():
        assert case == settings_from_json(settings_to_json(case))
    stored = settings_to_json(settings(*LONG))
    assert "placement" not in stored
    assert "lengths" not in stored["anomalies"][0]


def episodes_of(settings: Settings) -> list[Episode]:
    return signals(settings).episodes(0, 100_000)


def test_one_type_does_not_depend_on_the_parameters_of_another() -> None:
    """Nor on the order of the types."""
    case = CASES["long"]
    other = replace(case, anomalies=(*case.anomalies[:-1], replace(case.anomalies[-1], parameters=())))

    assert [each for each in episodes_of(case) if each.kind != "noise"] == [
        each for each in episodes_of(other) if each.kind != "noise"
    ]
    assert episodes_of(case) == episodes_of(replace(case, anomalies=case.anomalies[::-1]))
    assert {spec.kind for spec in LONG} <= set(ANOMALY_TYPES)
