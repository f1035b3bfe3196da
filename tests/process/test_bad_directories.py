"""An unusable data directory, port or limit is refused in one line, before anything is created or started."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fleet.runtime import preflight
from tests.process.test_bad_input import UP, Files, refused, write

RECORD = '{"seed":1,"layout":"own","sensors_per_worker":1,"start_us":1,"wall_us":1,"runs":1,"sensors":[]}'
DAMAGED = {
    "": "data/fleet.json:1:1: invalid JSON: Expecting value",
    "null": "data/fleet.json: null is not a JSON object; restore the file",
    "{}": "data/fleet.json:1:1: seed is missing; restore the file",
    b"\xff\x00": "data/fleet.json: not a text file (byte 0 is not UTF-8)",
    RECORD.replace('"seed":1', '"seed":"x"'): 'data/fleet.json:1:9: seed: "x" is not a whole number from 0 to ',
    RECORD.replace(
        '"start_us":1', '"start_us":1e400'
    ): "data/fleet.json:1:60: start_us: Infinity is not a whole number",
    RECORD.replace('"runs":1', f'"runs":{2**63 - 1}'): (
        f"data/fleet.json:1:81: runs: {2**63 - 1} is not a whole number from 0 to 274877906944"
    ),
    RECORD.replace("[]", '[["a","a"],["a","a"]]'): 'data/fleet.json:1:104: sensors[1]: "a" is there twice',
    RECORD.replace("[]", '[["a","b"]]'): 'data/fleet.json:1:94: sensors[0]: "b" is not the worker of a',
    RECORD.replace("[]", '[["a","p"],["b","q"],["c","p"]]').replace("own", "packed"): (
        'data/fleet.json:1:117: sensors[2]: "p" is a worker that is named further up'
    ),
    RECORD.replace("own", "odd"): 'data/fleet.json:1:20: layout: "odd" is not one of own, shared, packed',
    RECORD.replace("[]", '[["../a","../a"]]'): 'data/fleet.json:1:95: sensors[0][0]: "../a" is not a sensor id',
    RECORD.replace("[]", '[["a"]]'): 'data/fleet.json:1:94: sensors[0]: ["a"] is not a list of 2 values',
}
IN_THE_WAY = {
    "data": "--data: data cannot be the data directory: it is not a directory",
    "data/run": "--data: data cannot be the data directory: data/run is not a directory",
    "data/run/lock/x": "--data: data cannot be the data directory: data/run/lock is a directory, not a file",
    "data/run/board/x": "--data: data cannot be the data directory: data/run/board is a directory, not a file",
    "data/run/control.sock/x": (
        "--data: data cannot be the data directory: data/run/control.sock is a directory, not a file"
    ),
    "data/fleet.json/x": "--data: data cannot be the data directory: data/fleet.json is a directory, not a file",
    "data/identities": "data/identities:1:1: invalid JSON: Expecting value",
    "data/sensor_data.db": "data/sensor_data.db: is not an SQLite database",
    "data/sensor_data.db/x": "data/sensor_data.db: is a directory, not a database",
}


@pytest.mark.parametrize(("text", "complaint"), DAMAGED.items())
def test_a_damaged_record_is_refused(text: str | bytes, complaint: str, tmp_path: Path) -> None:
    """It is refused before a name in it is used as the name of a file."""
    write(tmp_path, {"data/fleet.json": text})

    line = refused(tmp_path, UP)

    assert line.startswith(complaint), line


@pytest.mark.parametrize(("name", "complaint"), IN_THE_WAY.items())
def test_what_stands_in_the_way_in_the_data_directory_is_named(name: str, complaint: str, tmp_path: Path) -> None:
    files: Files = {name: "x"}
    write(tmp_path, files)

    line = refused(tmp_path, (*UP, "--shared-db"))

    assert line.startswith(complaint), line


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    """The error names the flag or the line that set it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write(tmp_path, {"c.yaml": f"monitoring: {{port: {port}}}"})
        reason = f"{port} on 127.0.0.1 is in use by another program; take another with --port, 0 for any free one, "

        assert refused(tmp_path, ("up", "--port", str(port))).startswith(f"--port: {reason}")
        assert refused(tmp_path, ("up", "-c", "c.yaml")).startswith(f"c.yaml:1:20: monitoring.port: {reason}")


def test_a_data_directory_that_another_fleet_holds_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"data/run/lock": "4711\n"})
    with (tmp_path / "data/run/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        line = refused(tmp_path, UP)

    assert line == (
        "--data: data: another fleet runs here (pid 4711): "
        "stop it with `fleet down --data data`, or take another directory"
    )


def test_more_open_files_than_the_system_allows_are_refused(tmp_path: Path) -> None:
    """The error has the number needed, the limit, and the largest fleet that it allows."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))

    line = refused(tmp_path, ("up", "--replicas", "100", "--port", "0"), before=limit)

    assert line.startswith("100 workers need 556 open files, the limit is 300 (enough for 14): raise it with ")


def test_more_sensors_than_fit_into_memory_are_refused(tmp_path: Path) -> None:
    """With what is needed, and nothing is made."""
    most = 100_000
    if psutil.virtual_memory().available > most * preflight.BYTES_PER_WORKER:
        pytest.skip("this machine has room for as many as a config may ask for")

    line = refused(tmp_path, ("up", "--replicas", str(most), "--port", "0"))

    assert line.startswith("100000 workers ")


@pytest.fixture
def as_anybody() -> list[str]:
    """The prefix of a command that makes file modes apply to it even if root runs the tests."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("only setpriv makes root heed the modes of files")
    return [setpriv, "--bounding-set", "-dac_override,-dac_read_search"]


@pytest.mark.claim("001.troubleshooting.3")
def test_a_data_directory_that_may_not_be_written_is_refused(tmp_path: Path, as_anybody: list[str]) -> None:
    """The directory, its contents, or the folder that it would be created in may be read-only."""
    folder = tmp_path / "sealed"
    write(folder, {"data/run/lock": ""})
    reason = "may not be written by this user"
    for sealed, data in (("data/run/lock", "data"), ("data/run", "data"), ("data", "data"), ("", "other")):
        (folder / sealed).chmod(0o444 if sealed.endswith("lock") else 0o555)
        place = "it" if sealed == data else folder / sealed

        line = refused(tmp_path, (*UP, "--data", str(folder / data)), under=as_anybody)

        assert line == f"--data: {folder / data} cannot be the data directory: {place} {reason}"
        (folder / sealed).chmod(0o755)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that is mounted read-only, also for root."""
    folder = tmp_path / "sealed"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "ro", "none", folder], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_read_only_data_directory_is_refused(read_only: Path) -> None:
    """It is refused for root too, and if only the folder that it would be created in is read-only."""
    for data in (read_only, read_only / "data"):
        line = refused(read_only.parent, (*UP, "--data", str(data)))

        assert line.startswith(f"--data: {data} cannot be the data directory: ")
        assert line.endswith("is on a read-only file system")
