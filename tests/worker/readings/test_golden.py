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

from tests.worker.readings.golden_settings import (
    CLOCKS,
    DAILY,
    DST_BEGINS,
    FAULTS,
    LONG,
    PLACED,
    RARE_EDGE,
    RULES,
    SHORT,
    VARIED,
    composed,
    kind,
)
from tests.worker.samples import (
    CHANNELS,
    IDENTITY,
    NEW_YEAR,
    SECOND_US,
    settings,
    with_onset_mode,
)
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import Block, SignalGenerator
from worker.readings.signals import SIGNAL_NAMES
from worker.spec import (
    AnomalySpec,
    Identity,
    Injection,
    Settings,
    WorkingHours,
)


class Case(NamedTuple):
    settings: Settings
    digest: str
    sensor_id: str = "CHI_123456"
    timezone: str = "UTC"
    seed: int = 42
    first_seq: int = 0
    start_us: int = NEW_YEAR
    identity: Identity = Identity("")
    """All else that is known of the sensor."""


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
    "version 2, composed": Case(
        composed(*SHORT),
        "70a0c2554654ec03791f9b22214288d7378f5a7d19c246d707ee2584fe22bdd9",
        timezone="Europe/Vienna",
        identity=IDENTITY,
    ),
    "version 2, composed, no place": Case(
        composed(*SHORT), "3ba9747048a93fea7c398ec73b5c2a38059949cad75e8115116c9e24ee2245b5"
    ),
    "version 2, composed, 50/s": Case(
        composed(*SHORT, rate="50"),
        "9288dd939f8280b0fc0b24490855860a7aae96433224bd4ba85c1bc2f55ec328",
        identity=IDENTITY,
    ),
    "version 2, composed, every 5 min": Case(
        composed(*SHORT, rate="1/300"),
        "75c413f90616543e8248a647fed53916f6476a5c8f5920815e2b2acf880543d1",
        timezone="Asia/Kathmandu",
        identity=IDENTITY,
    ),
    "version 2, composed, every day": Case(
        composed(rate="1/86400"),
        "50c2b008105c3e5456c1f0c16d609285a363b3d6229f31e32e69bf6b79061bad",
        timezone="America/New_York",
        identity=IDENTITY,
        start_us=DST_BEGINS,
    ),
    "version 2, composed, 100000/s": Case(
        composed(*SHORT, rate="100000"),
        "a1f910aae5de18b077ba05a189591b2bc5511e8d3d1757e4655cdc64bd8e7822",
        identity=IDENTITY,
    ),
    "version 2, composed, later epoch": Case(
        composed(*SHORT),
        "5adf2de62933872449b52caf62386754c0b131767ee1c575c0089d325c7f4e43",
        first_seq=123_457,
        start_us=NEW_YEAR + 7_654_321,
        identity=IDENTITY,
    ),
    "version 2, composed, at the pole": Case(
        composed(*SHORT),
        "07c6bd298a9bfde4b58c1478ad050be8d40d4ec7bbabe0d70795c23e55473e28",
        seed=2**63 + 11,
        identity=replace(IDENTITY, latitude=-90.0, longitude=180.0),
    ),
    "version 2, composed, of a location": Case(
        composed(rate="0.3"),
        "88cc6a54a5d87e310efcd72d08301d7d9bc951961ebd3be2f995b3cb1fa77dfb",
        sensor_id="SÃO_000001",
        identity=Identity("", location="Cellar", installation_date="2010-05-06"),
        start_us=-300_000_000 * SECOND_US,
    ),
    "version 2, composed, overlap": Case(
        replace(composed(*SHORT, *FAULTS), overlap="channels"),
        "ed5657b2547b8be731f6f82f477e10c67fdfe14fe7d4d38af751e413dfbf3dcc",
        identity=IDENTITY,
    ),
    "version 2, composed, onset": Case(
        with_onset_mode(composed(*(replace(spec, share=0.004) for spec in SHORT))),
        "74535c6ed36df1648b6e4b12170073606d9729711a246efe2d0794e059ef7b14",
        identity=IDENTITY,
    ),
    "version 2, composed, injected": Case(
        replace(
            composed(*SHORT),
            injection=Injection(
                "1",
                AnomalySpec("drift", 1.0, 2000, "seconds"),
                NEW_YEAR + 500 * SECOND_US,
                NEW_YEAR + 2500 * SECOND_US,
                "bearing",
            ),
        ),
        "44ed21f0998f63a5e7c4feb79ddb4297fca64fbdda8e3848e4217537fdf50a0c",
        identity=IDENTITY,
    ),
    "version 2, environmental": Case(
        kind("environmental"), "8565a8abb56229adeffc058b102e6ea86869d9c2677d47f4d081c3a8a86aad10", identity=IDENTITY
    ),
    "version 2, environmental, every 5 min": Case(
        kind("environmental", "1/300"),
        "ca09610fdf9d151a20511647f8cbdd7a8af6e5088eb652a8393671e12e7d21ca",
        identity=IDENTITY,
    ),
    "version 2, temperature_vibration": Case(
        kind("temperature_vibration", "50"),
        "6a8bebd0e175d6a501367ac95d8f83f9030f69196781f6c7605eb277be772c97",
        identity=IDENTITY,
    ),
    "version 2, bme280": Case(
        kind("bme280", "0.1"),
        "d1222f4e95df3babf2d03bfb01b130320812dfe380d353f94a3eb99fca1493dc",
        timezone="Europe/Berlin",
        identity=IDENTITY,
    ),
    "version 2, pipeline pressure": Case(
        kind("pipeline pressure"), "3295b06b22a77f1783de8664e743d54f333765c4b2492f25cd90ee1811247667", identity=IDENTITY
    ),
    "version 2, pipeline temperature": Case(
        kind("pipeline temperature", "1/60"),
        "28c8be1fd494e6faa9ddead6fc7c5813b0bf59d8f34d6268ba04c9fa4a9e7678",
        identity=IDENTITY,
    ),
    "version 2, pipeline flow": Case(
        kind("pipeline flow_rate"),
        "e9c5cc008362cd80e969b4e38eafe036c71413aacc79633ad6ed2dab66c7d523",
        identity=IDENTITY,
    ),
    "version 2, pipeline vibration": Case(
        kind("pipeline vibration", "10"),
        "b2eefe4cb1544aaabab4577f7dfcb6c5c94c405d8da8b97d4fb5f440dbad8c11",
        identity=IDENTITY,
    ),
    "version 2, pipeline corrosion": Case(
        kind("pipeline corrosion", "1/3600"),
        "f1de7c3aaf21c2cf56781724a1c8a53a49f1773614d621d006461c5d162c7418",
        identity=IDENTITY,
    ),
    "version 2, pipeline humidity": Case(
        kind("pipeline humidity"), "e2c793b7b19e9d144d88f0d835fcd1b57ea9e7e87ed2a80b8d13e6830f706d2f", identity=IDENTITY
    ),
    "version 2, pipeline gas": Case(
        kind("pipeline gas_detector"),
        "b6f8cf6f9f9ac6485946a43361a4b441e6ab32373f6f20f226f0ed8665fa0671",
        identity=IDENTITY,
    ),
    "version 2, pipeline valve": Case(
        kind("pipeline valve_position"),
        "131db68b97161a3920004fed7ab7101c6f842730758514a003481f2cdee376ee",
        identity=IDENTITY,
    ),
    "version 2, air_quality": Case(
        kind("air_quality"), "ce8771701421b21ddde35d8a4d68cea359fdd31b04b4006c9268c8a8a3912372", identity=IDENTITY
    ),
    "version 2, wind_turbine": Case(
        kind("wind_turbine"), "e726a1581257c712571ff3c790483985b937c2ec999a0d0cd02084b6f9b2f132", identity=IDENTITY
    ),
    "jitter, wrong clocks": Case(
        replace(settings(*CLOCKS, *SHORT, rate="7"), jitter=0.9),
        "818dca10b3a06c283f3fc9f3a5778817e5d0046e9c9b2f85de392733d4c24c13",
        timezone="Asia/Kolkata",
    ),
    "version 2, composed, overlap, jitter, wrong clocks": Case(
        replace(composed(*CLOCKS, *FAULTS), overlap="channels", jitter=0.25),
        "d2bf2c92f033fc6a093954268bc7bbadb8cf317a5e5764c6c4b80ecaf332e287",
        first_seq=1_003,
        timezone="America/New_York",
        start_us=DST_BEGINS,
        identity=IDENTITY,
    ),
    "random, all kinds": Case(
        replace(settings(*SHORT), version=3, placement="random"),
        "46c10eaa4aaa1f8ada0d86e72aea4cbb2eb66e3a45d6a6604449312a3cafce9c",
        first_seq=123_457,
    ),
    "random, long episodes that vary, 10/s": Case(
        replace(settings(*VARIED, *LONG[:1], rate="10"), version=3, placement="random"),
        "424744efe4bfca0254453d2972af0203d2c0548f4ffce296c22a10e46734ac76",
        sensor_id="SÃO_000001",
    ),
    "random, composed, overlap": Case(
        replace(composed(*SHORT, *FAULTS), version=3, placement="random", overlap="channels"),
        "8bcae6e287cff723e632c5fd2f7b1d8e56ee300b5408bb19fd7ded8b1e905488",
        identity=IDENTITY,
    ),
    "random, onset, 100000/s": Case(
        replace(
            with_onset_mode(settings(*(replace(spec, share=0.004) for spec in SHORT), rate="100000")),
            version=3,
            placement="random",
        ),
        "b0d2e46ab8a10018cafb405ad0405231b95db6cd848b57ae059649568d3455f6",
        seed=2**63 + 11,
    ),
    "at the bounds": Case(
        settings(*SHORT, channels=RARE_EDGE), "a594c35be6a25515fd322d1bda0b36f15e379c5e7e7d949458166bd132603f50"
    ),
}


