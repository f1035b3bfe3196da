"""A session with a PostgreSQL server in which no wait is unlimited, and the meaning of its errors for a delivery."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fleet.delivery.columns import DELIVERED_COLUMNS, INTEGER_COLUMNS, REAL_COLUMNS
from fleet.delivery.target import BatchRejected, DeliveryFailed, TargetMisconfigured
from fleet.delivery.targets.central_schema import CENTRAL_ROLE, CENTRAL_SCHEMA_VERSION, central_schema
from fleet.delivery.targets.retry import RetryableFailure
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.target_urls import Login
from worker.spec import ColumnType
from worker.storage.schema import FurtherColumn, quote_identifier

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.rows import TupleRow
except ImportError as error:
    raise UserError(f"PostgreSQL needs an extra: pip install 'sensor-fleet[postgres]' ({error})") from error

CONNECT_SECONDS = 10
MAX_PORT = 65_535

SCHEMA_LOCK = 0x666C656574
"""An advisory lock ("fleet"): of two concurrent sessions with CREATE TABLE IF NOT EXISTS, one fails."""

SECRETS = ("password", "sslpassword", "oauth_client_secret")

TIME_COLUMN = "time"
"""The column that tables made by earlier versions lack. They are filled without it."""

INSERTED_COLUMNS = ("source", "batch", *DELIVERED_COLUMNS, "source_id", "extra", TIME_COLUMN)

POSTGRES_TYPES = {
    **dict.fromkeys(INSERTED_COLUMNS, "text"),
    **dict.fromkeys(REAL_COLUMNS, "double precision"),
    **dict.fromkeys((*INTEGER_COLUMNS, "source", "source_id", "batch"), "bigint"),
    TIME_COLUMN: "timestamp with time zone",
}
"""The types of the columns of `sensor_readings`."""

FURTHER_TYPES: dict[ColumnType, str] = {"REAL": "double precision", "INTEGER": "bigint", "TEXT": "text"}
"""The types of the columns that the kinds of sensors have beyond those of every fleet."""

SAME_IN_BINARY = {"text": {"text", "character varying"}}
"""The types of a column into which the values of another type can be copied in binary."""

ADD_COLUMN = "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}"

SELECT_COLUMN_TYPES = """
SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = to_regclass('sensor_readings') AND attnum > 0 AND NOT attisdropped
"""

CREATE_INCOMING = f"""
CREATE TEMPORARY TABLE incoming ({", ".join(f"{name} {POSTGRES_TYPES[name]}" for name in INSERTED_COLUMNS)})
ON COMMIT DELETE ROWS
"""

# With `off`, a crash of the server would lose readings that are marked as delivered; stricter settings stay.
SET_SESSION = """
SELECT set_config('statement_timeout', %(ms)s, false), set_config('idle_in_transaction_session_timeout', %(ms)s, false),
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""

# For a refused connection libpq gives a text and no SQLSTATE.
PERMANENT_ERROR = re.compile(
    r"authentication failed|no password supplied|does not exist|no pg_hba\.conf entry|permission denied"
    r"|not permitted to log in|not currently accepting connections|certificate|server does not support SSL"
)
CONNECTION_PREFIX = re.compile(
    r'^connection failed: connection to server at "[^"]*"(?: \([^)]*\))?, port \d+ failed: (?:FATAL: +)?'
)

LOGIN_ADVICE = "give it as PGPASSWORD, in ~/.pgpass, or in a URL by env:NAME or file:PATH"
ADVICE = {
    "no password supplied": LOGIN_ADVICE,
    "password authentication failed": f"check the user and the password; {LOGIN_ADVICE}",
    "does not exist": "create it, or check the name",
    "permission denied for schema": "the user needs USAGE and CREATE on it",
    "permission denied for": "GRANT SELECT, INSERT, UPDATE to the user",
    "no schema has been selected": "create the schema, or GRANT USAGE, CREATE on it to the user",
    "server does not support SSL": "leave sslmode out, or switch TLS on at the server",
    "root certificate file": "?sslrootcert=FILE names the authority of the server's certificate",
    "failed to resolve host": "check the host in the URL",
    "no pg_hba.conf entry": "the server has to allow this user and host in pg_hba.conf",
}
"""What to do about an error, by a part of its text."""

