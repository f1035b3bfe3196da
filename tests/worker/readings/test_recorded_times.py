"""The time that a reading records, where it differs from the time at which it is due: jitter, and errors of the clock."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.worker.readings.test_instrument_faults import CHANNELS
from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND_US, TEMPERATURE
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import Block, Episode, SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray
from worker.spec import AnomalySpec, Injection, Settings
from worker.storage.schema import settings_from_json, settings_text

FIRST = 500
CLOCKS = (
    AnomalySpec("clock_jump", 0.1, 40, "readings"),
    AnomalySpec("clock_drift", 0.1, 30, "readings", (("seconds", 12.0),)),
    AnomalySpec("wrong_zone", 0.1, 20, "readings"),
)


def generator(settings: Settings, first: int = FIRST, timezone: str = IDENTITY.timezone) -> SignalGenerator:
    return SignalGenerator(42, replace(IDENTITY, timezone=timezone), settings, first, NEW_YEAR)


def of_channels(*anomalies: AnomalySpec, jitter: float = 0.0, rate: str = "1") -> Settings:
    return Settings(rate, CHANNELS, anomalies, version=2, jitter=jitter)


def recorded_error(episode: Episode, count: int) -> IntArray:
    """The error of the clock in microseconds at the first `count` readings of an episode, as docs/anomalies.md has it."""
    seconds, numbers = episode.parameters["seconds"], np.arange(1, count + 1)
    if episode.kind != "clock_drift":
        return np.full(count, round(seconds * 1e6))
    progress = (numbers + episode.parameters.get("before", 0)) / episode.parameters["readings"]
    error: IntArray = np.rint(progress * round(seconds * 1e6)).astype(np.int64)
    return error


def true_times(block: Block, episodes: list[Episode]) -> IntArray:
    """The times of a block that begins with the epoch, without the recorded errors of the clock."""
    times = block.times.copy()
    for episode in episodes:
        begin, end = episode.first_seq - block.first, min(episode.last_seq + 1, block.end) - block.first
        if "seconds" in episode.parameters:
            times[begin:end] -= recorded_error(episode, end - begin)
    return times


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("overlap", ["none", "channels"])
def test_recorded_times_join_however_readings_are_cut(version: int, overlap: str) -> None:
    """Bit for bit, values too, with jitter and wrong clocks among other anomalies."""
    settings = of_channels(*CLOCKS, *ANOMALIES, jitter=0.7)
    settings = replace(settings, version=version, overlap=overlap)  # type: ignore[arg-type]
    whole = generator(settings).block(FIRST, 9_000)
    for edges in ([0, 1, 2, 700, 701, 5_000, 9_000], [*range(0, 9_001, 150)]):
        subject = generator(settings)
        parts = [subject.block(FIRST + first, end - first) for first, end in reversed(list(pairwise(edges)))][::-1]

        assert np.concatenate([part.times for part in parts]).tobytes() == whole.times.tobytes()
        assert np.concatenate([part.values for part in parts], axis=1).tobytes() == whole.values.tobytes()
        assert np.concatenate([part.kinds for part in parts]).tobytes() == whole.kinds.tobytes()
        assert [each for part in parts for each in part.episodes] == list(whole.episodes)


@pytest.mark.parametrize("rate", ["3", "1000", "100000", "7/60", "999.999"])
@pytest.mark.parametrize("jitter", [0.3, 0.99, 0.9999999999999999])
def test_times_with_jitter_increase_strictly(rate: str, jitter: float) -> None:
    """Each is at most that part of the interval before the reading is due; that of an epoch's first reading is exact."""
    subject = generator(of_channels(jitter=jitter, rate=rate))
    recorded = np.concatenate([subject.block(first, 20_000).times for first in (FIRST, FIRST + 20_000)])
    early = subject.schedule.times(FIRST, 40_000) - recorded
    interval = 1e6 / float(subject.settings.exact_rate)

    assert 0 == early[0]
    assert 0 <= early.min()
    assert early.max() < jitter * interval
    assert 0.4 * jitter * interval - 1 < early.mean() < 0.6 * jitter * interval
    assert (np.diff(recorded) > 0).all()


def test_jitter_is_measured_at_the_recorded_time() -> None:
    """A value is that of a sensor without jitter that measures at the same moment."""
    channel = replace(TEMPERATURE, std_dev=0.0, decimals=9, daily_amplitude=20.0)
    block = generator(Settings("1/60", (channel,), version=2, jitter=0.9)).block(FIRST, 300)

    def value_at(time_us: int) -> FloatArray:
        return SignalGenerator(42, IDENTITY, Settings("1/60", (channel,), version=2), 0, time_us).block(0, 1).values

    assert [value_at(time)[0, 0] for time in block.times.tolist()] == block.values[0].tolist()


