"""The debug information of a database."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import apsw
import pytest

from tests.worker.stores import SensorWriter
from worker.storage.database_debug import debug_lines

pytestmark = pytest.mark.claim("001.environment-variables.4", "002.introduction-features.9")


@pytest.mark.claim("000.error-handling.6", "001.troubleshooting.1", "001.troubleshooting.11")
def test_the_block_is_logged_when_a_database_is_opened(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the level DEBUG, in the words that the documents tell people to look for."""
    with caplog.at_level(logging.DEBUG):
        writer = SensorWriter(path)
        writer.sink.close()

    text = caplog.text
    for line in (
        "=== Database Debug Information ===",
        r"Running in container: (True|False)",
        r"SQLITE_TMPDIR: ",
        f"Database absolute path: {path}",
        "Directory writable: True",
        r"Disk free: [\d.]+ GB",
        r"Database file exists, size: \d+ bytes",
        r"WAL file exists, size: \d+ bytes",
        "PRAGMA journal_mode: wal",
        f"Process ID: {os.getpid()}",
        "File locks: ",
    ):
        assert re.search(rf"CHI_123456: {line}", text), line


def test_nothing_of_it_at_the_usual_level(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        SensorWriter(path).sink.close()

    assert "" == caplog.text


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="locks are told by Linux")
def test_who_locks_the_database(path: Path, writer: SensorWriter) -> None:
    """Looking leaves the locks as they are."""
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        told = list(debug_lines(path, other, {"container": "podman", "SQLITE_TMPDIR": "/data/tmp"}))
        assert any(line.startswith(f"File locks: POSIX READ by pid {os.getpid()}") for line in told)
    assert "Running in container: True" in told
    assert "SQLITE_TMPDIR: /data/tmp" in told
    other.close()


def test_a_database_that_is_nowhere(tmp_path: Path) -> None:
    told = list(debug_lines(tmp_path / "none" / "a.db", apsw.Connection(":memory:"), {}))

    assert "Directory writable: False" in told
    assert "Database file does not exist" in told
