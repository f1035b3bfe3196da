"""A sensor's readings in a central database, to be damaged there and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.verify.findings import Finding
from tests.fleet.delivery.swept import sweep
from tests.fleet.verify.damage import damage, select, write_database
from tests.worker.samples import IDENTITY

NAME = f"{IDENTITY.sensor_id}.db"


def against(central: Path, **given: Any) -> ComparisonOptions:
    return ComparisonOptions(f"sqlite:///{central}", **given)


def deliver_sample(tmp_path: Path, seconds: float = 1499) -> Path:
    """A central database with all that a sensor generated."""
    (tmp_path / "data").mkdir()
    write_database(tmp_path / "data" / NAME, seconds)
    sweep(tmp_path / "data", tmp_path / "central.db")
    return tmp_path / "central.db"


def compare_central(central: Path, **given: Any) -> DeliveryVerdict:
    return compare(central.with_name("data"), against(central, **given))


def only_finding(central: Path, kind: str) -> Finding:
    """The one finding that there is, of that sensor and its database."""
    verdict = compare_central(central)
    assert {kind: 1} == verdict.counts
    (finding,) = verdict.findings
    assert (kind, IDENTITY.sensor_id, NAME) == (finding.kind, finding.sensor_id, finding.database)
    return finding


def insert_copy(central: Path, row: int, seq: str, **values: Any) -> None:
    """Insert a copy of a row, with other values."""
    names = [name for (name,) in select(central, "SELECT name FROM pragma_table_info('sensor_readings')")[1:]]
    shown = {name: repr(value) for name, value in values.items()} | ({"seq": seq} if seq else {})
    selected = ",".join(shown.get(name, name) for name in names)
    own = f"{values['id']}" if "id" in values else "NULL"
    damage(
        central,
        "DROP INDEX IF EXISTS reading_key",
        f"INSERT INTO sensor_readings (id, {','.join(names)}) SELECT {own}, {selected} FROM sensor_readings WHERE id = {row}",
    )