def test_jitter_changes_no_label() -> None:
    """Episodes are at the same readings as without it, and only the times are others."""
    with_jitter, without = (
        generator(of_channels(*ANOMALIES, jitter=jitter)).block(FIRST, 5_000) for jitter in (0.5, 0.0)
    )

    assert with_jitter.kinds.tolist() == without.kinds.tolist()
    assert with_jitter.episodes == without.episodes
    assert generator(of_channels()).schedule.times(FIRST, 5_000).tolist() == without.times.tolist()


def test_settings_without_jitter_are_stored_as_before() -> None:
    settings, with_jitter = of_channels(*CLOCKS), of_channels(*CLOCKS, jitter=0.25)

    assert "jitter" not in settings_text(settings)
    assert 0.25 == json.loads(settings_text(with_jitter))["jitter"]
    assert [settings, with_jitter] == [
        settings_from_json(json.loads(settings_text(s))) for s in (settings, with_jitter)
    ]


@pytest.mark.parametrize("jitter", [0.0, 0.8])
@pytest.mark.parametrize("kind", CLOCKS, ids=lambda spec: spec.kind)
def test_a_wrong_clock_changes_the_recorded_time_alone(kind: AnomalySpec, jitter: float) -> None:
    """The true times follow from the recorded parameters, also of an episode that had begun before its epoch."""
    for first in range(FIRST, FIRST + 20):  # in some of these epochs an episode begins before
        settings = of_channels(kind, jitter=jitter)
        subject, right = (
            generator(settings, first),
            generator(replace(settings, anomalies=()), first).block(first, 1_500),
        )
        block = subject.block(first, 1_500)
        struck = block.kinds >= 0

        assert block.values.tobytes() == right.values.tobytes()
        assert 0.05 < struck.mean() < 0.2
        assert {ANOMALY_TYPES.index(kind.kind)} == set(block.kinds[struck].tolist())
        assert ((block.times != right.times) == struck).all()
        assert right.times.tolist() == true_times(block, subject.episodes(first, first + 1_500)).tolist()


def test_an_episode_that_began_before_its_epoch_is_recoverable() -> None:
    """One of the epochs of the test above begins in one, and its record says how many readings are before it."""
    found = [
        episode.parameters.get("before", 0)
        for first in range(FIRST, FIRST + 60)
        for episode in generator(of_channels(CLOCKS[1]), first).block(first, 1).episodes
    ]

    assert any(found)


@pytest.mark.parametrize(
    ("timezone", "seconds"),
    [("America/Chicago", -21_600.0), ("UTC", 3_600.0), ("Europe/London", 3_600.0), ("Asia/Kolkata", 19_800.0)],
)
def test_a_wrong_zone_shows_local_time(timezone: str, seconds: float) -> None:
    block = generator(of_channels(CLOCKS[2]), timezone=timezone).block(FIRST, 1_000)
    times = generator(of_channels()).schedule.times(FIRST, 1_000)

    assert {seconds} == {episode.parameters["seconds"] for episode in block.episodes}
    assert {round(seconds * 1e6)} == set((block.times - times)[block.kinds >= 0].tolist())


@pytest.mark.parametrize("size", [45.0, -45.0])
@pytest.mark.parametrize("kind", ["clock_jump", "clock_drift"])
def test_an_injected_error_has_its_size(kind: str, size: float) -> None:
    """From the first reading to the last, or at the last, seconds fast or slow."""
    begin = NEW_YEAR + 10 * SECOND_US
    spec = AnomalySpec(kind, 1.0, 20, "seconds", (("seconds", size),))
    injection = Injection("one", spec, begin, begin + 20 * SECOND_US, sized=True)
    block = generator(replace(of_channels(), injection=injection)).block(FIRST, 50)
    error = (block.times - generator(of_channels()).schedule.times(FIRST, 50)) / 1e6

    assert size == block.episodes[0].parameters["seconds"] == error[29]
    assert (size if kind == "clock_jump" else size / 20) == error[10]
    assert not error[[9, 30]].any()


def test_a_wrong_clock_labels_its_readings_among_anomalies_of_channels() -> None:
    """A row tells that its time is wrong, whatever else is wrong with it."""
    spikes = AnomalySpec("level_shift", 0.3, 15, "readings")
    subject = generator(replace(of_channels(*CLOCKS, spikes), overlap="channels"))
    block = subject.block(FIRST, 5_000)
    wrong = np.zeros(5_000, dtype=bool)
    for episode in subject.episodes(FIRST, FIRST + 5_000):
        if not episode.channels:
            wrong[episode.first_seq - FIRST : episode.last_seq + 1 - FIRST] = True
    clocks = [ANOMALY_TYPES.index(spec.kind) for spec in CLOCKS]

    assert wrong.tolist() == np.isin(block.kinds, clocks).tolist()
    assert wrong.tolist() == (block.times != subject.schedule.times(FIRST, 5_000)).tolist()
