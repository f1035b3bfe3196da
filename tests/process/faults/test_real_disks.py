"""Disks that are full or cannot be written to, real ones: file systems of a few megabytes, mounted for the test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from fleet.verify.verification import verify
from tests.process.faults.attack import stop_and_verify, wait_until_healthy
from tests.process.faults.conftest import Up, Write, fleets
from tests.process.running_fleet import FleetProcess, fleet, wait_for

pytestmark = pytest.mark.thorough

SIZE = 16 << 20
"""Bytes; three sensors and their fleet take about one."""


class Disk:
    """A small file system of its own, mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"
        path.mkdir()

    def mount(self, *arguments: object) -> None:
        """Raises CalledProcessError where this user may not."""
        subprocess.run(["mount", *map(str, arguments), self.path], check=True, capture_output=True, text=True)

    def fill(self) -> None:
        """To the last byte, by a file of somebody else."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while ballast.write(b"\0" * size) == size:
                        pass
                except OSError:  # no space left on the device
                    continue

    def clear(self) -> None:
        self._ballast.unlink()

    @contextmanager
    def covered(self) -> Iterator[None]:
        """Within it whoever opens a file on the disk sees it read-only. Who has one open goes on with that; for such a
        disk the kernel refuses to become read-only itself, unless the hardware fails."""
        self.mount("--bind", self.path)
        try:
            self.mount("-o", "remount,bind,ro")
            yield
        finally:
            unmount(self.path)


def unmount(path: Path) -> None:
    """Also while somebody has files open in it: then it is gone when they are closed."""
    if subprocess.run(["umount", path], check=False, capture_output=True).returncode:
        subprocess.run(["umount", "-l", path], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if not sys.platform.startswith("linux"):
        pytest.skip("tmpfs is Linux's")
    disk = Disk(tmp_path / "disk")
    try:
        disk.mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs")
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        pytest.skip(f"nothing can be mounted here: {getattr(error, 'stderr', None) or error}".strip())
    yield disk
    while os.path.ismount(disk.path):
        unmount(disk.path)


@pytest.fixture
def up(disk: Disk) -> Iterator[Up]:
    """Starts fleets in the directory `data` of the disk, whose files are SQLite's own business."""
    with fleets(disk.path.parent, {}) as start:
        yield partial(start, data=disk.path / "data")


def unready(running: FleetProcess) -> bool:
    return {"unready"} == {running.state(sensor) for sensor in running.sensors}


def assert_told(running: FleetProcess, sensor: str, reason: str) -> None:
    """`fleet status` and /healthz say which sensor cannot write, and why."""
    told = fleet("status", "--data", running.data)
    assert 1 == told.returncode
    assert re.search(rf"^{sensor}: unready: {sensor}.db: {reason}$", told.stdout, re.MULTILINE), told.stdout
    code, document = running.get("/healthz")
    assert 503 == code
    (entry,) = [entry for entry in document["reasons"] if entry["sensor_id"] == sensor]
    assert "unready" == entry["state"]
    assert re.fullmatch(f"{sensor}.db: {reason}", entry["reason"])


@pytest.mark.claim("001.architecture.5", "002.error-handling.2")
def test_a_full_disk(disk: Disk, up: Up, quick: Write) -> None:
    """Everybody pauses, unready, and says why and how far behind it is; so does the worker that replaces one which is
    killed meanwhile. When there is room again, all that was due is made up for: nothing is dropped or damaged. That the
    log cannot be written either is no news for the terminal."""
    running = up("-c", quick()).ready()
    victim = running.worker("S_000002")
    disk.fill()
    wait_for(lambda: unready(running), "all are unready")
    stands = [int(running.row(sensor)["next_seq"]) for sensor in running.sensors]
    victim.kill()
    wait_for(
        lambda: running.row("S_000002")["pid"] not in (0, victim.pid) and unready(running), "its successor is, too"
    )
    for sensor in running.sensors:
        assert_told(running, sensor, "(database or disk is full|disk I/O error)")
    wait_for(lambda: running.row("S_000001")["lag_us"] > 1_000_000, "the lag grows")
    assert stands == [int(running.row(sensor)["next_seq"]) for sensor in running.sensors]

    disk.clear()

    wait_until_healthy(running)
    assert all([(0, "start")] == seen.epochs for seen in stop_and_verify(running, 3).values())
    assert "Traceback" not in running.output


def test_a_disk_that_is_read_only_at_the_start(disk: Disk, up: Up, quick: Write) -> None:
    """One line that says so, for a new fleet and for one that was there before, whose data can be verified there."""
    data, arguments = disk.path / "data", ("-c", quick(), "--for", "0.2s", "--no-http")
    disk.mount("-o", "remount,ro")
    assert_refused(fleet("up", "--data", data, *arguments), data)
    disk.mount("-o", "remount,rw")
    assert 0 == up(*arguments).wait()
    disk.mount("-o", "remount,ro")
    assert_refused(fleet("up", "--data", data, *arguments), data)
    verdict = verify(data, complete=True)
    assert verdict.ok, verdict.findings
    assert 3 == verdict.sensors


def assert_refused(told: subprocess.CompletedProcess[str], data: Path) -> None:
    assert (1, "") == (told.returncode, told.stdout)
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"fleet: --data: {data} ")
    assert line.endswith("read-only file system")


@pytest.mark.claim("001.architecture.5")
def test_a_disk_that_becomes_read_only(disk: Disk, up: Up, quick: Write) -> None:
    """A worker that opens its database then is unready with the reason, until it can be written to; the others, who
    have theirs open, go on. Nothing is lost."""
    running = up("-c", quick()).ready()
    victim = running.worker("S_000002")
    with disk.covered():
        victim.kill()
        wait_for(lambda: running.state("S_000002") == "unready", "it is unready")
        assert_told(running, "S_000002", "attempt to write a readonly database")
        before = running.row("S_000001")["next_seq"]
        wait_for(lambda: running.row("S_000001")["next_seq"] > before, "others go on")

    wait_until_healthy(running)
    assert all([(0, "start")] == seen.epochs for seen in stop_and_verify(running, 3).values())
