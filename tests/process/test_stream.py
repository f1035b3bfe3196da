"""`fleet stream` as a process: signals, pipes, the rate that it holds."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.process.running_fleet import ENVIRONMENT
from tests.servers.single_readings import reading_server

pytestmark = pytest.mark.process
COMMAND = [sys.executable, "-m", "fleet", "stream"]


@contextmanager
def stream(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A stream that is killed at the end of the context."""
    command, pipe = [*COMMAND, *arguments], subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, text=True, stdout=pipe, stderr=pipe) as running:
        try:
            yield running
        finally:
            running.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.claim("003.quick-start.1", "003.features.1")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_stream_with_whole_lines_and_statistics(
    tmp_path: Path, number: signal.Signals, jobs: str
) -> None:
    """10,000 records a second until then."""
    output = tmp_path / "output.jsonl"
    with stream(tmp_path, "--jobs", jobs) as running:
        wait_for(lambda: output.exists() and output.stat().st_size > 1_000_000)
        running.send_signal(number)
        _, printed = running.communicate(timeout=60)

    lines = output.read_text().splitlines(keepends=True)
    assert 0 == running.returncode, printed
    assert all(line.endswith("}\n") for line in lines)
    assert f"records    {len(lines):,}\n" in printed
    assert isinstance(json.loads(lines[-1]), dict)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_reader_that_goes_away_ends_a_stream(tmp_path: Path, jobs: str) -> None:
    """Without a message, as with `head`."""
    with stream(tmp_path, "-o", "-", "--jobs", jobs) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        first = running.stdout.readline()
        running.stdout.close()
        printed = running.stderr.read()
        code = running.wait(timeout=60)

    assert "SNS-" in first
    assert (0, "") == (code, printed)


@pytest.mark.claim("003.command-line.4")
def test_statistics_come_every_5_seconds(tmp_path: Path) -> None:
    with stream(tmp_path, "-v", "-rate", "100") as running:
        assert running.stderr is not None
        line = running.stderr.readline()

    assert re.match(r"\d+ s: [\d,]+ records, ", line)


def test_a_slow_stream_writes_each_record_when_it_is_due(tmp_path: Path) -> None:
    """One a second: the first at once, and no other with it."""
    with stream(tmp_path, "-o", "-", "-rate", "1", "-d", "2s") as running:
        printed, _ = running.communicate(timeout=60)

    first, second = (json.loads(line)["timestamp"][17:26] for line in printed.splitlines())
    assert 1.0 == pytest.approx((float(second) - float(first)) % 60)


def test_any_number_of_jobs_writes_the_same_bytes(tmp_path: Path) -> None:
    """Also where the stream ends within a block."""
    contents = []
    for jobs in ("1", "2", "3"):
        output = tmp_path / jobs
        output.write_bytes(b'{"a": 1}')
        fixed = ("--seed", "3", "--start", "2026-01-01T00:00:00Z", "--sensors", "20", "--append")
        command = [
            *COMMAND,
            "-o",
            str(output),
            *fixed,
            "-rate",
            "100000",
            "-d",
            "2.01s",
            "--unthrottled",
            "--jobs",
            jobs,
        ]
        printed = subprocess.run(command, env=ENVIRONMENT, text=True, capture_output=True, check=True).stderr
        contents.append(output.read_bytes())
        assert f"records    {contents[-1].count(b'sensor_id'):,}\n" in printed

    assert contents[0].startswith(b'{"a": 1}\n{"sensor_id"')
    assert 201_000 == contents[0].count(b'"sensor_id"')
    assert contents[0] == contents[1] == contents[2]


def test_statistics_of_several_jobs_come_every_5_seconds(tmp_path: Path) -> None:
    """Blocks are of ten seconds."""
    with stream(tmp_path, "-v", "-rate", "1000", "--jobs", "2") as running:
        assert running.stderr is not None
        lines = [running.stderr.readline() for _ in range(3)]

    assert ["5", "10", "15"] == [line.split()[0] for line in lines]


def test_a_job_that_is_killed_ends_the_stream(tmp_path: Path) -> None:
    output = tmp_path / "output.jsonl"
    with stream(tmp_path, "--jobs", "2") as running:
        wait_for(lambda: output.exists() and output.stat().st_size > 1_000_000)
        for child in psutil.Process(running.pid).children():
            child.kill()
        _, printed = running.communicate(timeout=60)

    assert (1, "fleet: a process of the stream has ended too early: the output may end with a part of a line\n") == (
        running.returncode,
        printed,
    )


def test_a_server_that_goes_away_gets_everything(tmp_path: Path) -> None:
    """Each record once, by a stream that waits; one that is stopped meanwhile says that something is left."""
    arguments = ("--kind", "bme280", "--record", "bme280", "--sensors", "2", "-rate", "100", "-d", "3s", "--seed", "3")
    with reading_server(schema=None) as server:
        with stream(tmp_path, *arguments, "--to", f"{server.url}#each") as running:
            wait_for(lambda: len(server.stored) > 50)
            server.stop()
            assert running.stderr is not None
            assert "the stream waits" in running.stderr.readline()
            server.start()
            printed = running.stderr.read()
            assert 0 == running.wait(60), printed
        times = [each["timestamp"] for each in server.stored]
        assert "well again" in printed
        assert f"records    {len(times)}\n" in printed
        assert len(times) == len({(each["device_id"], each["timestamp"]) for each in server.stored}) > 290

        server.stop()
        with stream(tmp_path, *arguments, "--to", f"{server.url}#each") as running:
            assert running.stderr is not None
            assert "the stream waits" in running.stderr.readline()
            running.send_signal(signal.SIGINT)
            assert "not everything was delivered: the same command with --seed 3 --start 20" in running.stderr.read()
            assert 1 == running.wait(60)
