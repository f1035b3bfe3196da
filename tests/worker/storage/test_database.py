"""The SQLite sink on real files: what it writes, and what it says of itself."""

from __future__ import annotations

import uuid
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from tests.worker.samples import IDENTITY, NEW_YEAR, SECOND_US, TREND, run, settings, with_catch_up
from tests.worker.stores import SETTINGS, SensorWriter, expected_seqs, select, stored_seqs
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import MISSING_DATA_INDEX, SignalGenerator
from worker.schedule import format_times
from worker.storage.schema import READINGS_KEY

pytestmark = pytest.mark.claim("000.integration-points.2", "000.testing.3", "002.introduction-features.5")

COLUMNS = [
    "id",
    "timestamp",
    "sensor_id",
    "temperature",
    "humidity",
    "pressure",
    "vibration",
    "voltage",
    "status_code",
    "anomaly_flag",
    "anomaly_type",
    "synced",
    "firmware_version",
    "model",
    "manufacturer",
    "serial_number",
    "manufacture_date",
    "location",
    "latitude",
    "longitude",
    "original_timezone",
    "deployment_type",
    "installation_date",
    "height_meters",
    "orientation_degrees",
    "instance_id",
    "sensor_type",
    "seq",
]


def test_the_table_is_the_one_that_others_know(path: Path, writer: SensorWriter) -> None:
    """A table of the 27 columns in their order, then seq; WAL, so that readers and the writer never wait."""
    assert [("table",)] == select(path, "SELECT type FROM sqlite_master WHERE name = 'sensor_readings'")
    assert COLUMNS == [row[1] for row in select(path, "PRAGMA table_info(sensor_readings)")]
    assert [("wal",)] == select(path, "PRAGMA journal_mode")


@pytest.mark.claim("001.database-schema.4")
def test_rows_are_the_readings(path: Path, writer: SensorWriter) -> None:
    """Each column holds what belongs there, to the last bit; missing readings have no row."""
    writer.deliver(999)
    block = SignalGenerator(42, IDENTITY, SETTINGS, 0, NEW_YEAR).block(0, 1_000)
    kinds = block.kinds.tolist()
    labels = [(0, 0, None) if kind < 0 else (1, 1, ANOMALY_TYPES[kind]) for kind in kinds]
    expected = [
        (moment, *values, *label, 0, seq)
        for seq, (moment, values, label) in enumerate(
            zip(format_times(block.times), block.values.T.tolist(), labels, strict=True)
        )
        if kinds[seq] != MISSING_DATA_INDEX
    ]

    assert expected == select(
        path, f"SELECT timestamp, {', '.join(COLUMNS[3:12])}, seq FROM sensor_readings ORDER BY id"
    )


@pytest.mark.claim("001.database-schema.6")
def test_rows_say_who_wrote_them(path: Path, writer: SensorWriter) -> None:
    writer.deliver(80)
    columns = COLUMNS[12:27]
    fields = ["timezone" if name == "original_timezone" else name for name in columns]

    assert [(IDENTITY.sensor_id, *(getattr(IDENTITY, field) for field in fields))] == select(
        path, f"SELECT DISTINCT sensor_id, {', '.join(columns)} FROM sensor_readings"
    )


def test_a_channel_that_the_sensor_does_not_have_is_null(path: Path) -> None:
    sensor_settings = settings(channels=(SETTINGS.channels[4], SETTINGS.channels[0]))
    subject = SensorWriter(path, sensor_settings)
    subject.deliver(0)
    subject.sink.close()
    voltage, temperature = SignalGenerator(42, IDENTITY, sensor_settings, 0, NEW_YEAR).block(0, 1).values[:, 0].tolist()

    assert [(temperature, None, None, None, voltage)] == select(
        path, f"SELECT {', '.join(COLUMNS[3:8])} FROM sensor_readings"
    )


@pytest.mark.claim("001.database-schema.5")
def test_episodes_are_on_record(path: Path, writer: SensorWriter) -> None:
    """Also those of missing data, whose readings have no row; end_time is that of last_seq."""
    writer.deliver(4_999)
    episodes = SignalGenerator(42, IDENTITY, SETTINGS, 0, NEW_YEAR).episodes(0, 5_000)
    times = format_times(writer.sensor.schedule.times(0, 6_000))
    expected = [
        (e.kind, ",".join(e.channels) or None, e.first_seq, e.last_seq, times[e.first_seq], times[e.last_seq])
        for e in episodes
    ]

    assert expected == select(
        path, "SELECT type, channel, first_seq, last_seq, start_time, end_time FROM anomaly_episodes ORDER BY first_seq"
    )