def blocks(case: Case) -> Iterator[Block]:
    """The first readings, and some far out, in blocks that begin and end anywhere."""
    identity = replace(case.identity, sensor_id=case.sensor_id, timezone=case.timezone)
    generator = SignalGenerator(case.seed, identity, case.settings, case.first_seq, case.start_us)
    for first, count in ((0, 1), (1, 2_999), (3_000, 1_777), (90_000, 1_000)):
        yield generator.block(case.first_seq + first, count)


def digest(case: Case) -> str:
    """SHA-256 over times, kinds, values, episodes and attributes of all blocks."""
    found = sha256()
    for block in blocks(case):
        found.update(block.times.astype("<i8").tobytes())
        found.update(block.kinds.astype("<i1").tobytes())
        found.update(block.values.astype("<f8").tobytes())
        found.update(json.dumps([asdict(episode) for episode in block.episodes]).encode())
        if block.attributes:
            found.update(json.dumps([*map(list, block.attributes)]).encode())
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
    assert {channel.name for channel in CHANNELS} <= {name for episode in episodes for name in episode.channels}
    used = {spec.name for case in CASES.values() for channel in case.settings.channels for spec in channel.signals}
    assert set(SIGNAL_NAMES) == used


def test_every_rule_of_an_attribute_applies_to_some_reading() -> None:
    """A rule that never applies would not be protected."""
    found = [set[object]() for _ in RULES]
    for case in CASES.values():
        if case.settings.attributes == RULES:
            for block in blocks(case):
                for values, column in zip(found, block.attributes, strict=True):
                    values.update(column)

    assert {"warning", "critical", "storm", "gale", "rain", "fast", "normal", None} == found[0]
    assert {0.5, 0.8} <= found[1]
    assert {-5, 7, 99} <= found[2]
