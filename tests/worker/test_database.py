"""The SQLite sink on real files: one transaction for everything, one writer at a time, nothing lost or doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.worker.samples import ANOMALIES, IDENTITY, NEW_YEAR, SECOND, TREND, catching_up, run, sensor, settings
from worker.anomalies import NAMES
from worker.database import Database
from worker.generation import MISSING, Plan
from worker.schedule import texts
from worker.sinks import Fenced, Portion, Unavailable
from worker.spec import RunSpec, Settings

ROOT = Path(__file__).resolve().parents[2]
TOLD = settings(*ANOMALIES)
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


class Writer:
    """A sensor and its database, without a process around them."""

    def __init__(self, path: Path, told: Settings = TOLD, during: RunSpec | None = None, incarnation: int = 1) -> None:
        self.during = during or run()
        self.sink, self.sensor = Database(path), sensor(told, self.during)
        (position,) = self.sink.claim([IDENTITY], incarnation)
        self.sensor.resume(position)

    def propose(self, seconds: float, *, final: bool = False) -> list[Portion]:
        return self.sensor.portions(self.during.start_us + round(seconds * SECOND), 100_000, final=final)

    def deliver(self, seconds: float, *, final: bool = False) -> list[Portion]:
        """All that is due that many seconds into the run."""
        portions = self.propose(seconds, final=final)
        self.sink.deliver(portions)
        for portion in portions:
            self.sensor.settled(portion)
        return portions


def ask(path: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Read as anybody else would, on a connection of its own that cannot write."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.set_busy_timeout(5_000)
        return list(reader.execute(query, values))


def delivered(path: Path) -> list[int]:
    """The sequence numbers there are, by id."""
    return [seq for (seq,) in ask(path, "SELECT seq FROM sensor_readings ORDER BY id")]


def present(told: Settings, end: int) -> list[int]:
    """The sequence numbers that are not missing, of an epoch that begins with 0."""
    kinds = Plan(42, IDENTITY, told, 0, NEW_YEAR).block(0, end).kinds
    return [seq for seq, kind in enumerate(kinds.tolist()) if kind != MISSING]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "CHI_123456.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    subject = Writer(path)
    yield subject
    subject.sink.close()


def test_the_table_is_the_one_that_others_know(path: Path, writer: Writer) -> None:
    """A table of the 27 columns in their order, then seq; WAL, so that readers and the writer never wait."""
    assert [("table",)] == ask(path, "SELECT type FROM sqlite_master WHERE name = 'sensor_readings'")
    assert COLUMNS == [row[1] for row in ask(path, "PRAGMA table_info(sensor_readings)")]
    assert [("wal",)] == ask(path, "PRAGMA journal_mode")


def test_rows_are_the_readings(path: Path, writer: Writer) -> None:
    """Each column holds what belongs there, to the last bit; missing readings have no row."""
    writer.deliver(999)
    block = Plan(42, IDENTITY, TOLD, 0, NEW_YEAR).block(0, 1_000)
    kinds = block.kinds.tolist()
    labels = [(0, 0, None) if kind < 0 else (1, 1, NAMES[kind]) for kind in kinds]
    expected = [
        (moment, *values, *label, 0, seq)
        for seq, (moment, values, label) in enumerate(
            zip(texts(block.times), block.values.T.tolist(), labels, strict=True)
        )
        if kinds[seq] != MISSING
    ]

    assert expected == ask(path, f"SELECT timestamp, {', '.join(COLUMNS[3:12])}, seq FROM sensor_readings ORDER BY id")


def test_rows_say_who_wrote_them(path: Path, writer: Writer) -> None:
    writer.deliver(80)
    columns = COLUMNS[12:27]
    fields = ["timezone" if name == "original_timezone" else name for name in columns]

    assert [(IDENTITY.sensor_id, *(getattr(IDENTITY, field) for field in fields))] == ask(
        path, f"SELECT DISTINCT sensor_id, {', '.join(columns)} FROM sensor_readings"
    )


def test_a_channel_that_the_sensor_does_not_have_is_null(path: Path) -> None:
    told = settings(channels=(TOLD.channels[4], TOLD.channels[0]))
    subject = Writer(path, told)
    subject.deliver(0)
    subject.sink.close()
    voltage, temperature = Plan(42, IDENTITY, told, 0, NEW_YEAR).block(0, 1).values[:, 0].tolist()

    assert [(temperature, None, None, None, voltage)] == ask(
        path, f"SELECT {', '.join(COLUMNS[3:8])} FROM sensor_readings"
    )


def test_episodes_are_on_record(path: Path, writer: Writer) -> None:
    """Also those of missing data, whose readings have no row; end_time is that of last_seq."""
    writer.deliver(4_999)
    episodes = Plan(42, IDENTITY, TOLD, 0, NEW_YEAR).episodes(0, 5_000)
    times = texts(writer.sensor.schedule.times(0, 6_000))
    expected = [
        (e.kind, ",".join(e.channels) or None, e.first_seq, e.last_seq, times[e.first_seq], times[e.last_seq])
        for e in episodes
    ]

    assert expected == ask(
        path, "SELECT type, channel, first_seq, last_seq, start_time, end_time FROM anomaly_episodes ORDER BY first_seq"
    )


def test_a_database_has_a_role_and_a_generation(path: Path, writer: Writer) -> None:
    """A new UUID for each file, kept when it is opened again."""
    ((role, generation),) = ask(path, "SELECT role, generation FROM database_info")
    writer.sink.close()
    Writer(path, incarnation=2).sink.close()

    assert "live" == role
    assert generation == str(uuid.UUID(generation))
    assert [(generation,)] == ask(path, "SELECT generation FROM database_info")
    other = path.with_name("other.db")
    Writer(other).sink.close()
    assert [(generation,)] != ask(other, "SELECT generation FROM database_info")


@pytest.mark.parametrize("seed", [42, 2**64 - 1])
def test_an_epoch_is_read_back_as_it_was_written(path: Path, seed: int) -> None:
    """Settings, identity, schedule, seed, reason: all that it takes to compute the readings again."""
    odd = replace(TREND, parameters=(("max_change", 0.1 + 0.2),), channel_odds=(("temperature", 1.5),))
    told = replace(settings(odd, rate="0.333333"), mode="onset")
    subject = Writer(path, told, replace(run(7), seed=seed))
    (first, *_) = subject.deliver(300)
    (position,) = subject.sink.claim([IDENTITY], 2)
    subject.sink.close()

    assert first.epoch is not None
    assert (100, first.epoch) == position


def test_an_older_incarnation_is_fenced(path: Path, writer: Writer) -> None:
    """One that was replaced while it was stopped can never write again, nor take the sensor back."""
    writer.deliver(10)
    newer = Writer(path, incarnation=2)
    with pytest.raises(Fenced):
        writer.deliver(20)
    with pytest.raises(Fenced):
        writer.sink.claim([IDENTITY], 1)
    newer.deliver(20)
    newer.sink.close()

    assert present(TOLD, 21) == delivered(path)


def test_a_delivery_is_taken_once(path: Path, writer: Writer) -> None:
    """The checkpoint is compared before it is set: what is in already is refused, and leaves no trace."""
    portions = writer.propose(100)
    writer.sink.deliver(portions)
    with pytest.raises(Fenced):
        writer.sink.deliver(portions)

    assert present(TOLD, 101) == delivered(path)
    assert [(101, 1)] == ask(path, "SELECT next_seq, incarnation FROM checkpoints")


def test_portions_are_settled_all_or_none(path: Path, writer: Writer) -> None:
    """One that is out of place takes the others along."""
    writer.deliver(5)
    portion = writer.propose(1_000)[0]
    assert portion.block is not None
    half = replace(portion, block=portion.block.between(6, 9))
    misplaced = replace(portion, block=portion.block.between(10, portion.end), next_seq=10)
    with pytest.raises(Fenced):
        writer.sink.deliver([half, misplaced])

    assert present(TOLD, 6) == delivered(path)
    assert all(first < 6 for (first,) in ask(path, "SELECT first_seq FROM anomaly_episodes"))
    writer.deliver(1_000)
    assert present(TOLD, 1_001) == delivered(path)


KILLED_HALFWAY = """
import sys, time
from pathlib import Path
from tests.worker.test_database import Writer
from worker.database import Transaction, write
writer = Writer(Path(sys.argv[1]), incarnation=2)
transaction = Transaction(writer.sink._connection)
transaction.__enter__()
for portion in writer.propose(20_000):
    write(writer.sink._connection, portion, 2)
