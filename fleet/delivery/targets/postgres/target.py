"""A central PostgreSQL database as a target: `postgresql://[USER@]HOST[:PORT]/DATABASE`.

A delivery is one transaction. Its first statement locks the source's row, so deliveries of one source are serialised, and
those of different sources have no key in common. Readings after the source's cursor are copied into the table. Others, and
those of which one is stored already, are copied into a temporary table, from which the missing ones are inserted. (1000
readings take 12 ms the first way and 20 ms the second.)
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Self, TypeVar

from fleet.delivery.batch import Batch, Repeated, TableRows
from fleet.delivery.columns import TypedReadings, central_columns, content_columns, typed_readings
from fleet.delivery.compare.delivered import DeliveredReadings
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.target import Receipt
from fleet.delivery.targets.postgres.copy_data import copy_data
from fleet.delivery.targets.postgres.session import (
    POSTGRES_TYPES,
    TIME_COLUMN,
    Session,
    add_columns,
    add_incoming_columns,
    check_url,
    fetch_one,
    open_session,
    postgres_failure,
    url_without_user,
)
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions
from fleet.delivery.targets.retry import RetryPolicy
from fleet.target_urls import Login
from worker.storage.schema import quote_identifier

# Last: the session's module reports a missing extra.
import psycopg  # isort: skip

Result = TypeVar("Result")

STATEMENT_SECONDS = 60.0

INSERT_BATCH = """
WITH before AS (
    SELECT cursor FROM sources WHERE generation = %(key)s
), origin AS (
    INSERT INTO sources (generation, name, cursor) VALUES (%(key)s, %(name)s, %(settles)s)
    ON CONFLICT (generation) DO UPDATE
    SET name = excluded.name, cursor = greatest(sources.cursor, excluded.cursor)
    RETURNING source
)
INSERT INTO batches (source, received_at, readings, token)
SELECT source, %(received_at)s, %(readings)s, %(token)s FROM origin
RETURNING source, batch, coalesce((SELECT cursor FROM before), 0)
"""

COPY_INTO = "COPY {} ({}) FROM STDIN (FORMAT BINARY)"

INSERT = """
INSERT INTO sensor_readings ({0}) SELECT {0} FROM pg_temp.incoming ORDER BY source_id
ON CONFLICT (source, sensor_id, seq) DO NOTHING
"""


@lru_cache(maxsize=64)
def select_conflicts_sql(contents: tuple[str, ...]) -> str:
    """A SELECT of the arrived readings that differ from those stored, with the names of the columns that differ."""
    names = {name: quote_identifier(name) for name in contents if name not in {"sensor_id", "seq"}}
    differing = ", ".join(
        f"CASE WHEN arrived.{quoted} IS DISTINCT FROM stored.{quoted} THEN '{name}' END"
        for name, quoted in names.items()
    )
    arrived, stored = (", ".join(f"{table}.{quoted}" for quoted in names.values()) for table in ("arrived", "stored"))
    return f"""
SELECT arrived.source_id, concat_ws(',', {differing})
FROM pg_temp.incoming AS arrived
JOIN sensor_readings AS stored USING (source, sensor_id, seq)
WHERE ({arrived}) IS DISTINCT FROM ({stored})
ORDER BY arrived.source_id
"""


INSERT_CONFLICT = "INSERT INTO conflicts VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"


def upsert_statement(table: str, columns: tuple[str, ...]) -> str:
    """An INSERT that replaces an existing row if the new one differs."""
    others = [name for name in columns if name not in {"sensor_id", "first_seq"}]
    return f"""
