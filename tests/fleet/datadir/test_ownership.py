"""Files of another user in `run/`, and paths on record that lead out of the data directory."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.datadir import token
from fleet.datadir.directory import DataDirectory
from fleet.datadir.logs import LOG_SPEC_FILE, read_log_spec
from fleet.datadir.ownership import foreign_link, secure_run_folder
from fleet.datadir.readings import DatabaseUnreadable, record_count
from fleet.datadir.roster import Roster
from fleet.delivery.state import DEAD_LETTER_FILE, STATE_FILE, STATE_FOLDER, CollectorState
from fleet.errors import UserError
from fleet.runtime.control_client import NotListening, send_command
from tests.fleet.staged import StagedFleet
from worker.log import LogSpec

OTHER_USER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with a folder `run` of this user."""
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True, mode=0o700)
    return data


def planted_token(data: Path) -> Path:
    path = data / "run" / "token"
    path.write_text("t" * 43)
    path.chmod(0o600)
    return path


@as_root
@pytest.mark.parametrize("name", ["run", "run/token", "run/roster.json", "run/board.new"])
def test_what_another_user_has_put_there_is_refused(name: str, data: Path, tmp_path: Path) -> None:
    """The folder, a file in it, and a symbolic link that would be written through."""
    path = data / name
    if name.endswith(".new"):
        path.symlink_to(tmp_path / "precious")
    elif name != "run":
        path.write_text("x")
    os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)

    with pytest.raises(UserError) as refused:
        DataDirectory(data).hold()

    told = f"{path}: belongs to another user (uid 65534, this is uid 0): start the fleet as that user, or remove it"
    assert told == str(refused.value)
    assert not (data / "run" / "lock").exists()


def test_others_may_no_longer_write_to_the_folder(data: Path) -> None:
    """As a mounted folder with a group for the pod has it; what they may read stays as it is."""
    (data / "run").chmod(0o775)

    secure_run_folder(data / "run")

    assert 0o755 == stat.S_IMODE((data / "run").stat().st_mode)
    assert [] == list((data / "run").iterdir())


@as_root
def test_a_token_of_another_user_is_not_obeyed(data: Path) -> None:
    """Though only its owner may read it: who has put it there knows it. The fleet makes one of its own."""
    path = planted_token(data)
    assert b"t" * 43 == token.read_token(path)
    os.chown(path, OTHER_USER, OTHER_USER)

    with pytest.raises(token.TokenUnavailable, match=r"belongs to another user \(uid 65534\)"):
        token.read_token(path)
    token.ensure_token(path)

    assert b"t" * 43 != token.read_token(path)
    assert 0 == path.stat().st_uid


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that any user can reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


HOLD_AS_OTHER = """
import encodings.ascii, os, sys
from pathlib import Path
from fleet.datadir import token
from fleet.datadir.directory import DataDirectory
from fleet.datadir.logs import read_log_spec
os.setegid(65534)
os.seteuid(65534)
directory = DataDirectory(Path(sys.argv[1]))
directory.hold()
token.ensure_token(directory.token)
os.seteuid(0)
os.setegid(0)
print(read_log_spec(directory).path.name, len(directory.token.read_text()) > 40, directory.holder() is not None)
"""


@as_root
@pytest.mark.process
def test_root_reads_the_folder_of_a_user(reachable: Path) -> None:
    """As in a container that gives root up. The user's own files and those that root has left there are accepted."""
    data = reachable / "data"
    (data / "run").mkdir(parents=True)
    (data / "run" / "token").write_text("short")
    (data / "run" / "token").chmod(0o644)
    for path in (data, data / "run"):
        os.chown(path, OTHER_USER, OTHER_USER)

    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", HOLD_AS_OTHER, str(data)], capture_output=True, text=True, cwd=root, check=False
    )

    assert (0, "fleet.log True True\n") == (done.returncode, done.stdout), done.stderr