print("written", flush=True)
sys.stdin.read()
"""


def test_a_writer_killed_in_a_transaction_leaves_nothing_of_it(path: Path, writer: Writer) -> None:
    """Twenty thousand rows are in the log by then, and none is seen: neither rows, episodes nor checkpoint."""
    writer.deliver(50)
    writer.sink.close()
    command = [sys.executable, "-c", KILLED_HALFWAY, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"written\n" == process.stdout.readline()
        assert path.with_name(path.name + "-wal").stat().st_size > 1_000_000
        process.send_signal(signal.SIGKILL)

    assert present(TOLD, 51) == delivered(path)
    assert all(first < 51 for (first,) in ask(path, "SELECT first_seq FROM anomaly_episodes"))
    again = Writer(path, incarnation=3)
    again.deliver(60)
    again.sink.close()
    assert present(TOLD, 61) == delivered(path)
    assert [("ok",)] == ask(path, "PRAGMA integrity_check")


def test_a_locked_database_is_unavailable_and_nothing_is_written(path: Path, writer: Writer) -> None:
    """It is known that nothing took place (`lost` is false), so the same portions may be delivered afterwards."""
    writer.deliver(5)
    portions = writer.propose(100)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"CHI_123456\.db: .*lock") as caught:
            writer.sink.deliver(portions)
        assert present(TOLD, 6) == delivered(path)
        other.execute("ROLLBACK")
    writer.sink.deliver(portions)

    assert not caught.value.lost
    assert present(TOLD, 101) == delivered(path)


@pytest.mark.parametrize("junk", [b"not a database, " * 1000, b"\x00" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_unavailable_and_left_alone(path: Path, junk: bytes) -> None:
    path.write_bytes(junk)
    with pytest.raises(Unavailable, match=r"CHI_123456\.db: ") as caught:
        Writer(path)

    assert caught.value.lost
    assert junk == path.read_bytes()


def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"a\.db: "):
        Writer(tmp_path / "missing" / "a.db")


def test_readers_see_a_whole_and_do_not_stop_the_writer(path: Path, writer: Writer) -> None:
    """A reader in the middle of its transaction keeps what it saw, while the writer goes on."""
    count = "SELECT count(*), max(seq) FROM sensor_readings"
    writer.deliver(100)
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.execute("BEGIN")
        before = reader.execute(count).fetchone()
        writer.deliver(5_000)
        assert before == reader.execute(count).fetchone()
        reader.execute("COMMIT")
        assert [(len(present(TOLD, 5_001)), 5_000)] == list(reader.execute(count))


def test_a_collector_may_mark_rows_while_the_worker_writes(path: Path, writer: Writer) -> None:
    """`synced` is updated on another connection between and during the transactions; nobody loses anything."""
    writer.deliver(0)
    ended = threading.Event()

    def collect() -> None:
        with closing(apsw.Connection(str(path))) as collector:
            collector.set_busy_timeout(10_000)
            while not ended.wait(0.002):
                collector.execute("UPDATE sensor_readings SET synced = 1 WHERE synced = 0")

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for step in range(1, 150):
            writer.deliver(step * 20)
    finally:
        ended.set()
        collector.join()

    assert present(TOLD, 2_981) == delivered(path)
    assert {1} <= {synced for (synced,) in ask(path, "SELECT DISTINCT synced FROM sensor_readings")} <= {0, 1}


def test_an_episode_is_cut_at_the_end_of_a_run_and_whole_again_when_it_goes_on(path: Path) -> None:
    """The record says what there is: shortened when the run ends in an episode, restored by a run that catches up."""
    plan = Plan(42, IDENTITY, TOLD, 0, NEW_YEAR)
    whole = next(e for e in plan.episodes(50, 2_000) if e.kind == "pattern" and e.first_seq > 50)
    middle = whole.first_seq + 7
    query = "SELECT last_seq, end_time FROM anomaly_episodes WHERE first_seq = ?"
    moments = texts(plan.schedule.times(0, 3_000))
    first = Writer(path, during=run(seconds=middle))
    first.deliver(10_000)
    first.sink.close()

    assert [(middle - 1, moments[middle - 1])] == ask(path, query, whole.first_seq)
    second = Writer(path, during=catching_up(run(2, NEW_YEAR + 2_000 * SECOND)), incarnation=2)
    second.deliver(0)
    second.sink.close()
    assert [(whole.last_seq, moments[whole.last_seq])] == ask(path, query, whole.first_seq)
    assert present(TOLD, 2_001) == delivered(path)


def test_a_new_epoch_cuts_the_episode_that_was_running(path: Path) -> None:
    """After a crash the record reaches beyond the last reading; what begins there ends it, in one transaction."""
    plan = Plan(42, IDENTITY, TOLD, 0, NEW_YEAR)
    whole = next(e for e in plan.episodes(50, 2_000) if e.kind == "pattern" and e.first_seq > 50)
    middle = whole.first_seq + 7
    crashed = Writer(path)
    crashed.deliver(middle - 1)
    crashed.sink.close()
    query = "SELECT last_seq FROM anomaly_episodes WHERE first_seq = ?"
    assert [(whole.last_seq,)] == ask(path, query, whole.first_seq)
    later = Writer(path, during=run(2, NEW_YEAR + 9_000 * SECOND), incarnation=2)
    later.deliver(10)
    later.sink.close()

    assert [(middle - 1,)] == ask(path, query, whole.first_seq)
    assert [("start", 0), ("resume", middle)] == ask(path, "SELECT reason, first_seq FROM epochs ORDER BY first_seq")
    times = [moment for (moment,) in ask(path, "SELECT timestamp FROM sensor_readings ORDER BY seq")]
    assert sorted(set(times)) == times
