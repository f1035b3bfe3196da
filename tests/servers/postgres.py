"""A real PostgreSQL server for tests, on a port of its own of the loopback interface.

Fixtures, which tests/fleet/delivery/conftest.py has for all tests beside it:

`postgres` is a server for a module, `postgres_url` an empty schema there, `postgres_target` makes targets. A test
that stops the server takes one of its own (`with PostgresServer.started() as server`), for the processes of the shared one
must not change under it.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from fleet.delivery.targets.postgres.target import PostgresTarget
from fleet.delivery.targets.retry import RetryPolicy
from tests.servers.program import free_port

MakeTarget = Callable[..., PostgresTarget]

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)

SUPERUSER = "fleet"
"""Who needs no password. Everybody else does."""

ACCESS = f"host all {SUPERUSER} 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"

# What dies here is made again, and a checkpoint or a vacuum in the middle of a test only takes time.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "autovacuum": "off",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "shared_buffers": "32MB",
}


def find_programs() -> Path | None:
    """The folder with the programs of the server, of the newest version there is."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return next((path for path in folders if (path / "initdb").exists() and (path / "postgres").exists()), None)


def unprivileged() -> dict[str, Any]:
    """As whom to run it: PostgreSQL does not run as root."""
    if os.geteuid():
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL does not run as root, and there is no other user")


class PostgresServer:
    """A cluster in a folder, and the server that runs on it, which has no socket but 127.0.0.1:`port`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._as = unprivileged()
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @classmethod
    @contextmanager
    def started(cls) -> Iterator[PostgresServer]:
        """One that runs, until the end of the block. Skips the test where PostgreSQL is not installed."""
        programs = find_programs()
        if programs is None:
            pytest.skip("no PostgreSQL server here: no initdb and postgres on the path or in /usr/lib/postgresql")
        folder = Path(tempfile.mkdtemp(prefix="fleet-postgres-"))
        try:
            server = cls(programs, folder)
            server.initialise()
            server.start()
            try:
                yield server
            finally:
                server.stop()
        finally:
            shutil.rmtree(folder)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def initialise(self) -> None:
        if self._as:
            os.chown(self._folder, self._as["user"], self._as["group"])
        command = ["initdb", "-D", "data", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        command[0] = str(self._programs / command[0])
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, **self._as)
        assert done.returncode == 0, done.stdout + done.stderr
        (self._folder / "data" / "pg_hba.conf").write_text(ACCESS)

    def start(self, seconds: float = 60.0) -> None:
        """Returns when it answers."""
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        command = [str(self._programs / "postgres"), "-D", "data", "-p", str(self.port), *settings]
        if shutil.which("setpriv"):  # Linux: it does not outlive a test process that is killed
            command = ["setpriv", "--pdeathsig", "INT", *command]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._folder, stdout=log, stderr=log, **self._as)
        end = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=10).close()
            except psycopg.OperationalError:
                log_text = (self._folder / "log").read_text(errors="replace")
                assert self._process.poll() is None, log_text
                assert time.monotonic() < end, log_text
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """At once, which sessions notice; what was committed is kept."""
        if self._process:
            for backend in psutil.Process(self.pid).children():
                with suppress(psutil.NoSuchProcess):  # it may end by itself at this moment
                    backend.resume()  # a test may have stopped it
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def url(self, schema: str = "", user: str = SUPERUSER, database: str = "postgres") -> str:
        """Of a place to connect to; a schema is where tables are looked for and made."""
        options = f"?options=-csearch_path%3D{schema}" if schema else ""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}{options}"

    def new_schema(self) -> str:
        """The name of a new, empty one. (A new database takes some tenths of a second.)"""
        name = f"central_{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return name

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """As the superuser, each statement by itself."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer.started() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    return postgres.url(postgres.new_schema())


@pytest.fixture
def postgres_target() -> Iterator[MakeTarget]:
    """Makes targets, which are closed at the end of the test. They pause a tenth of a second at most."""
    made = []

    def target(url: str, retry_seconds: float = 30.0, statement_seconds: float = 30.0) -> PostgresTarget:
        brisk = RetryPolicy(retry_seconds, attempts=1000, sleep=lambda pause: time.sleep(min(pause, 0.1)))
        made.append(PostgresTarget(url, lambda: NOW, brisk, statement_seconds))
        return made[-1]

    yield target
    for one in made:
        one.close()


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def seqs(url: str) -> list[int]:
    """Of all readings there."""
    return [seq for (seq,) in rows(url, "SELECT seq FROM sensor_readings ORDER BY seq")]