INSERT INTO {table} AS stored (source, {", ".join(columns)}) VALUES (%s{", %s" * len(columns)})
ON CONFLICT (source, sensor_id, first_seq) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in others)}
WHERE ({", ".join(f"stored.{name}" for name in others)}) IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in others)})
"""


UPSERT_EPISODE = upsert_statement("anomaly_episodes", EPISODE_COLUMNS)
UPSERT_EPOCH = upsert_statement("epochs", EPOCH_COLUMNS)


class PostgresTarget:
    """A PostgreSQL database. A delivery uses a session of its own and returns it to a pool.

    (60,000 readings of four sources, by four threads, on two cores shared with the server: 70,000 readings/s; with one
    session for all threads 43,000.)
    """

    def __init__(
        self,
        url: str,
        now: Callable[[], datetime],
        retry: RetryPolicy | None = None,
        statement_seconds: float = STATEMENT_SECONDS,
        login: Login | None = None,
    ) -> None:
        """Does not connect yet. UserError if the URL is invalid or holds a password."""
        self._url, self._now = check_url(url), now
        self.name = url_without_user(url)
        self._retry, self._statement_seconds = retry or RetryPolicy(), statement_seconds
        self._login = login
        self._idle = deque[Session]()
        self._closed = False

    @classmethod
    def open(cls, url: str, options: TargetOptions) -> Self:
        retry = RetryPolicy(options.retry_seconds, stop=options.stop, on_retry=options.on_retry)
        return cls(url, options.now, retry, login=options.login)

    @classmethod
    def read_back(cls, url: str, options: ReadBackOptions) -> DeliveredReadings:
        from fleet.delivery.targets.postgres.readings import open_postgres_readings

        return open_postgres_readings(url, options.table, options.sensor, options.record, options.login)

    def deliver(self, batch: Batch) -> Receipt:
        readings = typed_readings(batch, nul=False)
        return self._run_with_retry(lambda session: PostgresDelivery(session, batch, readings, self._now()).run())

    def cursor(self, source: str) -> int:
        statement = "SELECT coalesce(max(cursor), 0) FROM sources WHERE generation = %s"
        return int(self._run_with_retry(lambda session: fetch_one(session, statement, (source,)))[0])

    def close(self) -> None:
        """Close the idle sessions; a running delivery ends first."""
        self._closed = True
        self._close_idle()

    def _run_with_retry(self, work: Callable[[Session], Result]) -> Result:
        """Run `work` in a transaction, with retries, and return its result."""
        return self._retry.call(lambda: self._transaction(work))

    def _transaction(self, work: Callable[[Session], Result]) -> Result:
        session = None
        try:
            session = self._idle_session() or open_session(self._url, self._statement_seconds, self._login)
            result = work(session)
            session.commit()
        except psycopg.OperationalError as error:
            # If this session is lost, the idle ones usually are too, and each would cost an attempt.
            self._close_idle()
            raise postgres_failure(error, self.name) from error
        except psycopg.Error as error:
            raise postgres_failure(error, self.name) from error
        else:
            self._idle.append(session)
            session = None
            if self._closed:
                self._close_idle()
            return result
        finally:
            # Closing makes the server roll back. A ROLLBACK would wait again for a server that did not answer.
            if session is not None:
                session.close()

    def _idle_session(self) -> Session | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _close_idle(self) -> None:
        while session := self._idle_session():
            session.close()


class PostgresDelivery:
    """The insertion of one batch, inside a transaction. Raises psycopg.Error."""

    def __init__(self, session: Session, batch: Batch, readings: TypedReadings, now: datetime) -> None:
        self._session, self._batch, self._readings = session, batch, readings
        self._columns = central_columns(batch.source)
        self._received_at = now.astimezone(UTC).isoformat(timespec="microseconds")

    def run(self) -> Receipt:
        add_columns(self._session, self._batch.source.further)
        try:
            return self._run(append=True)
        except psycopg.errors.UniqueViolation:
            # The batch has a key twice, or another collector delivered the source while this one waited for its row.
            self._session.rollback()
            return self._run(append=False)

    def _run(self, *, append: bool) -> Receipt:
        source, number, cursor = self._insert_batch()
        duplicates, conflicts = 0, dict[int, str]()
        if len(self._readings):
            if append and self._batch.ids[0] > cursor:
                self._copy("sensor_readings", source, number)
            else:
                duplicates, conflicts = self._insert_new(source, number)
        self._upsert(UPSERT_EPISODE, EPISODE_COLUMNS, self._batch.episodes, source)
        self._upsert(UPSERT_EPOCH, EPOCH_COLUMNS, self._batch.epochs, source)
        rejected = {**self._readings.rejected, **conflicts}
        return Receipt(frozenset(self._batch.ids) - rejected.keys(), duplicates, rejected)

    def _insert_batch(self) -> tuple[int, int, int]:
        """Insert the batch's own row. Returns the numbers of source and batch, and the source's cursor before."""
        batch = self._batch
        values = {
            "key": batch.source.key,
            "name": batch.source.name,
            "settles": batch.settles or 0,
            "received_at": self._received_at,
            "readings": len(batch.rows),
            "token": batch.token,
        }
        source, number, cursor = fetch_one(self._session, INSERT_BATCH, values)
        return source, number, cursor

    def _copy(self, table: str, source: int, number: int) -> None:
        types, names = self._session.column_types, self._inserted_columns()
        columns = self._readings.columns
        count = len(self._readings)
        arrival = {
            "source": Repeated(source, count),
            "batch": Repeated(number, count),
            TIME_COLUMN: columns["timestamp"],
        }
        wanted = {name: POSTGRES_TYPES.get(name) or types[name] for name in names}
        present, data = copy_data({**columns, **arrival}, wanted)
        statement = COPY_INTO.format(table, ", ".join(map(quote_identifier, present)))
        with self._session.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.write(data)

    def _inserted_columns(self) -> tuple[str, ...]:
        return (*self._session.inserted_columns, *self._batch.source.further_names)

    def _insert_new(self, source: int, number: int) -> tuple[int, dict[int, str]]:
        """Insert the readings that are not stored yet. Returns the number of duplicates, and the reasons for conflicts by id."""
        add_incoming_columns(self._session, self._batch.source.further)
        self._copy("pg_temp.incoming", source, number)
        statement = INSERT.format(", ".join(map(quote_identifier, self._inserted_columns())))
        duplicates = len(self._readings) - self._session.execute(statement.encode()).rowcount
        conflicts = self._conflicts(source) if duplicates else {}
        return duplicates - len(conflicts), conflicts

    def _conflicts(self, source: int) -> dict[int, str]:
        statement = select_conflicts_sql(content_columns(self._batch.source))
        conflicts: dict[int, str] = dict(self._session.execute(statement.encode()).fetchall())
        if conflicts:
            columns = (self._readings.columns[name] for name in self._columns)
            arrived = (dict(zip(self._columns, row, strict=True)) for row in zip(*columns, strict=True))
            notes = [
                (source, row["sensor_id"], row["seq"], self._received_at, conflicts[row_id], json.dumps(row))
                for row in arrived
                if (row_id := row["source_id"]) in conflicts
            ]
            with self._session.cursor() as cursor:
                cursor.executemany(INSERT_CONFLICT, notes)
        return {
            row_id: f"it is here already with another {names.replace(',', ', ')}" for row_id, names in conflicts.items()
        }

    def _upsert(self, statement: str, columns: tuple[str, ...], table: TableRows, source: int) -> None:
        if table.rows:
            rows = [(source, *row) for row in table.select(columns)]
            with self._session.cursor() as cursor:
                cursor.executemany(statement.encode(), rows)
