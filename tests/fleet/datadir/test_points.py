"""Readings of any range as points: exactly those on record, from all databases of a sensor."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fleet.datadir import points
from fleet.datadir.points import Mark, PointCache, SensorRange, merge_marks, read_range
from fleet.datadir.readings import DatabaseUnreadable
from fleet.datadir.timeline import Timeline, read_timeline
from tests.fleet.verify.damage import damage, select
from tests.worker.further import AIR, AIR_IDENTITY, TURBINE, Writer
from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND_US, settings
from worker.readings.generator import SignalGenerator

SENSOR = IDENTITY.sensor_id
SECONDS = 3000
DENSE = settings(*ANOMALIES)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 512 readings, and points of 32 in the cache."""
    monkeypatch.setattr(points, "PIECE_READINGS", 512)


def written(path: Path, **store: int | bool) -> Timeline:
    """Return the timeline of a sensor with anomalies of each kind, in several databases with a `max_bytes`."""
    writer = Writer(path, (IDENTITY, DENSE), **store)
    for second in range(99, SECONDS, 100):
        writer.deliver(second)
    writer.sink.close()
    timeline = read_timeline(path, SENSOR)
    assert timeline is not None
    return timeline


def found(timeline: Timeline, first: int, end: int, most: int, cache: PointCache | None = None) -> SensorRange:
    result = read_range(timeline, first, end, most, cache or PointCache(), 60.0)
    assert result is not None
    return result


def rows(timeline: Timeline, channel: str) -> dict[int, float]:
    """Return the values on record of all databases by their numbers."""
    merged: dict[int, float] = {}
    for file in timeline.files:
        merged |= dict(select(file.path, f"SELECT seq, {channel} FROM sensor_readings WHERE sensor_id = '{SENSOR}'"))
    return merged


def assert_like_rows(timeline: Timeline, subject: SensorRange) -> None:
    """Every point has the lowest and the highest value of its readings, and of no others."""
    for number, (channel, _) in enumerate(subject.channels):
        values = rows(timeline, channel)
        lowest, highest = subject.points.lowest[number], subject.points.highest[number]
        for point, (begin, count) in enumerate(zip(subject.points.seqs, subject.points.counts, strict=True)):
            known = [values[seq] for seq in range(begin, begin + count) if values.get(seq) is not None]
            expected = (min(known), max(known)) if known else (None, None)
            got = tuple(None if np.isnan(end) else end for end in (lowest[point], highest[point]))
            assert expected == got, (channel, point)


@pytest.mark.parametrize("store", [{}, {"max_bytes": 200_000}], ids=["one", "rotated"])
def test_points_are_the_readings_on_record(tmp_path: Path, small: None, store: dict[str, int]) -> None:
    """In each size of point, read directly and from pieces, in the live database and in those that were rotated."""
    timeline = written(tmp_path / "one.db", **store)
    assert len(timeline.files) == (1 if not store else len(list(tmp_path.glob("*.rotated-*.db"))) + 1)
    assert not store or len(timeline.files) > 3
    for first, end, most in ((0, 3000, 5000), (100, 2900, 500), (0, 3000, 90), (700, 2711, 30)):
        subject = found(timeline, first, end, most)
        assert_like_rows(timeline, subject)
        assert (1.0, end) == (subject.read, subject.end_seq)
        assert len(subject.points.seqs) <= most + 1
        assert subject.points.seqs[0] <= first < subject.points.seqs[0] + 32
        assert subject.points.counts.sum() >= end - first
        clean = SignalGenerator(42, IDENTITY, settings(), 0, NEW_YEAR).block(0, SECONDS)
        begin, count = subject.points.seqs[3], subject.points.counts[3]
        expected = clean.values[:, begin : begin + count].sum(axis=1)
        assert expected == pytest.approx(subject.points.healthy[:, 3])
        assert clean.times[begin] == subject.points.times_us[3]


