"""The backlog of a target: how many readings it lacks, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.delivery import backlog
from fleet.delivery.backlog import Backlog, SourceIds, StoredIds
from tests.fleet.verify.damage import make_identities, select, write_database


def test_readings_are_counted_by_their_ids() -> None:
    """A database that goes on after a rotation does not begin with the id 1."""
    found = Backlog()
    settled = {"one": 40, "all": 7}
    found.update(
        [SourceIds("one", 1, 100), SourceIds("new", 501, 510), SourceIds("all", 1, 7)],
        lambda key: settled.get(key, 0),
        5.0,
    )

    assert (70, 5.0) == (found.readings, found.since)


def test_the_age_is_that_of_the_oldest_undelivered_reading() -> None:
    """It stands while nothing is delivered, follows what is delivered, and ends with the last reading."""
    found, seen = Backlog(), []
    for now, last, settled in [
        (0, 10, 0),
        (1, 20, 0),
        (2, 30, 5),
        (3, 40, 10),
        (4, 50, 15),
        (5, 60, 45),
        (6, 70, 70),
        (7, 80, 70),
    ]:
        found.update([SourceIds("one", 1, last)], lambda _, settled=settled: settled, float(now))  # type: ignore[misc]
        seen.append(found.since)

    assert [0, 0, 0, 0, 0, 3, None, 7] == seen


def test_one_database_that_is_stuck_is_not_hidden_by_the_others() -> None:
    found = Backlog()
    for now in range(20):
        settled = {"stuck": 3, "well": 10 * now - 1}
        found.update([SourceIds("stuck", 1, 4), SourceIds("well", 1, 10 * now + 5)], settled.__getitem__, float(now))

    assert (7, 0.0) == (found.readings, found.since)


def test_the_age_goes_on_in_another_process() -> None:
    found = Backlog(since=-100.0)
    found.update([SourceIds("one", 1, 5)], lambda _: 0, 3.0)
    assert -100.0 == found.since
    found.update([SourceIds("one", 1, 9)], lambda _: 5, 4.0)
    assert 3.0 == found.since


def test_databases_are_looked_up_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each update takes a limited time; a database that is gone is not counted any more."""
    monkeypatch.setattr(backlog, "LOOKUP_SECONDS", 0.0)
    for identity, readings in zip(make_identities(3), (10, 11, 12), strict=True):
        write_database(tmp_path / f"{identity.sensor_id}.db", readings - 1, sensors=[identity])
    stored, counts = StoredIds(tmp_path), []
    for _ in range(4):
        stored.update()
        counts.append(len(stored.sources()))
    assert [1, 2, 3, 3] == counts
    assert sorted(map(count, tmp_path.glob("*.db"))) == sorted(ids.last for ids in stored.sources())

    min(tmp_path.glob("*.db")).unlink()
    stored.update()
    assert 2 == len(stored.sources())


def count(path: Path) -> int:
    return int(select(path, "SELECT count(*) FROM sensor_readings")[0][0])


def test_what_is_no_database_of_a_fleet_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no database" * 500)
    (tmp_path / "empty.db").touch()
    stored = StoredIds(tmp_path)
    stored.update()

    assert [] == stored.sources()
