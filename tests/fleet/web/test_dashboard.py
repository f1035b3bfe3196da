"""The documents behind the dashboard, from real files and real databases."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from fleet.datadir import series
from fleet.datadir.logs import lines_of_worker, tail_lines
from fleet.monitoring.history import MAX_POINTS, MIN_INTERVAL_NS, History
from fleet.monitoring.observation import Observer
from fleet.web.app import create_app
from tests.fleet.staged import VALUES, StagedFleet, client_of, sensor_name, staged_with_readings
from worker.log import DEFAULT_FORMAT
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import SignalGenerator
from worker.spec import AnomalySpec, Identity, Settings, StoreSpec
from worker.storage.database import Database
from worker.storage.sinks import Epoch, Portion

DENSE = (AnomalySpec("spike", 0.4, 1, "readings"),)
LIVELY = (AnomalySpec("spike", 0.2, 3, "readings"), AnomalySpec("missing_data", 0.1, 4, "readings"))


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    return staged_with_readings(tmp_path / "data")


@pytest.fixture
def client(staged: StagedFleet) -> FlaskClient:
    return client_of(staged)


def answered(client: FlaskClient, path: str) -> Any:
    response = client.get(path)
    assert 200 == response.status_code, response.data
    return json.loads(response.data)


def test_snapshot(staged: StagedFleet, client: FlaskClient) -> None:
    """Every column is in the order of the list of sensors; letters and scales can be decoded."""
    staged.set(2, "failed", "gave up")
    staged.scoreboard.rows[0]["values"][1] = float("inf")
    who, snapshot = answered(client, "/api/sensors"), answered(client, "/api/snapshot")

    assert [sensor_name(0), sensor_name(1), sensor_name(2)] == who["ids"]
    assert who["roster"] == snapshot["roster"]
    assert ["healthy", "healthy", "failed"] == [snapshot["legend"][letter] for letter in snapshot["states"]]
    assert [None, "spike", None] == [snapshot["kind_legend"].get(letter) for letter in snapshot["kinds"]]
    assert [10, 11, 12] == snapshot["readings"]
    assert [0, 1, 0] == snapshot["anomalies"]
    for channel, value in zip(("temperature", "pressure", "vibration"), (VALUES[0], VALUES[2], VALUES[3]), strict=True):
        column = snapshot["values"][channel]
        assert value == pytest.approx(column["values"][1] / column["scale"])
    assert [None, 6025, 6025] == snapshot["values"]["humidity"]["values"]
    assert ("unhealthy", "gave up") == (snapshot["status"], snapshot["reasons"][0]["reason"])


def test_a_snapshot_is_built_once_per_tick(staged: StagedFleet) -> None:
    """Gzipped for clients that accept it, the same bytes for all; 304 for a client that has it; a new one after a tick."""
    now = [staged.started_ns + 60_000_000_000]
    client = create_app(staged.run, Observer(staged.run, tick=0.5, clock=lambda: now[0])).test_client()
    first = client.get("/api/snapshot", headers={"Accept-Encoding": "gzip"})
    plain = client.get("/api/snapshot")

    assert plain.data == gzip.decompress(first.data)
    assert "gzip" == first.headers["Content-Encoding"]
    assert ("Accept-Encoding", "no-cache") == (first.headers["Vary"], first.headers["Cache-Control"])
    assert first.data == client.get("/api/snapshot", headers={"Accept-Encoding": "gzip"}).data
    same = client.get("/api/snapshot", headers={"If-None-Match": first.headers["ETag"]})
    assert (304, b"") == (same.status_code, same.data)
    now[0] += 600_000_000
    later = client.get("/api/snapshot", headers={"If-None-Match": first.headers["ETag"]})
    assert (200, True) == (later.status_code, later.headers["ETag"] != first.headers["ETag"])


def test_a_snapshot_of_a_thousand_is_small(tmp_path: Path) -> None:
    staged = StagedFleet(tmp_path / "data", 1000)
    staged.scoreboard.rows["readings"] = 5
    packed = create_app(staged.run).test_client().get("/api/snapshot", headers={"Accept-Encoding": "gzip"})

    assert len(packed.data) < 20_000


def test_history(staged: StagedFleet) -> None:
    """A point a second, of the last ten minutes, with anomalies a second by kind."""
    observer = Observer(staged.run, tick=0)
    seen, history = observer.observe(), History()
    history.record(seen)
    history.record(seen)  # within the same second
    more = seen.rows.copy()
    more["anomalies"][0, ANOMALY_TYPES.index("noise")] += 4
    history.record(replace(seen, rows=more, now_ns=seen.now_ns + 2_000_000_000))
    for second in range(3, MAX_POINTS + 20):
        history.record(
            replace(seen, rows=more, now_ns=seen.now_ns + second * (MIN_INTERVAL_NS + 1_000_000) + 2_000_000_000)
        )
    last = history.recent()

    assert {MAX_POINTS} == {len(last["number"]), len(last["pace"]), len(last["anomalies"]["noise"])}
    assert [True] * (MAX_POINTS - 1) == [
        after - before == 1 for before, after in zip(last["number"], last["number"][1:], strict=False)
    ]
    assert (3, 3.0) == (last["sensors"][-1], last["asked"][-1])


def test_anomalies_a_second(staged: StagedFleet) -> None:
    seen, history = Observer(staged.run, tick=0).observe(), History()
    history.record(seen)
    more = seen.rows.copy()
    more["anomalies"][0, ANOMALY_TYPES.index("noise")] += 4
    history.record(replace(seen, rows=more, now_ns=seen.now_ns + 2_000_000_000))

    assert [0.0, 2.0] == history.recent()["anomalies"]["noise"]


def test_a_sensor_that_comes_back_is_no_burst_of_anomalies(staged: StagedFleet) -> None:
    """Its counter continues from its old value, which is not counted again."""
    seen, history = Observer(staged.run, tick=0).observe(), History()
    seen.rows["anomalies"][2, ANOMALY_TYPES.index("noise")] = 500
    history.record(seen)
    two = replace(
        seen,
        rows=seen.rows[:2],
        departed_rows=seen.rows[2:],
        target_rates=seen.target_rates[:2],
        measured_rates=seen.measured_rates[:2],
    )
    two = replace(two, roster=replace(seen.roster, members=seen.members[:2]), now_ns=seen.now_ns + 1_000_000_000)
    history.record(two)
    history.record(replace(seen, now_ns=seen.now_ns + 2_000_000_000))

    assert [3, 2, 3] == history.recent()["sensors"]
    assert [0.0, 0.0, 0.0] == history.recent()["anomalies"]["noise"]


def test_who_hangs_is_not_healthy_in_the_history(staged: StagedFleet) -> None:
    """As in the grid: the row of a hung worker still has the state "healthy"."""
    with staged.scoreboard.row(1) as row:
        row["heartbeat_ns"] = staged.started_ns
        row["started_ns"] = staged.started_ns
    snapshot = answered(client_of(staged), "/api/snapshot")

    assert (1, [2]) == (snapshot["unhealthy"], snapshot["recent"]["healthy"])


def test_missing_readings_are_scheduled(staged: StagedFleet) -> None:
    """The share of anomalies is of what was scheduled, or it might be more than all."""
    staged.set(0, anomalies=np.array([0, 0, 0, 70, 0]))
    snapshot = answered(client_of(staged), "/api/snapshot")

    assert "missing_data" == ANOMALY_TYPES[3]
    assert (33, 103, 71) == tuple(
        snapshot[name] for name in ("total_readings", "scheduled_readings", "total_anomalies")
    )


def write_readings(path: Path, settings: Settings, count: int) -> None:
    """Write a sensor's first readings into a new database."""
    path.unlink(missing_ok=True)
    identity = Identity(sensor_name(0), timezone="Europe/Berlin")
    generator = SignalGenerator(7, identity, settings, 0, 1_767_225_600_000_000)
    database = Database(StoreSpec(path))
    database.claim([identity], 1)
    epoch = Epoch(7, 1, "start", identity, settings, generator.schedule)
    database.deliver([Portion(identity, settings, generator.schedule, 0, generator.block(0, count), epoch)])
    database.close()


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, SignalGenerator]:
    """A database with 300 readings, many of them anomalous, and the generator without anomalies."""
    identity = Identity(sensor_name(0), timezone="Europe/Berlin")
    settings = replace(settings_for(load_config(None), load_catalogue(), identity), anomalies=LIVELY)
    write_readings(tmp_path / "one.db", settings, 300)
    return tmp_path / "one.db", SignalGenerator(7, identity, replace(settings, anomalies=()), 0, 1_767_225_600_000_000)


