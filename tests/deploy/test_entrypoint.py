"""The image's entry point, run without an image: a container's folders lie in a temporary one, its program is a script.

The program prints what the kernel says about its process.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ENTRYPOINT = Path(__file__).resolve().parent.parent.parent / "deploy" / "entrypoint"
IMAGE_USER = 10001

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can drop to another user, with setpriv of util-linux",
)

PROGRAM = """#!/bin/sh
grep -E '^(Pid|Uid|Gid|Groups|Cap...|NoNewPrivs):' /proc/$$/status
echo "arguments: $0 $*"
echo "variables: ${CONFIG_FILE-unset} ${IDENTITY_FILE-unset} $PATH"
[ "${1-}" != wait ] || { trap 'echo drained; exit 0' TERM; echo ready; while :; do sleep 0.01; done; }
touch "$(dirname "$0")/../app/data/written" 2>/dev/null || exit 1
"""


class Ended(NamedTuple):
    code: int
    error: str
    process: dict[str, str]
    """What the program printed, by name; empty if it was not started."""

    @property
    def users(self) -> set[str]:
        """Of all kinds: real, effective, saved, of the file system."""
        return set(self.process["Uid"].split())


class Container:
    """The folders of an image, and the ways to start something in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "app" / "data"
        self.data.mkdir(parents=True)
        self.launchers = root / "launch"
        programs = root / "bin"
        for folder in (self.launchers, programs):
            folder.mkdir()
        script = ENTRYPOINT.read_text(encoding="utf-8")
        for inside, here in (
            ("DATA=/app/data", self.data),
            ("PROGRAMS=/opt/fleet/bin", programs),
            ("LAUNCHERS=/opt/fleet/launch", self.launchers),
        ):
            assert inside + "\n" in script
            script = script.replace(inside + "\n", f"{inside.split('=', maxsplit=1)[0]}={here}\n")
        self._executable(self.launchers / "entrypoint", script)
        for name in ("fleet", "python"):
            self._executable(programs / name, PROGRAM)
            (self.launchers / name).symlink_to("entrypoint")
        self.environment = {"PATH": f"{self.launchers}:{programs}:{os.environ['PATH']}"}

    def _executable(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    def own(self, user: int, mode: int = 0o755, group: int | None = None) -> None:
        os.chown(self.data, user, user if group is None else group)
        self.data.chmod(mode)

    @property
    def owner(self) -> tuple[int, int, str]:
        status = self.data.stat()
        return status.st_uid, status.st_gid, f"{stat.S_IMODE(status.st_mode):o}"

    def command(self, *words: str, setpriv: tuple[str, ...] = (), name: str = "entrypoint") -> list[str]:
        before = ["setpriv", *setpriv, "--"] if setpriv else []
        return [*before, str(self.launchers / name), *words]

    def run(
        self,
        *words: str,
        setpriv: tuple[str, ...] = (),
        name: str = "entrypoint",
        variables: dict[str, str] | None = None,
    ) -> Ended:
        ran = subprocess.run(
            self.command(*words, setpriv=setpriv, name=name),
            env=self.environment | (variables or {}),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        lines = (line.split(":", maxsplit=1) for line in ran.stdout.splitlines())
        return Ended(ran.returncode, ran.stderr, {key: value.strip() for key, value in lines})


@pytest.fixture
def container() -> Iterator[Container]:
    """In a folder that every user can enter, unlike pytest's own."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    try:
        yield Container(root)
    finally:
        shutil.rmtree(root)


WORKER = ("python", "-m", "worker")
NO_CAPABILITIES = ("--bounding-set=-all", "--inh-caps=-all")


@pytest.mark.claim("000.overview-quick.7")
def test_a_folder_of_roots_is_handed_over(container: Container) -> None:
    """As Docker makes it for `-v $(pwd)/data:/app/data`: the folder alone, and the program runs as the image's user."""
    container.own(0)
    (container.data / "notes").write_text("of root")

    ended = container.run(*WORKER)

    assert (0, "") == (ended.code, ended.error)
    assert {"10001"} == ended.users
    assert (IMAGE_USER, IMAGE_USER, "755") == container.owner
    assert 0 == (container.data / "notes").stat().st_uid
    assert IMAGE_USER == (container.data / "written").stat().st_uid


def test_root_is_given_up_for_good(container: Container) -> None:
    """No user, group or capability of root's is left, and no program that is started can gain one."""
    process = container.run(*WORKER).process

    assert {"10001"} == set(process["Uid"].split()) | set(process["Gid"].split())
    assert "" == process["Groups"]
    assert {0} == {int(process[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert "1" == process["NoNewPrivs"]


def test_it_drops_with_few_capabilities(container: Container) -> None:
    """`--cap-drop=ALL --cap-add=CHOWN --cap-add=SETUID --cap-add=SETGID`: SETPCAP, which empties the bounding set, is
    not needed."""
    container.own(0)
    few = ("--bounding-set=-all,+chown,+setuid,+setgid", "--inh-caps=-all")

    ended = container.run(*WORKER, setpriv=few)

    assert (0, "") == (ended.code, ended.error)
    assert {"10001"} == ended.users
    assert (0, "1") == (int(ended.process["CapEff"], 16), ended.process["NoNewPrivs"])
    assert (IMAGE_USER, IMAGE_USER, "755") == container.owner


def test_a_folder_that_can_be_written_stays_as_it_is(container: Container) -> None:
    container.own(0, mode=0o777)

    ended = container.run(*WORKER)

    assert {"10001"} == ended.users
    assert (0, 0, "777") == container.owner


@pytest.mark.parametrize("group", [1234, 0])
@pytest.mark.claim("000.docker-bacalhau.2")
def test_a_folder_of_another_user_is_written_as_that_user(container: Container, group: int) -> None:
    """Such as a Bacalhau job's folder for results. A group of root's is not taken over."""
    container.own(1234, group=group)

    ended = container.run("-m", "worker", name="python")

    assert (0, "") == (ended.code, ended.error)
    assert {"1234"} == ended.users
    assert {"1234" if group else "10001"} == set(ended.process["Gid"].split())
    assert (1234, group, "755") == container.owner


def test_a_link_in_the_folders_place_is_not_followed(container: Container) -> None:
    target = container.root / "target"
    target.mkdir()
    container.data.rmdir()
    container.data.symlink_to(target)

    container.run(*WORKER)

    assert 0 == target.stat().st_uid
    assert 0 == container.data.lstat().st_uid


@pytest.mark.parametrize("setpriv", [("--reuid=1234", "--regid=1234", "--clear-groups"), NO_CAPABILITIES])
def test_another_user_stays(container: Container, setpriv: tuple[str, ...]) -> None:
    """`--user 1234:1234`; and root without a capability, which cannot become another user."""
    user = 1234 if "--reuid=1234" in setpriv else 0
    container.own(user)

    ended = container.run(*WORKER, setpriv=setpriv)

    assert (0, "") == (ended.code, ended.error)
    assert {str(user)} == ended.users
    assert (0, "1") == (int(ended.process["CapEff"], 16), ended.process["NoNewPrivs"])
    assert (user, user, "755") == container.owner


@pytest.mark.parametrize(
    ("owner", "setpriv", "user", "remedy"),
    [
        (
            0,
            ("--reuid=1234", "--regid=1234", "--clear-groups"),
            1234,
            "start the container without `--user`, or run `chown 1234` on that folder of the host",
        ),
        (
            IMAGE_USER,
            NO_CAPABILITIES,
            0,
            "start the container with `--user 10001:10001`, or run `chown 0` on that folder of the host",
        ),
        (
            0,
            ("--bounding-set=-all,+setuid,+setgid", "--inh-caps=-all"),
            IMAGE_USER,
            "run `chown 10001` on that folder of the host",
        ),
    ],
)
def test_a_folder_that_cannot_be_written_is_told(
    container: Container, owner: int, setpriv: tuple[str, ...], user: int, remedy: str
) -> None:
    """The user, the folder and the remedy in one line; the program, which knows of no container, ends with code 1."""
    container.own(owner)

    ended = container.run(*WORKER, setpriv=setpriv)

    expected = f"entrypoint: user {user} cannot write to {container.data} (owner {owner}, mode 755): {remedy}\n"
    assert (1, expected) == (ended.code, ended.error)
    assert {str(user)} == ended.users


def test_a_folder_without_a_mode_for_writing_is_told(container: Container) -> None:
    """It is handed over, and stays as closed as it was."""
    container.own(0, mode=0o555)

    ended = container.run(*WORKER)

    assert 1 == ended.code
    assert f"user {IMAGE_USER} cannot write to {container.data} (owner {IMAGE_USER}, mode 555)" in ended.error
    assert "`chmod u+rwx`" in ended.error


def test_commands_that_write_nothing_are_not_told(container: Container) -> None:
    container.own(0)

    ended = container.run("fleet", "--version", setpriv=("--reuid=1234", "--regid=1234", "--clear-groups"))

    assert "" == ended.error


def test_root_that_cannot_be_given_up_is_refused(container: Container) -> None:
    """Some capabilities, but not those for becoming another user: nothing runs as a root that has any."""
    ended = container.run(*WORKER, setpriv=("--bounding-set=-setuid",))

    assert (1, {}) == (ended.code, ended.process)
    assert "user 0 cannot become user 10001" in ended.error
    assert "--user 10001:10001" in ended.error
    assert 1 == ended.error.count("\n")


@pytest.mark.parametrize(("name", "words"), [("fleet", ("status",)), ("python", ("-m", "worker"))])
def test_the_programs_names_lead_through_it(container: Container, name: str, words: tuple[str, ...]) -> None:
    """As `docker exec` and `--entrypoint` start them; the program itself finds only programs on PATH."""
    ended = container.run(*words, name=name)

    program = container.root / "bin" / name
    assert {"10001"} == ended.users
    assert f"{program} {' '.join(words)}" == ended.process["arguments"]
    assert str(container.launchers) not in ended.process["variables"]


def test_the_program_is_the_first_process_and_is_signalled(container: Container) -> None:
    """It takes the place of the entry point, under the same process id, and its exit code is the container's."""
    command = container.command("python", "wait")
    with subprocess.Popen(command, env=container.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if line == "ready\n":
                break
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)

    assert f"Pid:\t{process.pid}\n" in printed
    assert ("drained\n", 0) == (rest, process.returncode)


@pytest.mark.claim("000.environment-variables.4")
def test_a_folder_for_temporary_files_comes_with_the_data_folder(container: Container) -> None:
    inside, elsewhere = container.data / "tmp", container.root / "elsewhere"

    container.run(*WORKER, variables={"SQLITE_TMPDIR": str(inside)})
    container.run(*WORKER, variables={"SQLITE_TMPDIR": str(elsewhere)})

    assert IMAGE_USER == inside.stat().st_uid
    assert not elsewhere.exists()


def test_files_that_are_not_mounted_are_told(container: Container) -> None:
    """At the two places that the documents name; any other file is left for the program to miss."""
    app = container.data.parent
    mounted = {"CONFIG_FILE": str(app / "config.yaml"), "IDENTITY_FILE": str(app / "identity.json")}
    other = {"CONFIG_FILE": str(app / "config" / "config.yaml"), "IDENTITY_FILE": str(app / "me.json")}

    without = container.run(*WORKER, variables=mounted)
    strange = container.run(*WORKER, variables=other)
    for path in mounted.values():
        Path(path).touch()
    there = container.run(*WORKER, variables=mounted)

    assert ["unset", "unset"] == without.process["variables"].split()[:2]
    assert 2 == without.error.count("nothing is mounted at")
    assert [*other.values()] == strange.process["variables"].split()[:2]
    assert [*mounted.values()] == there.process["variables"].split()[:2]
    assert ("", "") == (strange.error, there.error)
