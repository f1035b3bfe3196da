"""Reading back a PostgreSQL database: the tables of a collector, or a table of the user.

Everything is read in one read-only transaction that sees one state. It delays VACUUM, but blocks no writer.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from fleet.delivery.batch import Row
from fleet.delivery.compare.compared_columns import COMPARABLE_COLUMNS, IDENTITY_COLUMN, KEY_COLUMNS, identity_sql
from fleet.delivery.compare.delivered import (
    BATCH_INDEX,
    CHUNK_ROWS,
    MAX_INTERLEAVED_SOURCES,
    UNKNOWN_TIME_US,
    DeliveredChunk,
    DeliveredReadings,
    group_by_source,
    unix_microseconds,
)
from fleet.delivery.compare.documents import matched_table
from fleet.delivery.compare.generated import GeneratedReadings
from fleet.delivery.compare.matching import DEFAULT_TABLE
from fleet.delivery.records.record import ROW, Record
from fleet.delivery.targets.central_schema import CENTRAL_ROLE
from fleet.delivery.targets.postgres.session import (
    CONNECT_SECONDS,
    Session,
    check_url,
    login_parameters,
    url_without_user,
)
from fleet.errors import UserError
from fleet.target_urls import Login
from worker.storage.schema import quote_identifier

import psycopg  # isort: skip


SELECT_COLUMN_NAMES = (
    "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
)


def open_postgres_readings(
    url: str, table: str | None, sensor: str | None, record: Record = ROW, login: Login | None = None
) -> DeliveredReadings:
    """Open a table of the user, or without one the tables of a collector if there are such. UserError if unreadable."""
    try:
        name = url_without_user(check_url(url))
    except UserError as error:
        raise UserError(str(error).replace("--to", "--against", 1)) from None
    with translate_errors(name):
        session = Session.connect(
            url,
            **login_parameters(login),
            connect_timeout=CONNECT_SECONDS,
            application_name="fleet verify",
            client_encoding="utf8",
        )
        try:
            session.read_only, session.isolation_level = True, psycopg.IsolationLevel.REPEATABLE_READ
            central = session.execute("SELECT to_regclass('database_info') IS NOT NULL").fetchone() == (True,)
            if (
                table is None
                and central
                and session.execute("SELECT role FROM database_info").fetchone() == (CENTRAL_ROLE,)
            ):
                return CentralPostgresReadings(session, name, sensor)
            return matched_table(PostgresUserTable(session, name, table or DEFAULT_TABLE, sensor), record, sensor)
        except (psycopg.Error, UserError):
            session.close()
            raise


class CentralPostgresReadings:
    """The tables of a collector."""

    has_reading_keys = ordered = True

    def __init__(self, session: Session, name: str, sensor: str | None) -> None:
        self.name, self._session, self._sensor = name, session, sensor
        self._received: dict[object, int] = {}
        self._further: tuple[str, ...] = ()

    def select_columns(self, further: tuple[str, ...]) -> tuple[str, ...]:
        self._further = further
        return (*further, *COMPARABLE_COLUMNS)

    def _column_sql(self, name: str, present: Container[str]) -> str:
        if name == IDENTITY_COLUMN:
            return identity_sql(str, "chr")
        return quote_identifier(name) if name not in self._further or name in present else "NULL"

    def read_chunks(self, _: GeneratedReadings) -> Iterator[DeliveredChunk]:
        with translate_errors(self.name):
            rows = self._session.execute("SELECT source, generation, name FROM sources").fetchall()
            sources = {source: (key, name) for source, key, name in rows}
            order = "source, id" if len(sources) > MAX_INTERLEAVED_SOURCES else "id"
            present = {row[0] for row in self._session.execute(SELECT_COLUMN_NAMES, ("sensor_readings",))}
            names = ("source_id", *KEY_COLUMNS, *self._further, *COMPARABLE_COLUMNS)
            columns = ",".join(self._column_sql(name, present) for name in names)
            query = (
                f"SELECT {columns}, id, source, batch FROM sensor_readings "
                f"WHERE %(sensor)s::text IS NULL OR sensor_id = %(sensor)s ORDER BY {order}"
            )
            for chunk in stream(self._session, query, self._sensor):
                for source, group in group_by_source(chunk):
                    key, name = sources.get(source, (None, f"source {source}"))
                    yield DeliveredChunk(key, name, group, self._times(group))

    def history(self, table: str, columns: Sequence[str], source: str, sensor: str) -> list[Row] | None:
        query = (
            f"SELECT {','.join(columns)} FROM {table} JOIN sources USING (source) "
            "WHERE generation = %s AND sensor_id = %s ORDER BY first_seq"
        )
        with translate_errors(self.name):
            return self._session.execute(query.encode(), (source, sensor)).fetchall()

    def alarms(self) -> int:
        with translate_errors(self.name):
            return int((self._session.execute("SELECT count(*) FROM conflicts").fetchone() or (0,))[0])

    def close(self) -> None:
        self._session.close()

    def _times(self, rows: Sequence[Row]) -> Sequence[int]:
        """The time of arrival of each row; empty if one is unknown."""
        unknown = {row[BATCH_INDEX] for row in rows} - self._received.keys()
        if unknown:
            query = "SELECT batch, received_at FROM batches WHERE batch = ANY(%s)"
            known = self._session.execute(query, (list(unknown),)).fetchall()
            self._received |= {
                **dict.fromkeys(unknown, UNKNOWN_TIME_US),
                **{batch: unix_microseconds(received_at) for batch, received_at in known},
            }
        times = [self._received[row[BATCH_INDEX]] for row in rows]
        return () if UNKNOWN_TIME_US in times else times


class PostgresUserTable:
    """A table or view of the user. Its rows are in their order of arrival if it has a column `id`."""

    def __init__(self, session: Session, name: str, table: str, sensor: str | None) -> None:
        self.name = f"{name}: {table}"
        self._session, self._sensor = session, sensor
        self._table = ".".join(quote_identifier(part) for part in table.split("."))
        self.columns = tuple(row[0] for row in session.execute(SELECT_COLUMN_NAMES, (self._table,)))
        if not self.columns:
            raise UserError(f"--against: {name} has no table {table}")
        self.ordered = "id" in self.columns

    def rows(self, columns: Sequence[str]) -> Iterator[Sequence[Row]]:
        of_sensor = "sensor_id = %(sensor)s" if "sensor_id" in self.columns else "TRUE"
        query = (
            f"SELECT {','.join(map(quote_identifier, columns))} FROM {self._table} "
            f"WHERE %(sensor)s::text IS NULL OR {of_sensor} {'ORDER BY id' if self.ordered else ''}"
        )
        with translate_errors(self.name):
            yield from stream(self._session, query, self._sensor)

    def close(self) -> None:
        self._session.close()


def stream(session: Session, query: str, sensor: str | None) -> Iterator[list[Any]]:
    """The rows of a query, in chunks, as the server produces them."""
    with closing(session.cursor("delivered")) as cursor:
        cursor.execute(query.encode(), {"sensor": sensor}, binary=True)
        while rows := cursor.fetchmany(CHUNK_ROWS):
            yield rows


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        reason = error.diag.message_primary or str(error) or type(error).__name__
        raise UserError(f"--against: {name} cannot be read: {' '.join(reason.split())}") from error
