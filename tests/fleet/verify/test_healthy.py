"""Databases that workers wrote correctly have no findings: a false alarm is as bad as a miss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from fleet.verify.findings import Verdict
from fleet.verify.verification import verify
from tests.fleet.verify.damage import (
    SETTINGS,
    damage,
    finding_counts,
    later_run,
    make_identities,
    select,
    write_database,
    write_sample_manifest,
)
from tests.worker.samples import (
    ANOMALIES,
    IDENTITY,
    MISSING,
    SPIKE,
    TEMPERATURE,
    run,
    settings,
    with_catch_up,
    with_onset_mode,
)
from worker.spec import AnomalySpec, RunSpec, Settings

NAME = f"{IDENTITY.sensor_id}.db"


def epochs(path: Path) -> list[tuple[int, str]]:
    return select(path, "SELECT first_seq, reason FROM epochs ORDER BY first_seq")


def verified(data: Path) -> Verdict:
    """Verify a directory in which nothing is wrong."""
    verdict = verify(data)
    assert () == verdict.findings
    assert verdict.ok
    return verdict


def patient(run_spec: RunSpec) -> RunSpec:
    """Return a run in which no reading is skipped, however late it is."""
    return replace(run_spec, longest_pause_us=1 << 60)


def readings(path: Path) -> int:
    ((count,),) = select(path, "SELECT count(*) FROM sensor_readings")
    return int(count)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_several_sensors_in_one_database(count: int, tmp_path: Path) -> None:
    """The rows of the sensors alternate."""
    write_database(tmp_path / "sensor_data.db", 400, sensors=make_identities(count), commit_every=13)

    verdict = verified(tmp_path)
    assert (count, 1, readings(tmp_path / "sensor_data.db")) == (verdict.sensors, verdict.databases, verdict.readings)


def test_several_databases(tmp_path: Path) -> None:
    for number, sensor in enumerate(make_identities(4)):
        write_database(tmp_path / f"{sensor.sensor_id}.db", 100 + number, sensors=[sensor])

    assert (4, 4) == ((verdict := verified(tmp_path)).sensors, verdict.databases)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("seconds", [1, 100, 257, 1000, 1203, 1741])
def test_a_worker_that_ended_anywhere(seconds: int, final: bool, tmp_path: Path) -> None:
    """The record of a running episode is whole if the worker was killed, and truncated if it was drained."""
    write_database(tmp_path / NAME, seconds, final=final)

    assert verified(tmp_path).readings


def test_every_end_there_can_be(tmp_path: Path) -> None:
    """A sensor that is drained and continued after each reading truncates its record and completes it again."""
    sensor_settings = settings(
        AnomalySpec("trend", 0.5, 6, "readings"), AnomalySpec("missing_data", 0.3, 4, "readings")
    )
    for number in range(1, 60):
        write_database(
            tmp_path / NAME, number * 2.0, sensor_settings, replace(with_catch_up(run(number))), final=number % 3 > 0
        )
        verified(tmp_path)

    assert [(0, "start")] == epochs(tmp_path / NAME)


def test_epochs_of_every_kind(tmp_path: Path) -> None:
    """A resumed run, a skip, other settings and another identity begin epochs, after a drain and after a kill."""
    path = tmp_path / NAME
    long = AnomalySpec("pattern", 0.6, 50, "readings")
    other = replace(IDENTITY, firmware_version="2.0", timezone="Asia/Kolkata")
    write_database(path, 333, settings(long, SPIKE))
    write_database(path, 222, settings(long, SPIKE), later_run(2, 1_000), final=True)
    write_database(path, 200, settings(long, MISSING, rate="2.5"), later_run(3, 2_000))
    write_database(path, 100, settings(long, MISSING, rate="2.5"), later_run(4, 3_000), sensors=[other], final=True)
    write_database(path, 3_000, with_onset_mode(settings(*ANOMALIES)), later_run(5, 4_000), commit_every=950)

    verified(tmp_path)
    reasons = ["start", "resume", "settings", "settings", "skip", "skip", "skip"]
    assert reasons == [reason for _, reason in epochs(path)]


@pytest.mark.parametrize("rate", ["0.001", "0.3", "7.77", "100000"])
def test_tiny_and_huge_rates(rate: str, tmp_path: Path) -> None:
    seconds = 20_000 / float(rate) if float(rate) < 1000 else 0.5
    write_database(tmp_path / NAME, seconds, settings(*ANOMALIES, rate=rate), patient(run()), commit_every=seconds / 7)

    assert verified(tmp_path).readings > 15_000


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_most_readings_missing_or_few(share: float, tmp_path: Path) -> None:
    write_database(
        tmp_path / NAME, 30_000, settings(AnomalySpec("missing_data", share, 40, "readings")), commit_every=899
    )

    verified(tmp_path)


def test_episodes_longer_than_all_that_was_written(tmp_path: Path) -> None:
    write_database(tmp_path / NAME, 500, settings(AnomalySpec("trend", 0.9, 90_000, "readings")), commit_every=50)

    verified(tmp_path)


@pytest.mark.parametrize("sensor_settings", [settings(), settings(channels=(TEMPERATURE,))])
def test_few_channels_and_no_anomalies(sensor_settings: Settings, tmp_path: Path) -> None:
    write_database(tmp_path / NAME, 700, sensor_settings)

    verified(tmp_path)


def test_more_rows_and_episodes_than_are_read_at_once(tmp_path: Path) -> None:
    """60,000 readings, every third of them an episode of its own."""
    sensor_settings = settings(AnomalySpec("spike", 0.35, 1, "readings"), rate="1000")
    write_database(tmp_path / NAME, 59.999, sensor_settings, commit_every=10)

    assert 20_000 < verified(tmp_path).episodes


@pytest.mark.claim("000.configuration-file.3")
def test_a_database_without_a_write_ahead_log(tmp_path: Path) -> None:
    write_database(tmp_path / NAME, 500, wal=False)

    verified(tmp_path)
    assert [tmp_path / NAME] == list(tmp_path.iterdir())


def test_an_unclaimed_and_an_idle_sensor(tmp_path: Path) -> None:
    """A checkpoint at 0 without an epoch belongs to a worker that has not written yet."""
    write_database(tmp_path / "pack_0000.db", 0, sensors=make_identities(3))

    verdict = verified(tmp_path)
    assert (3, 0, 0) == (verdict.sensors, verdict.readings, verdict.episodes)


def test_what_belongs_to_collectors(tmp_path: Path) -> None:
    write_database(tmp_path / NAME, 100)
    damage(tmp_path / NAME, "UPDATE sensor_readings SET synced = 1", "CREATE INDEX theirs ON sensor_readings (synced)")

    verified(tmp_path)


def test_databases_set_aside(tmp_path: Path) -> None:
    """They are checked by their own seed, and their sensors may be in the new databases too."""
    write_database(tmp_path / f"{IDENTITY.sensor_id}.before-7.db", 100, run_spec=replace(run(), seed=1))
    write_database(tmp_path / NAME, 50, run_spec=later_run(9, 600))
    write_sample_manifest(tmp_path)

    assert (1, 2) == ((verdict := verified(tmp_path)).sensors, verdict.databases)

    damage(tmp_path / f"{IDENTITY.sensor_id}.before-7.db", "DELETE FROM sensor_readings WHERE seq = 9")
    assert {"hole": 1} == finding_counts(verify(tmp_path))


def test_a_sensor_in_two_databases(tmp_path: Path) -> None:
    """A sensor must be in one database, not counting those moved aside."""
    write_database(tmp_path / NAME, 100)
    write_database(tmp_path / "OTHER.db", 100)

    assert {"doubled": 1} == finding_counts(verify(tmp_path))


def test_what_is_no_part_of_the_fleet(tmp_path: Path) -> None:
    """Other databases are skipped, quarantined ones are not opened; both are named."""
    write_database(tmp_path / NAME, 100)
    damage(tmp_path / "notes.db", "CREATE TABLE notes (text)")
    (tmp_path / "empty.db").touch()
    (tmp_path / "S_1.db.quarantined-1").write_bytes(b"?")
    (tmp_path / "S_1.db.quarantined-1-wal").write_bytes(b"?")
    (tmp_path / "notes.txt").write_text("?")

    verdict = verified(tmp_path)
    assert ("empty.db: no database of a fleet", "notes.db: no database of a fleet") == verdict.skipped
    assert ("S_1.db.quarantined-1",) == verdict.quarantined
    assert 1 == verdict.databases


def test_a_database_that_is_written_to(tmp_path: Path) -> None:
    """Repeated verification while a worker commits has no findings."""
    path, done = tmp_path / "sensor_data.db", Event()
    write_database(path, 1, sensors=make_identities(8))

    def go_on() -> None:
        for number in range(2, 12):
            write_database(
                path,
                number * 60,
                sensors=make_identities(8),
                run_spec=with_catch_up(run(number)),
                commit_every=1.3,
                final=number % 2 > 0,
            )
        done.set()

    writer = Thread(target=go_on)
    writer.start()
    counts = []
    while not done.is_set():
        counts.append(verified(tmp_path).readings)
    writer.join()

    assert sorted(counts) == counts
    assert len(counts) > 2
    assert verified(tmp_path).readings == readings(path)


def test_one_sensor_of_many(tmp_path: Path) -> None:
    """Differences of other sensors are not reported."""
    write_database(tmp_path / "pack_0000.db", 300, SETTINGS, sensors=make_identities(3), commit_every=11)
    write_database(tmp_path / "pack_0001.db", 300, SETTINGS, sensors=make_identities(5)[3:], commit_every=11)
    damage(tmp_path / "pack_0000.db", "DELETE FROM sensor_readings WHERE sensor_id = 'S_000001' AND seq = 100")

    assert (1, 1) == ((verdict := verify(tmp_path, sensor="S_000000")).sensors, verdict.databases)
    assert verdict.ok
    assert {"hole": 1} == finding_counts(verify(tmp_path, sensor="S_000001"))
    assert verify(tmp_path, sensor="S_000004").ok
