"""A classifier that knows all labels so far does not foresee the next episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from tests.worker.readings.test_random_placement import placed
from tests.worker.samples import settings
from worker.readings.placement import LayerStreams, even_episodes
from worker.readings.random_streams import RandomStreams
from worker.schedule import IntArray
from worker.spec import AnomalySpec, Identity, Placement, Settings

READINGS, SAMPLES = 10_000_000, 100_000
EVEN_READINGS, EVEN_SAMPLES = 2_000_000, 40_000
WINDOWS = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 28_800)
AHEAD = (30, 600)

MIXED = settings(
    AnomalySpec("spike", 0.02, 1, "readings"),
    AnomalySpec("drift", 0.02, 15, "readings"),
    AnomalySpec("noise", 0.02, 10, "readings", lengths="exponential"),
    AnomalySpec("missing_data", 0.01, 5, "readings", lengths="uniform", longest=20),
)

Episodes = tuple[IntArray, IntArray, IntArray]


def packaged() -> Settings:
    return settings_for(load_config(None), load_catalogue(), Identity("A"))


def episodes_of(settings: Settings, seed: int) -> Episodes:
    """First and last readings of all episodes, and the indexes of their types in the settings."""
    if settings.placement == "random":
        return placed(settings, READINGS, seed)
    streams = LayerStreams(RandomStreams(seed, "A"), 0)
    found = even_episodes(streams, 0, settings, settings.anomalies).between(0, EVEN_READINGS)
    firsts, lasts, kinds = np.array([(each.first_seq, each.last_seq, each.kind) for each in found]).T
    return firsts, lasts, kinds


def features_at(points: IntArray, firsts: IntArray, lasts: IntArray) -> list[IntArray]:
    """The times since the last onsets and ends, and the numbers of onsets in windows before each of the points."""
    begun = np.searchsorted(firsts, points, side="right")
    back = [np.maximum(begun - number, 0) for number in (1, 2, 3)]
    counts = [begun - np.searchsorted(firsts, points - window, side="right") for window in WINDOWS]
    return [*(points - firsts[each] for each in back), *(points - lasts[each] for each in back), *counts]


def foresight(episodes: Episodes, readings: int, samples: int) -> dict[tuple[int, int], float]:
    """The area under the curve of a classifier, by type and readings ahead, at healthy readings of the second half."""
    firsts, lasts, kinds = episodes
    change = np.zeros(readings + 1, dtype=np.int8)
    np.add.at(change, firsts[firsts < readings], 1)
    np.add.at(change, lasts[lasts < readings] + 1, -1)
    healthy = np.flatnonzero(np.cumsum(change[:readings]) == 0)
    healthy = healthy[(healthy > max(WINDOWS)) & (healthy < readings - max(AHEAD))]
    points = np.sort(np.random.default_rng(0).choice(healthy, samples, replace=False))
    columns = features_at(points, firsts, lasts)
    for kind in np.unique(kinds):
        columns += features_at(points, firsts[kinds == kind], lasts[kinds == kind])
    inputs: npt.NDArray[np.float64] = np.array(columns, dtype=float).T
    half = samples // 2
    found = {}
    for kind in np.unique(kinds):
        own = firsts[kinds == kind]
        for ahead in AHEAD:
            outcome = np.searchsorted(own, points + ahead, side="right") > np.searchsorted(own, points, side="right")
            if not 0.002 < outcome.mean() < 0.99:  # too few of one of the two for a figure
                continue
            model = HistGradientBoostingClassifier(
                max_iter=40, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=500
            )
            with threadpool_limits(1):  # its threads wait by turning the processor, which other tests need
                model.fit(inputs[:half], outcome[:half])
                scores = model.predict_proba(inputs[half:])[:, 1]
            found[int(kind), ahead] = float(roc_auc_score(outcome[half:], scores))
    return found


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("case", "placement", "low", "high"),
    [
        (packaged(), "random", 0.45, 0.52),
        (replace(MIXED, version=3), "random", 0.45, 0.52),
        (packaged(), "even", 0.7, 1.0),
    ],
    ids=["packaged", "varied", "even"],
)
def test_the_past_does_not_tell_the_next_episode(case: Settings, placement: Placement, low: float, high: float) -> None:
    """Over ten million readings, in the next half minute and in the next ten minutes. Of even placement it tells a lot."""
    size = (EVEN_READINGS, EVEN_SAMPLES) if placement == "even" else (READINGS, SAMPLES)
    found = foresight(episodes_of(replace(case, placement=placement), 5), *size)

    assert len(found) >= 6
    assert max(found.values()) <= high, found
    assert (max if placement == "even" else min)(found.values()) >= low, found


@pytest.mark.thorough
@pytest.mark.parametrize("multiplier", [0.5, 1.0, 3.0, 10.0])
def test_shares_over_ten_million_readings(multiplier: float) -> None:
    """Within 2 % of what was asked for."""
    case = packaged()
    case = replace(case, anomalies=tuple(replace(each, share=each.share * multiplier) for each in case.anomalies))
    firsts, lasts, kinds = episodes_of(case, 5)
    lengths = np.maximum(np.minimum(lasts, READINGS - 1) - firsts + 1, 0)

    asked = sum(each.share for each in case.anomalies)
    assert asked == pytest.approx(lengths.sum() / READINGS, rel=0.02)
    for kind, each in enumerate(case.anomalies):
        covered = lengths[kinds == kind].sum()
        assert each.share == pytest.approx(covered / READINGS, rel=0.06)
