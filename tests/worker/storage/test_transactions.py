"""One transaction for everything, one writer at a time: nothing is lost, nothing doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from tests.worker.samples import IDENTITY
from tests.worker.stores import SETTINGS, SensorWriter, expected_seqs, select, stored_seqs
from worker.storage.sinks import Fenced, Unavailable

pytestmark = pytest.mark.claim("000.testing.3", "001.architecture.3")

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.claim("000.performance-characteristics.6")
def test_an_older_incarnation_is_fenced(path: Path, writer: SensorWriter) -> None:
    """One that was replaced while it was stopped can never write again, nor take the sensor back."""
    writer.deliver(10)
    newer = SensorWriter(path, incarnation=2)
    with pytest.raises(Fenced):
        writer.deliver(20)
    with pytest.raises(Fenced):
        writer.sink.claim([IDENTITY], 1)
    newer.deliver(20)
    newer.sink.close()

    assert expected_seqs(SETTINGS, 21) == stored_seqs(path)


def test_a_delivery_is_taken_once(path: Path, writer: SensorWriter) -> None:
    """The checkpoint is compared before it is set: what is in already is refused, and leaves no trace."""
    portions = writer.due_portions(100)
    writer.sink.deliver(portions)
    with pytest.raises(Fenced):
        writer.sink.deliver(portions)

    assert expected_seqs(SETTINGS, 101) == stored_seqs(path)
    assert [(101, 1)] == select(path, "SELECT next_seq, incarnation FROM checkpoints")


def test_portions_are_settled_all_or_none(path: Path, writer: SensorWriter) -> None:
    """One that is out of place takes the others along."""
    writer.deliver(5)
    portion = writer.due_portions(1_000)[0]
    assert portion.block is not None
    half = replace(portion, block=portion.block.between(6, 9))
    misplaced = replace(portion, block=portion.block.between(10, portion.end), next_seq=10)
    with pytest.raises(Fenced):
        writer.sink.deliver([half, misplaced])

    assert expected_seqs(SETTINGS, 6) == stored_seqs(path)
    assert all(first < 6 for (first,) in select(path, "SELECT first_seq FROM anomaly_episodes"))
    writer.deliver(1_000)
    assert expected_seqs(SETTINGS, 1_001) == stored_seqs(path)


KILLED_HALFWAY = """
import sys, time
from pathlib import Path
from tests.worker.stores import SensorWriter
from worker.storage.connection import Transaction
from worker.storage.insertion import ReadingsTable
from worker.storage.transactions import write_portion
writer = SensorWriter(Path(sys.argv[1]), incarnation=2)
transaction = Transaction(writer.sink._connection)
transaction.__enter__()
for portion in writer.due_portions(20_000):
    write_portion(ReadingsTable(writer.sink._connection), portion, 2)
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.process
@pytest.mark.claim("002.error-handling.3")
def test_a_writer_killed_in_a_transaction_leaves_nothing_of_it(path: Path, writer: SensorWriter) -> None:
    """Twenty thousand rows are in the log by then, and none is seen: neither rows, episodes nor checkpoint."""
    writer.deliver(50)
    writer.sink.close()
    command = [sys.executable, "-c", KILLED_HALFWAY, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"written\n" == process.stdout.readline()
        assert path.with_name(path.name + "-wal").stat().st_size > 1_000_000
        process.send_signal(signal.SIGKILL)

    assert expected_seqs(SETTINGS, 51) == stored_seqs(path)
    assert all(first < 51 for (first,) in select(path, "SELECT first_seq FROM anomaly_episodes"))
    again = SensorWriter(path, incarnation=3)
    again.deliver(60)
    again.sink.close()
    assert expected_seqs(SETTINGS, 61) == stored_seqs(path)
    assert [("ok",)] == select(path, "PRAGMA integrity_check")


def test_a_locked_database_is_unavailable_and_nothing_is_written(path: Path, writer: SensorWriter) -> None:
    """It is known that nothing took place (`lost` is false), so the same portions may be delivered afterwards."""
    writer.deliver(5)
    portions = writer.due_portions(100)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match=r"CHI_123456\.db: .*lock") as caught:
            writer.sink.deliver(portions)
        assert expected_seqs(SETTINGS, 6) == stored_seqs(path)
        other.execute("ROLLBACK")
    writer.sink.deliver(portions)

    assert not caught.value.outcome_unknown
    assert expected_seqs(SETTINGS, 101) == stored_seqs(path)


