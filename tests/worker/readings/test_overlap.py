"""Anomalies of different channels at the same time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import apsw
import numpy as np
import pytest

from fleet.datadir.readings import episodes_from
from tests.worker.readings.test_instrument_faults import CHANNELS, NAMES
from tests.worker.samples import IDENTITY, NEW_YEAR
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import SignalGenerator
from worker.spec import AnomalySpec, Settings
from worker.storage.schema import SCHEMA, settings_from_json, settings_to_json


def overlapping(mode: Literal["share", "onset"] = "share", scale: float = 1.0) -> Settings:
    """A sensor that is anomalous in a third of its readings, with anomalies of different channels at the same time."""
    specs = (
        AnomalySpec("spike", 0.06 * scale, 1, "readings", channel_odds=(("voltage", 0.0),)),
        AnomalySpec("drift", 0.1 * scale, 20, "readings"),
        AnomalySpec("decoupling", 0.06 * scale, 15, "readings"),
        AnomalySpec("noise", 0.06 * scale, 12, "readings"),
        AnomalySpec("missing_data", 0.04 * scale, 4, "readings"),
    )
    return Settings("1", CHANNELS, specs, mode, version=2, overlap="channels")


@pytest.mark.parametrize("mode", ["share", "onset"])
def test_anomalies_of_different_channels_overlap(mode: Literal["share", "onset"]) -> None:
    """Never two on one channel, never two that begin with the same reading; blocks join, and the label is that of the first."""
    settings = overlapping(mode, 1.0 if mode == "share" else 0.1)
    generator = SignalGenerator(3, IDENTITY, settings, 50, NEW_YEAR)
    whole = generator.block(50, 20_000)
    parts = [generator.block(first, 500) for first in range(50, 20_050, 500)]
    count = np.zeros((len(NAMES), whole.size + 100), dtype=int)
    labels = np.full(whole.size + 100, -1)
    for episode in generator.episodes(50, 20_050):
        cut = slice(episode.first_seq - 50, episode.last_seq - 49)
        for name in episode.channels:
            count[NAMES.index(name), cut] += 1
        number = ANOMALY_TYPES.index(episode.kind)
        labels[cut] = np.where((labels[cut] < 0) | (episode.kind == "missing_data"), number, labels[cut])
    firsts = [episode.first_seq for episode in whole.episodes]

    assert 1 == count.max()
    assert (count.sum(axis=0) >= 2).sum() > 100
    assert sorted(set(firsts)) == firsts
    assert labels[: whole.size].tolist() == whole.kinds.tolist()
    assert np.concatenate([part.values for part in parts], axis=1).tobytes() == whole.values.tobytes()
    assert [each for part in parts for each in part.episodes] == list(whole.episodes)
    healthy = SignalGenerator(3, IDENTITY, replace(settings, anomalies=()), 50, NEW_YEAR).block(50, 20_000)
    assert not ((whole.values != healthy.values) & (count[:, : whole.size] == 0)).any()


def test_overlapping_types_have_their_shares() -> None:
    """Divided among the channels that suit them."""
    generator = SignalGenerator(3, IDENTITY, overlapping(), 0, NEW_YEAR)
    covered = dict.fromkeys(ANOMALY_TYPES, 0)
    drifting = dict.fromkeys(NAMES, 0)
    for episode in generator.episodes(0, 200_000):
        length = episode.last_seq - episode.first_seq + 1
        covered[episode.kind] += length
        if episode.kind == "drift":
            drifting[episode.channels[0]] += length
        assert (episode.kind, episode.channels) not in (("decoupling", ("voltage",)), ("spike", ("voltage",)))

    for spec in overlapping().anomalies:
        assert spec.share == pytest.approx(covered[spec.kind] / 200_000, rel=0.06)
    assert [0.02] * 5 == pytest.approx([length / 200_000 for length in drifting.values()], rel=0.1)


def test_what_an_epoch_records_of_overlap() -> None:
    """Nothing where there is none, as before there was such a setting."""
    alone = replace(overlapping(), overlap="none")

    assert "overlap" not in settings_to_json(alone)
    for settings in (overlapping(), alone):
        assert settings == settings_from_json(json.loads(json.dumps(settings_to_json(settings))))


def test_episodes_that_overlap_a_range_are_found(tmp_path: Path) -> None:
    """All that reach past its first reading, not only the last that begins before it."""
    path = tmp_path / "one.db"
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA)
    for first, last in ((0, 3), (10, 90), (20, 30), (40, 70), (60, 61), (80, 85)):
        row = ("X", "drift", "voltage", first, last, "", "", "{}")
        connection.execute("INSERT INTO anomaly_episodes VALUES (?,?,?,?,?,?,?,?)", row)
    connection.close()

    assert [80, 60, 40, 10] == [row["first_seq"] for row in episodes_from(path, "X", 50, 100)]