TRANSIENT_SQLSTATES = ("08", "40", "53", "55", "57", "58", "25P")
DATA_SQLSTATES = ("22", "23", "54")


class Session(psycopg.Connection[TupleRow]):
    """A connection in which a step that takes longer than `step_timeout` seconds is an OperationalError.

    `column_types` are the types of the columns of `sensor_readings`; `inserted_columns` are those that every reading fills.
    """

    step_timeout = 60.0
    inserted_columns = INSERTED_COLUMNS

    column_types: Mapping[str, str] = MappingProxyType({})

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.step_timeout if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            raise psycopg.OperationalError(f"the server did not answer for {self.step_timeout:.0f} s") from error


def check_url(url: str) -> str:
    """Check a URL. UserError, which does not repeat the URL, if libpq rejects it or it holds a password."""
    wanted = "not a URL of PostgreSQL: wanted postgresql://[USER@]HOST[:PORT]/DATABASE[?OPTION=VALUE]"
    # In a password with a slash, libpq takes the part before the slash for the host.
    if "@" in url.partition("?")[0].partition("://")[2].partition("/")[2]:
        raise UserError(f"--to: {wanted}, an @ or / in a name written as %40 or %2F")
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise UserError(f"--to: {wanted}") from None
    ports = [port for port in str(parameters.get("port") or "").split(",") if port]
    if wrong := [port for port in ports if not (port.isdecimal() and 1 <= int(port) <= MAX_PORT)]:
        raise UserError(f"--to: postgresql://...: {escape_short(wrong[0])!r} is no port: allowed is 1 to {MAX_PORT}")
    secrets = [name for name in SECRETS if name in parameters]
    if secrets:
        raise UserError(
            f"--to: postgresql://...: has a {secrets[0]} behind the ?, which others could see: give it as PGPASSWORD or in "
            "~/.pgpass, or the whole URL as postgresql://USER:PASSWORD@HOST/DATABASE by env:NAME or file:PATH"
        )
    return url


def url_without_user(url: str) -> str:
    """The URL without the user."""
    scheme, _, rest = url.partition("://")
    address, question, options = rest.partition("?")
    host, slash, database = address.rpartition("@")[2].partition("/")
    kept = [option for option in options.split("&") if option and not option.startswith("user=")]
    return f"{scheme}://{host}{slash}{database}{question if kept else ''}{'&'.join(kept)}"


def login_parameters(login: Login | None) -> dict[str, Any]:
    """The parameters of a connection for a user and a password."""
    values = {} if login is None else {"user": login.user, "password": login.password}
    return {name: value for name, value in values.items() if value}


def open_session(url: str, seconds: float, login: Login | None = None) -> Session:
    """Open a session, and create the central tables if they are absent. `seconds` limits each statement.

    Raises psycopg.Error and TargetMisconfigured.
    """
    parameters = conninfo_to_dict(url)
    session = Session.connect(
        url,
        **login_parameters(login),
        connect_timeout=int(parameters.get("connect_timeout") or min(CONNECT_SECONDS, max(2, seconds))),
        application_name=parameters.get("application_name") or "fleet collect",
        client_encoding="utf8",
    )
    # A server that responds at all cancels the statement before that.
    session.step_timeout = 1.1 * seconds + 1.0
    # A session that waits for a source's row must see what the session before it has committed.
    session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        session.execute(SET_SESSION, {"ms": str(int(seconds * 1000))})
        if not has_central_tables(session):
            session.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            if not has_central_tables(session):
                create_central_tables(session)
        session.inserted_columns = check_column_types(session)
        session.execute(CREATE_INCOMING.encode())
        session.commit()
    except (psycopg.Error, DeliveryFailed):
        session.close()
        raise
    return session


def has_central_tables(session: Session) -> bool:
    """Check for the central tables. TargetMisconfigured if there are other tables of these names."""
    # A query sees what other sessions have committed; to_regclass() caches a negative result.
    tables = {
        name for (name,) in session.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    }
    if not tables & {"database_info", "sensor_readings"}:
        return False
    has_info = "database_info" in tables
    info = session.execute("SELECT role, schema_version FROM database_info").fetchone() if has_info else None
    if info != (CENTRAL_ROLE, CENTRAL_SCHEMA_VERSION):
        raise foreign_tables_error(session)
    return True