def test_a_stretch_beside_what_it_would_have_been(written: tuple[Path, SignalGenerator]) -> None:
    """Rows as they are, None where there is none, and the values of the same readings without anomalies."""
    path, clean = written
    found = series.read_series(path, sensor_name(0), 100, -1)

    assert (200, 300) == (found.first_seq, found.next_seq)
    assert clean.block(200, 100).values.tolist() == found.healthy
    assert [time // 1000 for time in clean.schedule.times(200, 100)] == found.times_ms
    gaps = [value is None for value in found.lowest[0]]
    assert 0 < sum(gaps) < 50
    differing = sum(value != healthy for value, healthy in zip(found.lowest[1], found.healthy[1], strict=True))
    assert sum(gaps) <= differing < 100
    assert (290, 300) == (series.read_series(path, sensor_name(0), 100, 289).first_seq, found.next_seq)
    assert [] == series.read_series(path, sensor_name(0), 100, 299).times_ms
    assert [] == series.read_series(path, "nobody", 100, -1).times_ms


def test_points_keep_the_lowest_and_the_highest(written: tuple[Path, SignalGenerator]) -> None:
    """Several readings become one point, always the same ones, whatever was asked for before."""
    path, clean = written
    single = series.read_series(path, sensor_name(0), 256, -1)
    found = series.read_series(path, sensor_name(0), 256, -1, 1, 32)

    assert (1, 8, 44, 300) == (single.step, found.step, found.first_seq, found.next_seq)
    starts = [44, *range(48, 300, 8)]  # points begin at multiples of their size
    for channel in range(len(found.channels)):
        for point, (start, end) in enumerate(itertools.pairwise([*starts, 300])):
            values = [value for value in single.lowest[channel][start - 44 : end - 44] if value is not None]
            expected = (min(values), max(values)) if values else (None, None)
            assert expected == (found.lowest[channel][point], found.highest[channel][point])
    assert clean.block(48, 8).values.mean(axis=1) == pytest.approx([column[1] for column in found.healthy])
    assert [single.times_ms[start - 44] for start in starts] == found.times_ms
    more = series.read_series(path, sensor_name(0), 256, 254, 1, 32)
    assert (248, found.times_ms[-7:]) == (more.first_seq, more.times_ms)
    assert [column[-7:] for column in found.highest] == more.highest
    assert [1, 1, 2, 4, 4, 128] == [series.point_size(count, 100) for count in (0, 100, 101, 201, 400, 9999)]


def test_every_episode_in_view_is_listed(staged: StagedFleet, client: FlaskClient) -> None:
    """More than the newest ones, if the readings reach further back."""
    path = f"/workers/{sensor_name(0)}/series"
    settings = replace(settings_for(load_config(None), load_catalogue(), Identity(sensor_name(0))), anomalies=DENSE)
    write_readings(staged.members[0].database, settings, 900)
    everything = answered(client, f"{path}?seconds=3600&points=100")

    assert 16 == everything["step"]
    assert (
        200 < len(everything["episodes"]) == answered(client, f"/workers/{sensor_name(0)}/episodes?limit=1000")["count"]
    )
    assert 60 == len(answered(client, f"{path}?seconds=3600&after=895")["episodes"])


def test_a_range_that_cannot_be_searched_is_not_shown_as_missing(
    written: tuple[Path, SignalGenerator], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of many sensors is searched from its end: what is older is left out, and the answer says from where."""
    monkeypatch.setattr(series, "MAX_SCANNED_ROWS", 50)
    found = series.read_series(written[0], sensor_name(0), 300, -1)

    assert 230 <= found.first_seq <= 250  # some readings are missing
    assert len(found.times_ms) == 300 - found.first_seq


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    """The last lines about one worker, also of a log that is longer than what is read of it."""
    log = tmp_path / "fleet.log"
    line = "2026-01-01 00:00:00,000 INFO {}: said {}\n"
    log.write_text("".join(line.format(sensor_name(number % 3), number) for number in range(30_000)))
    found = tail_lines(log, lines_of_worker(sensor_name(1), DEFAULT_FORMAT), 3)

    assert ["said 29992", "said 29995", "said 29998"] == [text.partition(": ")[2] for text in found]
    assert [] == tail_lines(tmp_path / "none", lines_of_worker(sensor_name(1), DEFAULT_FORMAT), 3)


def test_the_page_of_a_sensor(client: FlaskClient) -> None:
    """It says who the sensor is before any script runs, and what is not there is said on a page."""
    page = client.get(f"/sensors/{sensor_name(1)}").get_data(as_text=True)

    assert all(text in page for text in (sensor_name(1), "Berlin", "mm/s²", "Europe/Berlin", "SensorTech"))
    assert (404, "text/html") == (client.get("/sensors/nobody").status_code, client.get("/sensors/nobody").mimetype)
    assert "&lt;b&gt;" in client.get("/sensors/<b>").get_data(as_text=True)


def compared(client: FlaskClient, query: str) -> tuple[list[str], str]:
    """Return the ids that the page compares, and its whole text."""
    response = client.get(f"/compare{query}")
    assert (200, "text/html") == (response.status_code, response.mimetype)
    page = response.get_data(as_text=True)
    return re.findall(r'<li data-sensor="(\w+)"', page), page


def test_the_page_that_compares_sensors(tmp_path: Path) -> None:
    """It has those with the ids, then those at the place, in this order and at most six, and says what is left out. There
    is one chart for each channel that one of them has."""
    staged = StagedFleet(tmp_path / "data", sensors=8)
    client = client_of(staged)
    names = [sensor_name(number) for number in range(8)]
    ids, page = compared(client, f"?sensors={names[5]},{names[2]},{names[5]}")

    assert [names[5], names[2]] == ids
    assert [name for name, _ in staged.members[0].channels] == re.findall(r'data-channel="(\w+)"', page)
    ids, page = compared(client, f"?sensors={names[7]}&place=BERLIN")
    assert [names[7], *names[:5]] == ids
    assert "the first 6 of 8 sensors" in page
    ids, page = compared(client, f"?sensors=%3Cb%3E,{names[1]}&place=Atlantis")
    assert [names[1]] == ids
    assert "no sensor &lt;b&gt; in this fleet; no sensor at Atlantis" in page
    ids, page = compared(client, "")
    assert [] == ids
    assert "2 to 6 sensors are compared" in page


def test_sensors_of_different_channels_are_compared(tmp_path: Path) -> None:
    """A channel of the same name in another unit has a chart of its own."""
    staged = StagedFleet(tmp_path / "data", sensors=2)
    others = (("temperature", "K"), ("flow", "l/s"))
    staged.members = (staged.members[0], replace(staged.members[1], channels=others))
    staged.write_roster()
    _, page = compared(client_of(staged), f"?sensors={sensor_name(0)},{sensor_name(1)}")
    found = re.findall(r'data-channel="(\w+)">\s*<figcaption><b>\w+</b><span class="unit">([^<]*)<', page)

    assert [*staged.members[0].channels, *others] == found
