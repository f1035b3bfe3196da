from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.page_blocks import Reader
from tests.process.running_fleet import fleet

FLEET = """#!{python}
# The installed command; `fleet up` that would run on gets the reader's Ctrl-C once all workers have committed.
import os, signal, subprocess, sys
command = [{python!r}, "-m", "fleet", *sys.argv[1:]]
if sys.argv[1:2] != ["up"] or {{"--for", "-d", "--detach"}} & set(sys.argv):
    os.execv(command[0], command)
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
    for line in process.stdout:
        print(line, end="", flush=True)
        if "all workers have committed" in line:
            process.send_signal(signal.SIGINT)
sys.exit(process.returncode)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; afterwards no fleet runs in it."""
    place = tmp_path / "here"
    place.mkdir()
    yield place
    for socket in place.glob("**/run/control.sock"):
        fleet("down", "--data", socket.parent.parent)


@pytest.fixture
def reader(folder: Path, tmp_path: Path) -> Reader:
    """A reader in that folder, who has `fleet` and `python` on the PATH."""
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "fleet").write_text(FLEET.format(python=sys.executable))
    (commands / "fleet").chmod(0o755)
    (commands / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (commands / "python").chmod(0o755)
    return Reader(folder, commands)