def check_column_types(session: Session) -> tuple[str, ...]:
    """The columns of `sensor_readings` to fill. TargetMisconfigured if one of them is absent or has another type.

    A binary COPY does not compare types: a float would be stored in a BIGINT as its bits.
    """
    types = session.column_types = dict(session.execute(SELECT_COLUMN_TYPES.encode()).fetchall())
    present = tuple(name for name in INSERTED_COLUMNS if name in types or name != TIME_COLUMN)
    for name in present:
        check_column_type(session, name, POSTGRES_TYPES[name], SAME_IN_BINARY.get(POSTGRES_TYPES[name], set()))
    return present


def check_column_type(session: Session, name: str, wanted: str, others: set[str]) -> None:
    """Check the type of a column. TargetMisconfigured if it is neither the wanted one nor one of `others`."""
    found = session.column_types.get(name)
    if found not in {wanted, *others}:
        what = f"has the type {found}" if found else "is missing"
        raise TargetMisconfigured(
            f"database {session.info.dbname}: sensor_readings.{name} {what}: wanted is {wanted}; change the column "
            "with ALTER TABLE, or give another schema (?options=-csearch_path%3DNAME)"
        )


def add_columns(session: Session, further: Sequence[FurtherColumn]) -> None:
    """Add the columns that the kinds of a source's sensors need, in a transaction of its own, as it locks the table.

    TargetMisconfigured if a column of that name has another type. Raises psycopg.Error.
    """
    if any(column.name not in session.column_types for column in further):
        session.column_types = dict(session.execute(SELECT_COLUMN_TYPES.encode()).fetchall())
        missing = [column for column in further if column.name not in session.column_types]
        for name, column_type in missing:
            session.execute(
                ADD_COLUMN.format("sensor_readings", quote_identifier(name), FURTHER_TYPES[column_type]).encode()
            )
        if missing:
            session.column_types = dict(session.execute(SELECT_COLUMN_TYPES.encode()).fetchall())
        session.commit()
    for name, column_type in further:
        others = (
            {"double precision"} if column_type == "INTEGER" else SAME_IN_BINARY.get(FURTHER_TYPES[column_type], set())
        )
        check_column_type(session, name, FURTHER_TYPES[column_type], others)


def add_incoming_columns(session: Session, further: Sequence[FurtherColumn]) -> None:
    """Add the same columns to the temporary table. A rollback takes them away, and IF NOT EXISTS restores them."""
    for name, _ in further:
        session.execute(
            ADD_COLUMN.format("pg_temp.incoming", quote_identifier(name), session.column_types[name]).encode()
        )


def create_central_tables(session: Session) -> None:
    session.execute(central_schema("postgres").encode())
    session.execute(
        "INSERT INTO database_info VALUES (%s, %s, %s)", (CENTRAL_ROLE, str(uuid.uuid4()), CENTRAL_SCHEMA_VERSION)
    )


def foreign_tables_error(session: Session) -> TargetMisconfigured:
    return TargetMisconfigured(
        f"database {session.info.dbname}: its tables are not those of a central database of version {CENTRAL_SCHEMA_VERSION}; give another "
        "database, or another schema (?options=-csearch_path%3DNAME)"
    )


def fetch_one(session: Session, statement: str, values: Any = None) -> TupleRow:
    row = session.execute(statement.encode(), values).fetchone()
    assert row is not None, statement
    return row


def postgres_failure(error: psycopg.Error, name: str) -> DeliveryFailed:
    """The meaning of an error of a session for the delivery."""
    state = error.sqlstate
    text = CONNECTION_PREFIX.sub(
        "", " ".join((error.diag.message_primary or str(error) or type(error).__name__).split())
    )
    advice = next((each for pattern, each in ADVICE.items() if pattern in text), "")
    message = f"{name}: {text}{f' ({advice})' if advice else ''}"
    if state is None and isinstance(error, psycopg.OperationalError):
        return TargetMisconfigured(message) if PERMANENT_ERROR.search(str(error)) else RetryableFailure(message)
    if state is None:
        return BatchRejected(message) if isinstance(error, psycopg.DataError) else TargetMisconfigured(message)
    if state.startswith(TRANSIENT_SQLSTATES):
        return RetryableFailure(message)
    return BatchRejected(message) if state.startswith(DATA_SQLSTATES) else TargetMisconfigured(message)
