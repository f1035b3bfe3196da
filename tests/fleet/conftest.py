"""One server for all tests that ask it, each beginning with nothing done and a good token."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from fleet.datadir import token
from tests.fleet.sites import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    subject = ServerProcess(tmp_path_factory.mktemp("site") / "data")
    try:
        with subject.loop:
            subject.ask("/livez")
            yield subject
    finally:
        subject.close()


@pytest.fixture
def site(server: ServerProcess) -> ServerProcess:
    server.commands.clear()
    server.staged.scoreboard.rows["heartbeat_ns"] = time.monotonic_ns()
    token.ensure_token(server.run / "token")
    server.token = (server.run / "token").read_text().strip()
    return server
