"""No secret of a target is seen: not in the list of processes, a page, a message, a log or a file of the data directory."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.delivery.scripted_server import ScriptedServer, json_response
from tests.process.running_fleet import ENVIRONMENT, FleetProcess, command, wait_for
from tests.servers.mosquitto import broker
from tests.servers.postgres import PostgresServer

RIGHT, WRONG, LIBPQ, LOGIN, TOKEN, HEADER, BROKER = SECRETS = tuple(
    f"s3cret-{name}" for name in ("right", "wr0ng", "libpq", "login", "token", "header", "broker")
)
BASIC = base64.b64encode(f"me:{LOGIN}".encode()).decode()
PAGES = ("/", "/healthz", "/statusz", "/metricz", "/metrics", "/api/snapshot")


def assert_no_secret(text: str, where: object) -> None:
    found = [
        secret for secret in (*SECRETS, BASIC, *(secret.replace("-", "%2D") for secret in SECRETS)) if secret in text
    ]
    assert [] == found, f"{where}: {found}"


def run(environment: dict[str, str], *arguments: object) -> str:
    """The output of a `fleet` command."""
    done = subprocess.run(
        command(*arguments), env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def page_of(started: FleetProcess, path: str) -> str:
    with urllib.request.urlopen(f"{started.url}{path}", timeout=30) as answer:
        return str(answer.read().decode())


def targets(data: Path) -> list[dict[str, Any]]:
    path = data / "run" / "delivery.json"
    return list(json.loads(path.read_text())["targets"]) if path.exists() else []


@contextmanager
def running(folder: Path, environment: dict[str, str], *arguments: object) -> Iterator[FleetProcess]:
    started = FleetProcess(folder / "data", folder / "output", *arguments, environment=environment)
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def url_of_broker(tmp_path: Path) -> Iterator[str]:
    """A broker that refuses every login."""
    maker = shutil.which("mosquitto_passwd")
    if maker is None:
        pytest.skip("mosquitto_passwd is not installed")
    subprocess.run([maker, "-b", "-c", tmp_path / "users", "me", "other"], check=True, capture_output=True)
    with broker(tmp_path, "allow_anonymous false", f"password_file {tmp_path / 'users'}") as server:
        yield server.url


def test_no_secret_is_seen_anywhere(postgres: PostgresServer, url_of_broker: str, tmp_path: Path) -> None:
    """In every way in which one is accepted, right and wrong; a server may repeat in its answer what it was sent."""
    postgres.execute(f"CREATE ROLE keeper LOGIN SUPERUSER PASSWORD '{RIGHT}'")
    logged_in = json_response(403, {"error": f"me:{LOGIN} Basic {BASIC} X-Key: {HEADER}"})
    with ScriptedServer(logged_in) as server, ScriptedServer(json_response(401, {"error": f"{TOKEN}"})) as other:
        host = f"127.0.0.1:{postgres.port}"
        secret_file = tmp_path / "wrong"
        secret_file.write_text(f"postgresql://keeper:{WRONG}@{host}/postgres?connect_timeout=7\n")
        right = f"postgresql://keeper:{RIGHT.replace('-', '%2D')}@{host}/postgres"
        environment = {
            "RIGHT": right,
            "BROKER": url_of_broker.replace("//", f"//me:{BROKER}@"),
            "LOGIN": f"{server.url.replace('//', f'//me:{LOGIN}@')}/login",
            "COLLECT_TOKEN": TOKEN,
            "COLLECT_HEADERS": f"X-Key: {HEADER}",
            "PGPASSWORD": LIBPQ,
        }
        config = tmp_path / "fleet.yaml"
        config.write_text("replicas: {count: 2}\ndelivery: {to: [env:RIGHT], drain_seconds: 0.5}\n")
        libpq = f"postgresql://keeper@{host}/postgres?connect_timeout=8"
        given = ("env:RIGHT", f"file:{secret_file}", "env:BROKER", "env:LOGIN", f"{other.url}/token", libpq)
        options = [word for target in given for word in ("--to", target)]
        with running(tmp_path, environment, "-c", config, "--rate", 20, *options) as started:
            data = started.data
            wait_for(lambda: len(targets(data)) == len(given), "there is a status")
            wait_for(lambda: all(each["error"] for each in targets(data)[1:]), "all others fail")
            wait_for(lambda: targets(data)[0]["delivered"] > 20, "the right one works")
            assert_no_secret(subprocess.check_output(["ps", "axww", "-o", "args"], text=True), "ps")
            for page in PAGES:
                assert_no_secret(page_of(started, page), page)
            for words in (("status",), ("status", "--json"), ("logs",)):
                assert_no_secret(run(environment, *words, "--data", data), words)
            started.interrupt()
            assert 1 == started.wait()
            assert_no_secret(started.output, "output")
        for target in given[2:4]:
            assert_no_secret(run(environment, "collect", "--once", "--to", target, "--data", data), target)
        for target in given[:2]:
            assert_no_secret(run(environment, "verify", "--against", target, "--data", data), target)
        assert_no_secret(run(environment, "config", "show", config), "config show")
        for asked, authorization in ((server, f"Basic {BASIC}"), (other, f"Bearer {TOKEN}")):
            sent = [(each.headers["Authorization"], each.headers["X-Key"]) for each in asked.requests]
            assert {(authorization, HEADER)} == set(sent)
    for path in data.rglob("*"):
        if path.is_file():
            assert_no_secret(path.read_bytes().decode("latin-1"), path)
            assert_no_secret(path.name, path)


def test_a_password_on_the_command_line_is_refused(tmp_path: Path) -> None:
    """In one line that names the two ways to give it; nothing is written."""
    target, data = f"postgresql://me:{WRONG}@host/db", tmp_path / "data"
    config = tmp_path / "fleet.yaml"
    config.write_text(f"delivery: {{to: ['{target}']}}\n")
    for words in (
        ("up", "--to", target, "--data", data),
        ("up", "-c", config, "--data", data),
        ("config", "show", config),
        ("collect", "--once", "--to", target, "--data", tmp_path),
    ):
        output = run({}, *words)
        assert 1 == output.count("\n"), output
        assert output.endswith("give env:NAME or file:PATH\n"), output
        assert_no_secret(output, words)
    assert not data.exists()
