"""The same address gives the same bytes, on every processor and under every version of Python and numpy.

The hashes are part of the promise: when one changes, every fleet that is out there changes its data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from typing import NamedTuple

import pytest

from tests.worker.samples import (
    CHANNELS,
    HUMIDITY,
    MISSING,
    NEW_YEAR,
    NOISE,
    PATTERN,
    SECOND_US,
    SPIKE,
    TEMPERATURE,
    TREND,
    VIBRATION,
    settings,
    with_onset_mode,
)
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import Block, SignalGenerator
from worker.spec import AnomalySpec, Identity, Settings, WorkingHours

DST_BEGINS = 1_772_953_200 * SECOND_US
"""2026-03-08T07:00:00Z, when clocks in New York go forward."""

PLACED = (
    replace(TEMPERATURE, daily_amplitude=2.0, working_hours=3.0, yearly_amplitude=9.4),
    replace(HUMIDITY, yearly_amplitude=-4.0, working_hours=-7.0),
    VIBRATION,
)
DAILY = (replace(TEMPERATURE, daily_amplitude=2.0), replace(HUMIDITY, daily_amplitude=-5.0), VIBRATION)
RARE_EDGE = (replace(VIBRATION, mean=0.1, minimum=0.0), replace(TEMPERATURE, mean=0.0, minimum=-4.0, decimals=9))
LONG = (
    SPIKE,
    AnomalySpec("trend", 0.02, 300, "seconds", (("max_change", 0.625),), (("temperature", 3.0),)),
    AnomalySpec("pattern", 0.01, 600, "seconds", (("amplitude", 5.0), ("frequency", 0.013))),
    AnomalySpec("missing_data", 0.01, 30, "seconds"),
    AnomalySpec("noise", 0.02, 180, "seconds", (("factor", 0.15), ("vibration_gain", 1.5))),
)
SHORT = (SPIKE, TREND, PATTERN, MISSING, NOISE)

FAULTS = tuple(
    AnomalySpec(kind, 0.03, length, "readings")
    for kind, length in (
        ("stuck_value", 20),
        ("stuck_at_limit", 10),
        ("drift", 30),
        ("level_shift", 20),
        ("variance_change", 20),
        ("clipping", 40),
        ("dropout", 15),
        ("decoupling", 30),
        ("out_of_range", 1),
        ("power_up", 3),
        ("uncompensated", 5),
    )
)


class Case(NamedTuple):
    settings: Settings
    digest: str
    sensor_id: str = "CHI_123456"
    timezone: str = "UTC"
    seed: int = 42
    first_seq: int = 0
    start_us: int = NEW_YEAR


CASES = {
    "all kinds, 1/s": Case(settings(*SHORT), "c43e6168a302b03c049c036a1bf5a35f9403db20adc8350d789181704a29b73c"),
    "another seed": Case(
        settings(*SHORT), "710c1dd1b564a668194ccf8747c2bc574a938b2e24fc52e50039e194a28f0348", seed=2**63 + 11
    ),
    "another sensor": Case(
        settings(*SHORT), "5ac6dd33f0e9532f754e1c1c6165d225f1d0c58aef4427cbb498126f9ab9e869", sensor_id="SÃO_000001"
    ),
    "later epoch": Case(
        settings(*SHORT), "590c1ea29f31f3440fbab58b2a029ba326350ba3f007ca12d81ff73379ae6c46", first_seq=123_457
    ),
    "no anomalies": Case(settings(), "427b2217bd86d272eb4075fc4f2a4704bdf3229b4d1a45646f20a390345f33dc"),
    "long episodes, 0.3/s": Case(
        settings(*LONG, rate="0.3"), "f624c98327ed440debfc36c94b3ea78ffb669c8725c1c3e12f520d528bdca05a"
    ),
    "long episodes, 10/s": Case(
        settings(*LONG, rate="10"), "8b7cba029a243e79e50e0db0f24a7906c85a5853cf0a3d617254bb5c8540b7bc"
    ),
    "onset, 7/s": Case(
        with_onset_mode(settings(*(replace(spec, share=0.004) for spec in SHORT), rate="7")),
        "a849eec1551d12697612e62c034e0e596798e0c4415da608daf950752a1278f6",
    ),
    "daily, DST begins": Case(
        settings(*SHORT, rate="0.1", channels=DAILY),
        "ab1eb2648d0856a44c72fb58972f69e6bb9074f02e5abaf3fe1f6a0c3548246d",
        timezone="America/New_York",
        start_us=DST_BEGINS - 10_000 * SECOND_US,
    ),
    "at work, through the seasons": Case(
        replace(settings(*SHORT, rate="0.01", channels=PLACED), working_hours=WorkingHours(6, 14, 6)),
        "bbd30dd443d9235a782361129e02dc736eab8a444f93e1582ff835107b2d12cd",
        timezone="America/Denver",
    ),
    "daily, a reading in 11 days": Case(
        settings(*SHORT, rate="0.000001", channels=DAILY),
        "d8dc65b4c9a43253688bb3d13d1f29df383320a0b4a0f984ebb113270e0ddd53",
        timezone="Asia/Kathmandu",
    ),
    "100000/s": Case(
        settings(*SHORT, rate="100000"), "aff5a3027eaf998ddc4494c8e0f96be4d7bcd71e3864d9b22b9044de72fac1e7"
    ),
    "version 2, all kinds": Case(
        replace(settings(*SHORT, channels=DAILY), version=2),
        "7ee09601eb3f1d4e12129d2b621b80bb9a8a7f0fca92217fb12c0b98dd7844f9",
    ),
    "version 2, faults of instruments": Case(
        replace(settings(*FAULTS), version=2),
        "5fbe2ff8963437e3ccc1b62056f955a1006a163b8cd658d9397be4611acf02a8",
    ),
    "at the bounds": Case(
        settings(*SHORT, channels=RARE_EDGE), "a594c35be6a25515fd322d1bda0b36f15e379c5e7e7d949458166bd132603f50"
    ),
}


def blocks(case: Case) -> Iterator[Block]:
    """The first readings, and some far out, in blocks that begin and end anywhere."""
    identity = Identity(case.sensor_id, timezone=case.timezone)
    generator = SignalGenerator(case.seed, identity, case.settings, case.first_seq, case.start_us)
    for first, count in ((0, 1), (1, 2_999), (3_000, 1_777), (90_000, 1_000)):
        yield generator.block(case.first_seq + first, count)


def digest(case: Case) -> str:
    """SHA-256 over times, kinds, values and episodes of all blocks."""
    found = sha256()
    for block in blocks(case):
        found.update(block.times.astype("<i8").tobytes())
        found.update(block.kinds.astype("<i1").tobytes())
        found.update(block.values.astype("<f8").tobytes())
        found.update(json.dumps([asdict(episode) for episode in block.episodes]).encode())
    return found.hexdigest()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.claim("001.introduction.2")
def test_readings_are_the_same_everywhere(case: Case) -> None:
    """Times, kinds, values to the last bit, and episodes are those of the day when this was written."""
    assert case.digest == digest(case)


def test_every_kind_and_channel_is_among_them() -> None:
    """What is not in here could change unseen."""
    episodes = [episode for case in CASES.values() for block in blocks(case) for episode in block.episodes]

    assert set(ANOMALY_TYPES) == {episode.kind for episode in episodes}
    assert {channel.name for channel in CHANNELS} == {name for episode in episodes for name in episode.channels}
