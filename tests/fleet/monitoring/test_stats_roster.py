"""The figures of a fleet, and the roster by which its files are found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.monitoring.stats import fleet_stats, unhealthy_sensors
from tests.fleet.staged import StagedFleet
from worker.readings.anomalies import ANOMALY_TYPES
from worker.scoreboard import ROW_DTYPE, STATE_INDEX


def test_figures_are_sums_of_rows() -> None:
    """Missing readings count as scheduled, not as written; the lag is the worst one, the commit time the mean."""
    rows = np.zeros(3, ROW_DTYPE)
    rows["state"] = [STATE_INDEX["healthy"], STATE_INDEX["failed"], STATE_INDEX["done"]]
    rows["incarnation"], rows["readings"] = [1, 2, 3], [10, 20, 30]
    rows["anomalies"][0, ANOMALY_TYPES.index("missing_data")] = 5
    rows["anomalies"][1, ANOMALY_TYPES.index("spike")] = 2
    rows["commits"], rows["commit_total_us"], rows["lag_us"] = [1, 2, 1], [1000, 2000, 5000], [0, 1_500_000, 7]
    rows["restarts"], rows["errors"], rows["retries"] = [0, 3, 0], [0, 4, 0], [1, 0, 1]

    total = fleet_stats(rows)

    assert (60, 65, 3, 2) == (total.readings, total.scheduled, total.sensors, total.healthy)
    assert {"healthy": 1, "failed": 1, "done": 1} == total.states
    assert (5, 2) == (total.anomalies["missing_data"], total.anomalies["spike"])
    assert (1.5, 2.0, 3, 4, 2) == (total.lag, total.commit_ms, total.restarts, total.errors, total.retries)


def test_sensors_of_one_process_share_its_commits() -> None:
    """They are counted once, however many sensors tell of them; readings are each one's own."""
    rows = np.zeros(3, ROW_DTYPE)
    rows["incarnation"], rows["commits"], rows["readings"] = [7, 7, 8], [5, 5, 1], [10, 10, 10]

    total = fleet_stats(rows)

    assert (6, 30) == (total.commits, total.readings)


def test_figures_of_nobody() -> None:
    """Are zeros, not an error."""
    total = fleet_stats(np.zeros(0, ROW_DTYPE))

    assert (0, 0, 0.0, 0.0) == (total.sensors, total.readings, total.lag, total.commit_ms)


def test_the_unwell_are_named_with_their_reason() -> None:
    """Only those who need help: restarting and done are not among them."""
    rows = np.zeros(4, ROW_DTYPE)
    rows["state"] = [STATE_INDEX[name] for name in ("healthy", "unready", "restarting", "failed")]
    rows["reason"] = [b"", "Platte voll, 5 °C".encode(), b"x", b"died 11 times"]

    assert [("B", "unready", "Platte voll, 5 °C"), ("D", "failed", "died 11 times")] == unhealthy_sensors(
        rows, list("ABCD")
    )


def test_a_roster_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every field with its type; a reader never sees half of one."""
    StagedFleet(tmp_path / "data", 3)
    path = tmp_path / "data" / "run" / "roster.json"
    roster = replace(Roster.read(path), duration=1.5, url=None)

    roster.write(path)

    assert roster == Roster.read(path)
    assert [] == list(path.parent.glob("*.new"))


def edited(path: Path, *keys: str | int, value: object) -> None:
    document = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("started_ns",), "now"),
        (("seed",), float("nan")),
        (("members",), [7]),
        (("members", 0, "row"), -1),
        (("members", 0, "row"), 1 << 70),
        (("members", 0, "rate"), None),
        (("members", 0, "database"), None),
        (("members", 0, "channels"), [[5, "V"]]),
        (("members", 0, "identity", "latitude"), float("inf")),
        (("members", 0, "identity", "colour"), "red"),
    ],
)
def test_a_damaged_roster_is_refused(keys: tuple[str | int, ...], value: object, tmp_path: Path) -> None:
    """In one line, whole; nobody is shown half of what is in it."""
    path = StagedFleet(tmp_path / "data", 1).run / "roster.json"
    edited(path, *keys, value=value)

    with pytest.raises(UserError, match=r"roster\.json: cannot be read as a roster: \w+: ") as refused:
        Roster.read(path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "7"])
def test_what_is_no_roster_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "roster.json").write_text(text)

    with pytest.raises(UserError, match=r"roster\.json: cannot be read as a roster: "):
        Roster.read(tmp_path / "roster.json")


def test_without_a_roster_no_fleet_has_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Roster.read(tmp_path / "roster.json")
