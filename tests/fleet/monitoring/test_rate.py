"""How many readings a second are shown, whoever asks and however often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fleet.monitoring.observation import Observer, RateMeter
from tests.fleet.staged import SECOND_NS, StagedFleet


def counts(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


def test_the_first_look_is_the_mean_since_the_start() -> None:
    pace = RateMeter(0, 2)
    pace.record(4 * SECOND_NS, counts(40, 8))

    assert [10.0, 2.0] == pace.per_second().tolist()


def test_the_last_seconds_count() -> None:
    """A fleet that was slow for an hour and is fast now is fast."""
    pace = RateMeter(0, 1)
    for second in range(3600, 3620):
        pace.record(second * SECOND_NS, counts(100 * (second - 3600)))

    assert [100.0] == pace.per_second().tolist()
    assert pace.seconds == pytest.approx(10, abs=1)


def test_it_does_not_matter_who_asks() -> None:
    """Many notes in between change nothing."""
    seldom, often = RateMeter(0, 1), RateMeter(0, 1)
    for tenth in range(200):
        often.record(tenth * SECOND_NS // 10, counts(tenth))
        if tenth % 10 == 0:
            seldom.record(tenth * SECOND_NS // 10, counts(tenth))

    assert seldom.per_second().tolist() == pytest.approx(often.per_second().tolist())


def test_a_row_that_begins_again_stands_still() -> None:
    """A row that was given to another sensor does not make a negative pace."""
    pace = RateMeter(0, 1)
    pace.record(SECOND_NS, counts(50))
    pace.record(2 * SECOND_NS, counts(3))
    pace.record(21 * SECOND_NS // 2, counts(3))

    assert [0.0] == pace.per_second().tolist()


def test_the_pace_follows_the_roster(tmp_path: Path) -> None:
    """Paces are in the order of the roster, also when that is not the order of the scoreboard."""
    staged = StagedFleet(tmp_path / "data", 2)
    now = staged.started_ns
    observer = Observer(staged.run, tick=0, clock=lambda: now)
    staged.members = staged.members[::-1]
    staged.write_roster()
    staged.set(0, readings=10)
    staged.set(1, readings=30)
    now += 10 * SECOND_NS

    assert [3.0, 1.0] == observer.observe().measured_rates.tolist()
