"""The insertion of readings into `sensor_readings`, whose columns behind `seq` are added when a sensor needs them."""

from __future__ import annotations

from typing import NamedTuple

import apsw

from worker.spec import AttributeValue, Identity, Settings
from worker.storage.schema import (
    FurtherColumn,
    further_columns,
    further_identity_columns,
    further_identity_values,
    further_reading_columns,
    identity_values,
    insert_readings_sql,
    quote_identifier,
    stores_readings,
)

ROWS_PER_STATEMENT, ROWS_PER_WIDE_STATEMENT = 50, 25
WIDE_FROM_COLUMNS = 12
"""From this many further columns on a statement has fewer rows: apsw caches no statement of more than 16 kB."""

SELECT_COLUMNS = "SELECT name, upper(type), hidden FROM pragma_table_xinfo('sensor_readings')"

SAME_NUMBERS: frozenset[str] = frozenset({"REAL", "INTEGER"})
"""The types between which SQLite converts no number with loss."""


class ColumnConflict(Exception):
    """The table has a column of another program where a further one must be. `str(error)` is one line."""


class Insertion(NamedTuple):
    """The statements that insert the readings of one sensor, `rows` at a time and one by one.

    The values of a row follow `constants`.
    """

    identity: Identity
    settings: Settings
    constants: tuple[AttributeValue, ...]
    insert_rows: str
    insert_row: str
    rows: int


class ReadingsTable:
    """The table `sensor_readings` of one connection. To be discarded after a rollback, which takes added columns away.

    `stored` is False in a database that stores no readings.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.stored = stores_readings(connection)
        self._insertions: dict[str, Insertion] = {}
        self._checked: set[FurtherColumn] = set()

    def insertion(self, identity: Identity, settings: Settings) -> Insertion:
        """Return the statements for the readings of a sensor. Adds columns that are missing, in the caller's transaction.

        Raises ColumnConflict.
        """
        known = self._insertions.get(identity.sensor_id)
        # Compared by identity, as comparing settings would take longer than inserting a reading.
        if known is not None and known.identity is identity and known.settings is settings:
            return known
        self._add_columns(further_columns(identity, settings))
        varying = tuple(column.name for column in further_reading_columns(settings))
        constant = tuple(column.name for column in further_identity_columns(identity))
        rows = ROWS_PER_STATEMENT if len(varying) + len(constant) < WIDE_FROM_COLUMNS else ROWS_PER_WIDE_STATEMENT
        made = self._insertions[identity.sensor_id] = Insertion(
            identity,
            settings,
            (*identity_values(identity), *further_identity_values(identity)),
            insert_readings_sql(rows, varying, constant),
            insert_readings_sql(1, varying, constant),
            rows,
        )
        return made

    def _add_columns(self, columns: tuple[FurtherColumn, ...]) -> None:
        needed = [column for column in columns if column not in self._checked]
        if not needed:
            return
        # Other workers may have added columns; none is removed, and the transaction has the write lock.
        present = {
            str(name).lower(): (str(name), str(declared), hidden)
            for name, declared, hidden in self.connection.execute(SELECT_COLUMNS)
        }
        for column in needed:
            if column.name not in present:
                self.connection.execute(add_column_sql(*column))
            elif reason := column_conflict(column, *present[column.name]):
                raise ColumnConflict(f"{reason}: ALTER TABLE sensor_readings RENAME COLUMN lets the readings in")
            self._checked.add(column)


def add_column_sql(name: str, column_type: str) -> str:
    return f"ALTER TABLE sensor_readings ADD COLUMN {quote_identifier(name)} {column_type}"


def column_conflict(column: FurtherColumn, name: str, declared: str, hidden: int) -> str:
    """Return the reason why a column of the table cannot have the values of `column`, "" if it can."""
    if name != column.name:
        return f"beside its column {name} there can be no {column.name}"
    if hidden:
        return f"its column {name} has generated values"
    if declared != column.column_type and not {declared, column.column_type} <= SAME_NUMBERS:
        return f"its column {name} has {f'the type {declared}' if declared else 'no type'}, not {column.column_type}"
    return ""
