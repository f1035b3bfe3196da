"""`fleet verify` of a database that stores no readings: all else is verified, and it says that they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.verify.findings import Verdict
from fleet.verify.verification import verify
from tests.fleet.verify.damage import damage
from tests.worker.samples import IDENTITY
from tests.worker.stores import SensorWriter

ID = IDENTITY.sensor_id


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / f"{ID}.db"
    writer = SensorWriter(path, readings=False)
    for seconds in (100, 299):
        writer.deliver(seconds)
    writer.sink.close()
    return path


def counts(verdict: Verdict) -> dict[str, int]:
    return dict(verdict.counts)


def test_what_is_not_stored_is_not_counted(database: Path) -> None:
    verdict = verify(database.parent)
    assert verdict.ok
    assert (1, 0) == (verdict.sensors, verdict.readings)
    assert verdict.episodes > 10
    (note,) = verdict.skipped
    assert note.startswith("300 scheduled readings of 1 database that stores none (--store none): only")


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (
            "DELETE FROM anomaly_episodes WHERE first_seq = (SELECT max(first_seq) FROM anomaly_episodes)",
            "episode missing",
        ),
        ("UPDATE anomaly_episodes SET last_seq = last_seq + 1", "episode altered"),
        (
            "UPDATE anomaly_episodes SET first_seq = 298 WHERE first_seq = (SELECT max(first_seq) FROM anomaly_episodes)",
            "episode extra",
        ),
        ("UPDATE epochs SET start_time = 'x'", "epoch"),
        ("UPDATE checkpoints SET next_seq = 'x'", "checkpoint"),
        ("UPDATE database_info SET generation = 'x'", "record"),
        ("UPDATE checkpoints SET next_seq = 1 << 60", "episode missing"),
    ],
)
def test_what_determines_the_readings_is_verified(database: Path, statement: str, kind: str) -> None:
    damage(database, statement)
    assert kind in counts(verify(database.parent))