def test_a_database_has_a_role_and_a_generation(path: Path, writer: SensorWriter) -> None:
    """A new UUID for each file, kept when it is opened again."""
    ((role, generation),) = select(path, "SELECT role, generation FROM database_info")
    writer.sink.close()
    SensorWriter(path, incarnation=2).sink.close()

    assert "live" == role
    assert generation == str(uuid.UUID(generation))
    assert [(generation,)] == select(path, "SELECT generation FROM database_info")
    other = path.with_name("other.db")
    SensorWriter(other).sink.close()
    assert [(generation,)] != select(other, "SELECT generation FROM database_info")


@pytest.mark.parametrize("seed", [42, 2**64 - 1])
def test_an_epoch_is_read_back_as_it_was_written(path: Path, seed: int) -> None:
    """Settings, identity, schedule, seed, reason: all that it takes to compute the readings again."""
    odd = replace(TREND, parameters=(("max_change", 0.1 + 0.2),), channel_odds=(("temperature", 1.5),))
    sensor_settings = replace(settings(odd, rate="0.333333"), mode="onset")
    subject = SensorWriter(path, sensor_settings, replace(run(7), seed=seed))
    (first, *_) = subject.deliver(300)
    (position,) = subject.sink.claim([IDENTITY], 2)
    subject.sink.close()

    assert first.epoch is not None
    assert (100, first.epoch) == position


def test_an_episode_is_cut_at_the_end_of_a_run_and_whole_again_when_it_goes_on(path: Path) -> None:
    """The record says what there is: shortened when the run ends in an episode, restored by a run that catches up."""
    generator = SignalGenerator(42, IDENTITY, SETTINGS, 0, NEW_YEAR)
    whole = next(e for e in generator.episodes(50, 2_000) if e.kind == "pattern" and e.first_seq > 50)
    middle = whole.first_seq + 7
    query = "SELECT last_seq, end_time FROM anomaly_episodes WHERE first_seq = ?"
    moments = format_times(generator.schedule.times(0, 3_000))
    first = SensorWriter(path, run_spec=run(seconds=middle))
    first.deliver(10_000)
    first.sink.close()

    assert [(middle - 1, moments[middle - 1])] == select(path, query, whole.first_seq)
    second = SensorWriter(path, run_spec=with_catch_up(run(2, NEW_YEAR + 2_000 * SECOND_US)), incarnation=2)
    second.deliver(0)
    second.sink.close()
    assert [(whole.last_seq, moments[whole.last_seq])] == select(path, query, whole.first_seq)
    assert expected_seqs(SETTINGS, 2_001) == stored_seqs(path)


def test_a_new_epoch_cuts_the_episode_that_was_running(path: Path) -> None:
    """After a crash the record reaches beyond the last reading; what begins there ends it, in one transaction."""
    generator = SignalGenerator(42, IDENTITY, SETTINGS, 0, NEW_YEAR)
    whole = next(e for e in generator.episodes(50, 2_000) if e.kind == "pattern" and e.first_seq > 50)
    middle = whole.first_seq + 7
    crashed = SensorWriter(path)
    crashed.deliver(middle - 1)
    crashed.sink.close()
    query = "SELECT last_seq FROM anomaly_episodes WHERE first_seq = ?"
    assert [(whole.last_seq,)] == select(path, query, whole.first_seq)
    later = SensorWriter(path, run_spec=run(2, NEW_YEAR + 9_000 * SECOND_US), incarnation=2)
    later.deliver(10)
    later.sink.close()

    assert [(middle - 1,)] == select(path, query, whole.first_seq)
    assert [("start", 0), ("resume", middle)] == select(path, "SELECT reason, first_seq FROM epochs ORDER BY first_seq")
    times = [moment for (moment,) in select(path, "SELECT timestamp FROM sensor_readings ORDER BY seq")]
    assert sorted(set(times)) == times


def test_a_reading_is_stored_once(path: Path, writer: SensorWriter) -> None:
    """Its key is a unique index, so another program cannot write it a second time either."""
    writer.deliver(10)
    columns = ",".join(name for name in COLUMNS if name != "id")
    with closing(apsw.Connection(str(path))) as other, pytest.raises(apsw.ConstraintError):
        other.execute(f"INSERT INTO sensor_readings ({columns}) SELECT {columns} FROM sensor_readings")


def test_an_older_database_gets_no_index(path: Path, writer: SensorWriter) -> None:
    """Its table may be large, or have a reading twice; it is written to as before."""
    writer.deliver(10)
    writer.sink.close()
    with closing(apsw.Connection(str(path))) as other:
        other.execute(f"DROP INDEX {READINGS_KEY}")
        other.execute("PRAGMA user_version = 0")  # so that the tables are created if they are missing
    again = SensorWriter(path, incarnation=2)
    again.deliver(20)
    again.sink.close()

    assert expected_seqs(SETTINGS, 21) == stored_seqs(path)
    assert [] == select(path, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
