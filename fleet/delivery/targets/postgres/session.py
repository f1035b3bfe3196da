"""A session with a PostgreSQL server that never waits for ever, and what its errors mean for a delivery."""

from __future__ import annotations

import re
import uuid
from typing import Any

from fleet.delivery.columns import CENTRAL_COLUMNS, INTEGER_COLUMNS, REAL_COLUMNS
from fleet.delivery.target import BatchRejected, DeliveryFailed, TargetMisconfigured
from fleet.delivery.targets.central_schema import CENTRAL_ROLE, CENTRAL_SCHEMA_VERSION, central_schema
from fleet.delivery.targets.retry import RetryableFailure
from fleet.errors import UserError

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.rows import TupleRow
except ImportError as error:
    raise UserError(f"PostgreSQL needs an extra: pip install 'sensor-fleet[postgres]' ({error})") from error

CONNECT_SECONDS = 10

SCHEMA_LOCK = 0x666C656574
"""An advisory lock ("fleet"): CREATE TABLE IF NOT EXISTS of two sessions at once fails in one of them."""

SECRETS = ("password", "sslpassword", "oauth_client_secret")

POSTGRES_TYPES = {
    **dict.fromkeys(REAL_COLUMNS, "float8"),
    **dict.fromkeys((*INTEGER_COLUMNS, "source", "source_id", "batch"), "int8"),
}
"""Of the columns of `sensor_readings`; the others are text."""

INSERTED_COLUMNS = ("source", "batch", *CENTRAL_COLUMNS)

CREATE_INCOMING = f"""
CREATE TEMPORARY TABLE incoming ({", ".join(f"{name} {POSTGRES_TYPES.get(name, 'text')}" for name in INSERTED_COLUMNS)})
ON COMMIT DELETE ROWS
"""

# What a user's server has set to off would lose readings that are marked as delivered; what is more than on stays.
SET_SESSION = """
SELECT set_config('statement_timeout', %(ms)s, false), set_config('idle_in_transaction_session_timeout', %(ms)s, false),
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END
"""

# When a connection is refused, libpq has words and no SQLSTATE.
PERMANENT_ERROR = re.compile(
    r"authentication failed|no password supplied|does not exist|no pg_hba\.conf entry|permission denied"
    r"|not permitted to log in|not currently accepting connections|certificate|server does not support SSL"
)
TRANSIENT_SQLSTATES = ("08", "40", "53", "55", "57", "58", "25P")
DATA_SQLSTATES = ("22", "23", "54")


class Session(psycopg.Connection[TupleRow]):
    """Of which no step takes longer than `step_timeout` seconds: a server that hangs, or a network that swallows, is an
    OperationalError."""

    step_timeout = 60.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.step_timeout if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            raise psycopg.OperationalError(f"the server did not answer for {self.step_timeout:.0f} s") from error


def check_url(url: str) -> str:
    """The URL, as libpq takes it. UserError, which does not repeat it, if there is a password in it or libpq does not take it."""
    wanted = "not a URL of PostgreSQL: wanted postgresql://[USER@]HOST[:PORT]/DATABASE[?OPTION=VALUE]"
    # A password with a slash in it: libpq takes what is before the slash for the host.
    if "@" in url.partition("?")[0].partition("://")[2].partition("/")[2]:
        raise UserError(f"--to: {wanted}, an @ or / in a name written as %40 or %2F")
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise UserError(f"--to: {wanted}") from None
    secrets = [name for name in SECRETS if name in given]
    if secrets:
        raise UserError(
            f"--to postgresql://...: a {secrets[0]} on the command line is seen by everybody on the machine; "
            "give it as PGPASSWORD or in ~/.pgpass"
        )
    return url


def url_without_user(url: str) -> str:
    """The URL without the user."""
    scheme, _, rest = url.partition("://")
    place, question, options = rest.partition("?")
    host, slash, database = place.rpartition("@")[2].partition("/")
    kept = [option for option in options.split("&") if option and not option.startswith("user=")]
    return f"{scheme}://{host}{slash}{database}{question if kept else ''}{'&'.join(kept)}"


def open_session(url: str, seconds: float) -> Session:
    """A session in which a statement may take so many seconds, with the central tables. Raises psycopg.Error and TargetMisconfigured."""
    given = conninfo_to_dict(url)
    session = Session.connect(
        url,
        connect_timeout=int(given.get("connect_timeout") or min(CONNECT_SECONDS, max(2, seconds))),
        application_name=given.get("application_name") or "fleet collect",
        client_encoding="utf8",
    )
    # The server gives up by itself before that, if it does anything at all.
    session.step_timeout = 1.1 * seconds + 1.0
    # Of who waits for the row of a source, each is to see what the one before it has committed.
    session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    try:
        session.execute(SET_SESSION, {"ms": str(int(seconds * 1000))})
        if not has_central_tables(session):
            session.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            if not has_central_tables(session):
                create_central_tables(session)
        session.execute(CREATE_INCOMING.encode())
        session.commit()
    except (psycopg.Error, DeliveryFailed):
        session.close()
        raise
    return session


def has_central_tables(session: Session) -> bool:
    """Whether the central tables are there. TargetMisconfigured if what is there is something else."""
    # By a query, which sees what others have committed by now; to_regclass() remembers what it has not found.
    tables = {
        name for (name,) in session.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    }
    if not tables & {"database_info", "sensor_readings"}:
        return False
    known = "database_info" in tables
    found = session.execute("SELECT role, schema_version FROM database_info").fetchone() if known else None
    if found != (CENTRAL_ROLE, CENTRAL_SCHEMA_VERSION):
        raise foreign_tables_error(session)
    return True


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
    """What an error of a session means for what was to be delivered."""
    state = error.sqlstate
    message = f"{name}: {error.diag.message_primary or str(error) or type(error).__name__}"
    if state is None and isinstance(error, psycopg.OperationalError):
        return TargetMisconfigured(message) if PERMANENT_ERROR.search(str(error)) else RetryableFailure(message)
    if state is None:
        return BatchRejected(message) if isinstance(error, psycopg.DataError) else TargetMisconfigured(message)
    if state.startswith(TRANSIENT_SQLSTATES):
        return RetryableFailure(message)
    return BatchRejected(message) if state.startswith(DATA_SQLSTATES) else TargetMisconfigured(message)