@as_root
@pytest.mark.parametrize("foreign", ["run", "run/control.sock"])
@pytest.mark.parametrize("linked", [False, True])
def test_no_command_is_sent_to_the_socket_of_another_user(foreign: str, linked: bool, data: Path) -> None:
    """Nor through a link of theirs; root's own fleet may be behind it."""
    true = data.with_name("true")
    (true / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(true / "run" / "control.sock"))
        listening.listen()
        path = data / foreign
        if linked:
            if foreign == "run":
                path.rmdir()
            path.symlink_to(true / foreign)
        else:
            (true / "run" / "control.sock").rename(data / "run" / "control.sock")
        os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)

        with pytest.raises(UserError, match=f"{path}: .*another user") as refused:
            send_command(data / "run" / "control.sock", 5, command="down")

    assert ("\n" in str(refused.value), "uid 65534" in str(refused.value)) == (False, True)


@as_root
def test_root_controls_the_fleet_of_a_user(data: Path) -> None:
    """In that user's data directory, through that user's socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(data / "run" / "control.sock"))
        for path in (data, data / "run", data / "run" / "control.sock"):
            os.chown(path, OTHER_USER, OTHER_USER)

        with pytest.raises(NotListening):
            send_command(data / "run" / "control.sock", 5, command="down")


@as_root
@pytest.mark.parametrize("name", ["x.db", "fleet.json", "run/roster.json", "run/fleet.log", f"run/{LOG_SPEC_FILE}"])
def test_a_link_of_another_user_that_leads_out_is_not_followed(name: str, data: Path, tmp_path: Path) -> None:
    """A database, a state file, a log. One of this user's is followed, and one that stays inside."""
    (tmp_path / "precious").write_text("x")
    path = data / name
    path.symlink_to(tmp_path / "precious")
    reader: Callable[[Path], object] = {
        "x.db": record_count,
        "fleet.json": lambda _: DataDirectory(data).read_manifest(),
        "run/roster.json": Roster.read,
    }.get(name, lambda _: read_log_spec(DataDirectory(data)))
    with suppress(UserError, DatabaseUnreadable):
        reader(path)
    os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)

    with pytest.raises((UserError, DatabaseUnreadable), match=r"a symbolic link of another user .* not followed"):
        reader(path)
    path.unlink()
    (path.with_name("inside")).write_text("x")
    path.symlink_to("inside")
    os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)
    assert "" == foreign_link(path)


@as_root
@pytest.mark.parametrize("name", ["", STATE_FILE, DEAD_LETTER_FILE])
def test_a_collector_writes_through_no_link_of_another_user(name: str, data: Path, tmp_path: Path) -> None:
    """Its records lie in the data directory, where that user may have made it."""
    (tmp_path / "precious").mkdir()
    folder = data / STATE_FOLDER
    if name:
        folder.mkdir()
    (folder / name).symlink_to(tmp_path / "precious" / name)
    os.chown(folder / name, OTHER_USER, OTHER_USER, follow_symlinks=False)

    with pytest.raises(UserError, match=r"--state: .*a symbolic link of another user"):
        CollectorState(folder, "sqlite:///x.db")

    assert [] == list((tmp_path / "precious").iterdir())


@pytest.mark.parametrize(
    ("recorded", "local"),
    [
        ("/etc/passwd", "run/fleet.log"),
        ("/etc/logs/../passwd", "run/fleet.log"),
        ("/elsewhere/logs/x.log", "logs/x.log"),
        ("data/logs/..", "logs/.."),
        ("/elsewhere/run/token", "run/fleet.log"),
        ("run/fleet.log", "run/fleet.log"),
    ],
)
def test_the_log_on_record_is_in_the_directory(recorded: str, local: str, data: Path) -> None:
    """`fleet logs` by root shows no other file."""
    (data / "run" / LOG_SPEC_FILE).write_text(LogSpec(Path(recorded)).to_json())

    assert data / local == read_log_spec(DataDirectory(data)).path


@pytest.mark.parametrize("single", [False, True])
def test_databases_and_logs_of_the_roster_are_in_the_directory(single: bool, tmp_path: Path) -> None:
    """So a copied directory shows its own; those of a single worker are above its own directory."""
    data = tmp_path / "store" / "workers" / "ONE" if single else tmp_path / "data"
    staged = StagedFleet(data, 1)
    away = [replace(staged.members[0], database=Path("/elsewhere/sensor_data.db"), log=Path("/etc/passwd"))]
    staged.write_roster(members=tuple(away))

    (member,) = Roster.read(staged.run / "roster.json").members

    folder = tmp_path / "store" if single else data
    assert (folder / "sensor_data.db", data / "run" / "fleet.log") == (member.database, member.log)