def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"a\.db: "):
        SensorWriter(tmp_path / "missing" / "a.db")


@pytest.mark.claim("000.performance-characteristics.5")
def test_readers_see_a_whole_and_do_not_stop_the_writer(path: Path, writer: SensorWriter) -> None:
    """A reader in the middle of its transaction keeps what it saw, while the writer goes on."""
    count = "SELECT count(*), max(seq) FROM sensor_readings"
    writer.deliver(100)
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        reader.execute("BEGIN")
        before = reader.execute(count).fetchone()
        writer.deliver(5_000)
        assert before == reader.execute(count).fetchone()
        reader.execute("COMMIT")
        assert [(len(expected_seqs(SETTINGS, 5_001)), 5_000)] == list(reader.execute(count))


@pytest.mark.claim("002.database-sync.1")
def test_a_collector_may_mark_rows_while_the_worker_writes(path: Path, writer: SensorWriter) -> None:
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

    assert expected_seqs(SETTINGS, 2_981) == stored_seqs(path)
    assert {1} <= {synced for (synced,) in select(path, "SELECT DISTINCT synced FROM sensor_readings")} <= {0, 1}


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM checkpoints",
        "UPDATE checkpoints SET next_seq = 'many'",
        "UPDATE checkpoints SET next_seq = -7",
        "UPDATE checkpoints SET next_seq = 1 << 62",
        "UPDATE checkpoints SET incarnation = 'none'",
    ],
)
def test_a_checkpoint_that_is_missing_or_damaged(path: Path, caplog: pytest.LogCaptureFixture, damage: str) -> None:
    """The readings that are stored count: the next follows them, nothing is doubled, and the log says so."""
    writer = SensorWriter(path)
    writer.deliver(80)
    writer.sink.close()
    with closing(apsw.Connection(str(path))) as other:
        other.execute(damage)
    again = SensorWriter(path, incarnation=2)
    again.deliver(120)
    again.sink.close()

    assert expected_seqs(SETTINGS, 121) == stored_seqs(path)
    assert "continuing at reading" in caplog.text


def test_a_checkpoint_that_is_moved_back(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a shared database, which its writers do not check as a whole: the readings that are stored count."""
    writer = SensorWriter(path, shared=True)
    writer.deliver(80)
    writer.sink.close()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("UPDATE checkpoints SET next_seq = 5")
    again = SensorWriter(path, incarnation=2, shared=True)
    again.deliver(120)
    again.sink.close()

    assert expected_seqs(SETTINGS, 121) == stored_seqs(path)
    assert "its checkpoint is behind its readings: continuing at reading 81" in caplog.text


def test_a_reading_that_another_program_has_stored(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It stays, and those around it are written."""
    writer = SensorWriter(path)
    writer.deliver(80)
    columns = "timestamp, sensor_id, synced"
    with closing(apsw.Connection(str(path))) as other:
        other.execute(
            f"INSERT INTO sensor_readings ({columns}, seq) SELECT {columns}, 200 FROM sensor_readings LIMIT 1"
        )
    writer.deliver(300)
    writer.sink.close()

    assert expected_seqs(SETTINGS, 301) == sorted({*stored_seqs(path)})
    assert len(stored_seqs(path)) == len(set(stored_seqs(path)))
    assert "to 300 are stored already" in caplog.text
