"""A PostgreSQL target whose server is down, hangs, refuses it, or is not PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from fleet.delivery.target import DeliveryFailed, TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.postgres.target import PostgresTarget
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch
from tests.servers.postgres import MakeTarget, PostgresServer, seqs
from tests.servers.program import free_port


@pytest.fixture
def target(postgres_target: MakeTarget, postgres_url: str) -> PostgresTarget:
    return postgres_target(postgres_url)


def backend(target: PostgresTarget) -> int:
    """The process of the server that its only session talks to."""
    (session,) = target._idle
    return session.info.backend_pid


def test_a_lost_connection_is_made_again(target: PostgresTarget, postgres: PostgresServer, postgres_url: str) -> None:
    target.deliver(batch(1, 3))
    postgres.execute(f"SELECT pg_terminate_backend({backend(target)})")
    receipt = target.deliver(batch(2, 5))

    assert (3, 1) == (len(receipt.accepted), receipt.duplicates)


def test_a_server_that_goes_is_waited_for(postgres_target: MakeTarget) -> None:
    """Within the limits of the retries, then TargetUnavailable. Nothing is lost or doubled."""
    with PostgresServer.started() as server:
        url = server.url(server.new_schema())
        patient, hasty = postgres_target(url), postgres_target(url, retry_seconds=0.2)
        patient.deliver(batch(1, 3))
        hasty.deliver(batch(3, 5))
        server.stop()
        with pytest.raises(TargetUnavailable, match="refused"):
            hasty.deliver(batch(5, 8))
        with ThreadPoolExecutor(1) as pool:
            later = pool.submit(patient.deliver, batch(1, 11))
            server.start()
            receipt = later.result(30)

        assert (10, 4) == (len(receipt.accepted), receipt.duplicates)
        assert list(range(10)) == seqs(url)


def test_a_server_that_hangs_is_left(postgres_target: MakeTarget, postgres: PostgresServer, postgres_url: str) -> None:
    """A stopped process acknowledges what comes in and never answers; another session may be luckier."""
    target = postgres_target(postgres_url, retry_seconds=10.0, statement_seconds=0.5)
    target.deliver(batch(1, 3))
    pid = backend(target)
    os.kill(pid, signal.SIGSTOP)
    try:
        receipt = target.deliver(batch(1, 5))
    finally:
        os.kill(pid, signal.SIGCONT)

    assert (4, 2) == (len(receipt.accepted), receipt.duplicates)


def test_a_statement_that_waits_for_somebody_is_ended(postgres_target: MakeTarget, postgres_url: str) -> None:
    """Here for a lock that another session has and keeps."""
    target = postgres_target(postgres_url, retry_seconds=0.1, statement_seconds=0.5)
    target.deliver(batch(1, 3))
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE sources")
        with pytest.raises(TargetUnavailable, match="statement timeout"):
            target.deliver(batch(3, 4))

    assert 1 == len(target.deliver(batch(3, 4)).accepted)


def test_nobody_there_is_unavailable(postgres_target: MakeTarget) -> None:
    with pytest.raises(TargetUnavailable, match=r"postgresql://127.0.0.1:\d+/central: .*refused"):
        postgres_target(f"postgresql://fleet@127.0.0.1:{free_port()}/central", retry_seconds=0.3).deliver(batch(1, 2))


def refusal(target: PostgresTarget) -> DeliveryFailed:
    with pytest.raises(TargetMisconfigured) as caught:
        target.deliver(batch(1, 2))
    return caught.value


def test_a_wrong_password_and_a_wrong_database_are_told_at_once(
    postgres_target: MakeTarget, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line without the password."""
    postgres.execute("CREATE ROLE stranger LOGIN PASSWORD 'right'")
    stranger = postgres.url(postgres.new_schema(), "stranger")
    monkeypatch.setenv("PGPASSWORD", "wr0ng")
    wrong = refusal(postgres_target(stranger))
    monkeypatch.setenv("PGPASSWORD", "right")
    forbidden = refusal(postgres_target(stranger))
    nowhere = refusal(postgres_target(postgres.url(database="nowhere")))

    assert 'password authentication failed for user "stranger"' in str(wrong)
    assert "(check the user and the password; give it as PGPASSWORD, in ~/.pgpass, or in a URL by env:NAME" in str(
        wrong
    )
    assert "connection to server at" not in str(wrong)
    assert "wr0ng" not in str(wrong)
    assert "\n" not in str(wrong)
    # PostgreSQL does not even say that there is a schema that one may not use.
    assert "no schema has been selected to create in (create the schema, or GRANT USAGE, CREATE" in str(forbidden)
    assert 'database "nowhere" does not exist (create it, or check the name)' in str(nowhere)


def test_the_password_comes_from_the_environment(
    postgres_target: MakeTarget, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.execute("CREATE ROLE guest LOGIN SUPERUSER PASSWORD 'secret'")
    monkeypatch.setenv("PGPASSWORD", "secret")
    target = postgres_target(postgres.url(postgres.new_schema(), "guest"))

    assert 1 == len(target.deliver(batch(1, 2)).accepted)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@host/central",
        "postgresql://me@host/central?password=s3cret",
        "postgresql://host/central?sslpassword=s3cret",
    ],
)
def test_a_password_is_refused_on_the_command_line(url: str) -> None:
    with pytest.raises(UserError, match=r"PGPASSWORD or in ~/\.pgpass") as caught:
        PostgresTarget(url, datetime.now)
    assert "s3cret" not in str(caught.value)


def test_a_url_that_is_none_is_not_repeated() -> None:
    """There may be a password in it."""
    with pytest.raises(UserError, match="not a URL of PostgreSQL") as caught:
        PostgresTarget("postgresql://me:s3/cret@host:port:1/", datetime.now)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql:///central", "postgresql:///central"),
        ("postgresql://me@a:1,b:2/central", "postgresql://a:1,b:2/central"),
        ("postgresql://h/central?user=me&sslmode=require", "postgresql://h/central?sslmode=require"),
        ("postgresql://h/central?user=me", "postgresql://h/central"),
    ],
)
def test_the_name_has_no_user(url: str, name: str) -> None:
    assert name == PostgresTarget(url, datetime.now).name


def test_tables_of_something_else_are_left_alone(postgres_target: MakeTarget, postgres: PostgresServer) -> None:
    """And so are those of a later version."""
    mine, later = postgres.new_schema(), postgres.new_schema()
    postgres.execute(f"CREATE TABLE {mine}.sensor_readings (mine INT)")
    postgres_target(postgres.url(later)).cursor("generation-1")
    postgres.execute(f"UPDATE {later}.database_info SET schema_version = 99")

    assert "not those of a central database of version 1" in str(refusal(postgres_target(postgres.url(mine))))
    assert "not those of a central database of version 1" in str(refusal(postgres_target(postgres.url(later))))


def test_what_was_accepted_is_on_disk(postgres_target: MakeTarget, postgres: PostgresServer) -> None:
    """Also where a user has made his server forgetful by default."""
    url = postgres.url(postgres.new_schema())
    target = postgres_target(url.replace("-csearch_path", "-csynchronous_commit%3Doff%20-csearch_path"))
    target.deliver(batch(1, 2))

    (session,) = target._idle
    assert ("on",) == session.execute("SHOW synchronous_commit").fetchone()


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path) -> None:
    script = "import sys; sys.modules['psycopg'] = None; import fleet.delivery.targets.postgres.target"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "UserError: PostgreSQL needs an extra: pip install 'sensor-fleet[postgres]'" in done.stderr
