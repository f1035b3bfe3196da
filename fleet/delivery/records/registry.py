"""The records by their names in `--record` and in configs."""

from __future__ import annotations

from fleet.delivery.records.nested import NestedRecord
from fleet.delivery.records.record import ROW, Record
from fleet.errors import UserError
from fleet.escaping import escape_short

RECORDS: dict[str, Record] = {record.name: record for record in (ROW, NestedRecord())}


def record_named(name: str | None) -> Record:
    """Return the record of a name, `row` without one. UserError if there is none."""
    name = name or ROW.name
    if name in RECORDS:
        return RECORDS[name]
    raise UserError(f"--record: {escape_short(name)} is no record: allowed is {', '.join(RECORDS)}")