def test_points_of_readings_that_are_not_stored(tmp_path: Path, small: None) -> None:
    """They are computed, and are the same as those that would have been stored."""
    stored, computed = written(tmp_path / "one.db"), written(tmp_path / "none.db", readings=False)
    for most in (5000, 300, 40):
        one, other = (found(timeline, 50, 2950, most).points for timeline in (stored, computed))
        for name in ("seqs", "times_us", "counts", "lowest", "highest", "healthy"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.marks == other.marks


def test_every_episode_has_a_mark(tmp_path: Path, small: None) -> None:
    """As it is on record, if each reading is a point; of one reading as well if a point has a hundred. One that began before
    the range has one, too."""
    timeline = written(tmp_path / "one.db", max_bytes=200_000)
    recorded = {
        row
        for file in timeline.files
        for row in select(file.path, "SELECT type, channel, first_seq, last_seq FROM anomaly_episodes")
    }
    assert {row for row in recorded if row[2] < SECONDS} == {
        tuple(mark[:4]) for mark in found(timeline, 0, SECONDS, 5000).points.marks
    }
    wide = found(timeline, 0, SECONDS, 30).points.marks
    assert len(wide) < len(recorded)
    for kind, channel, first, last in recorded:
        assert any((kind, channel) == mark[:2] and mark[2] <= first <= last <= mark[3] for mark in wide)
    assert len(recorded) == sum(mark.episodes for mark in wide)
    (long, *_) = [row for row in recorded if row[3] - row[2] > 10]
    assert long in [tuple(mark[:4]) for mark in found(timeline, long[2] + 5, long[3], 5000).points.marks]


def test_many_marks_are_merged() -> None:
    """Those that are apart stay apart as long as there is room for them."""
    marks = [Mark("spike", "voltage", seq, seq, 1) for seq in range(0, 100_000, 10)]

    assert marks == list(merge_marks(marks[:50], 0, 10**6, 8)) + marks[50:]
    merged = merge_marks([*marks, Mark("noise", None, 7, 8, 1)], 0, 10**6, 8)
    assert len(merged) <= points.MAX_MARKS
    assert (10_001, Mark("noise", None, 7, 8, 1)) == (sum(mark.episodes for mark in merged), merged[1])


def test_a_wide_range_is_read_piece_by_piece(tmp_path: Path, small: None) -> None:
    """Without time each answer has one more piece than the one before, until all of them are in the cache."""
    timeline, cache = written(tmp_path / "one.db"), PointCache()
    shares: list[float] = []
    while not shares or shares[-1] < 1:
        subject = read_range(timeline, 0, SECONDS, 90, cache, 0.0)
        assert subject is not None
        assert_like_rows(timeline, subject)
        shares.append(subject.read)
    assert [round(512 / SECONDS, 9), round(1024 / SECONDS, 9)] == [round(share, 9) for share in shares[:2]]
    assert len(shares) == 6
    select(timeline.files[0].path, "UPDATE sensor_readings SET temperature = 900")
    assert found(timeline, 0, 2500, 70, cache).points.highest[0].max() < 900
    assert {900} == set(found(timeline, 0, 2500, 70).points.highest[0])


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(points, "MAX_CACHE_BYTES", 50_000)
    subject, cache = found(written(tmp_path / "one.db"), 0, 100, 100).points, PointCache()
    kept = 50_000 // subject.size
    for number in range(5):
        cache.put((number,), subject)

    assert 1 <= kept < 5
    assert [None] * (5 - kept) + [subject] * kept == [cache.get((number,)) for number in range(5)]


def test_times_lead_to_readings(tmp_path: Path) -> None:
    """Over epochs with other rates, and time that was left out: the first reading that is due at that time or later."""
    writer = Writer(tmp_path / "one.db", (IDENTITY, DENSE))
    writer.deliver(99)
    writer.change(0, replace(DENSE, rate="0.1"))
    writer.deliver(999)
    writer.change(0, replace(DENSE, rate="7"))
    writer.deliver(1099)
    writer.sink.close()
    timeline = read_timeline(tmp_path / "one.db", SENSOR)
    assert timeline is not None
    assert 3 == len(timeline.schedules)
    due = [timeline.time(seq) for seq in range(timeline.next_seq)]
    assert sorted(due) == due
    for moment in (*due[::50], *(time + 1 for time in due[::61]), 0, due[-1] + 1, due[-1] + SECOND_US * 10**6):
        assert sum(time < moment for time in due) == timeline.seq_from(moment)


def test_other_channels_than_before(tmp_path: Path, small: None) -> None:
    """A range has the channels of its last epoch, also where others follow."""
    writer = Writer(tmp_path / "one.db", (AIR_IDENTITY, replace(AIR, attributes=())))
    writer.deliver(999)
    writer.change(0, replace(TURBINE, attributes=()))
    writer.deliver(1999)
    writer.sink.close()
    timeline = read_timeline(tmp_path / "one.db", AIR_IDENTITY.sensor_id)
    assert timeline is not None

    assert ["temperature", "co2", "order"] == [name for name, _ in found(timeline, 0, 1000, 20).channels]
    both = found(timeline, 500, 1500, 30)
    assert ["power", "temperature"] == [name for name, _ in both.channels]
    assert [True, False] == [bool(np.isnan(row[3])) for row in both.points.lowest]
    assert not np.isnan(both.points.healthy[:, -2]).any()
    assert_like_rows(timeline, both)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A database without an index, and one with an epoch that no worker has written. A rotated one that is gone is left
    out."""
    timeline = written(tmp_path / "one.db", max_bytes=200_000)
    second = timeline.files[1]
    timeline.files[0].path.unlink()
    left = read_timeline(tmp_path / "one.db", SENSOR)
    assert left is not None
    assert (second, second.first_seq) == (left.files[0], left.first_seq)
    damage(tmp_path / "one.db")
    with pytest.raises(DatabaseUnreadable, match=r"written by version 0\.1\.0, its readings have no index"):
        found(left, 0, SECONDS, 100)
    damage(tmp_path / "one.db", "UPDATE epochs SET settings = json_set(settings, '$.rate', 'fast')")
    with pytest.raises(DatabaseUnreadable, match="its epochs cannot be read"):
        read_timeline(tmp_path / "one.db", SENSOR)


def test_sensors_of_one_database(tmp_path: Path, small: None) -> None:
    """Each has its own readings."""
    others = [replace(IDENTITY, sensor_id=f"{SENSOR[:-1]}{number}") for number in range(3)]
    writer = Writer(tmp_path / "pack.db", *((identity, DENSE) for identity in others))
    writer.deliver(999)
    writer.sink.close()
    for identity, other in itertools.permutations(others, 2):
        one = read_timeline(tmp_path / "pack.db", identity.sensor_id)
        two = read_timeline(tmp_path / "pack.db", other.sensor_id)
        assert one is not None
        assert two is not None
        cache = PointCache()
        assert (found(one, 0, 999, 50, cache).points.highest != found(two, 0, 999, 50, cache).points.highest).any()
    assert read_timeline(tmp_path / "pack.db", "UNKNOWN") is None
