from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.running_fleet import ROOT, fleet


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty working directory but for the configs and a `fleet` to call; afterwards nothing runs in it."""
    place, commands = tmp_path / "here", tmp_path / "commands"
    place.mkdir()
    commands.mkdir()
    shutil.copytree(ROOT / "configs", place / "configs")
    (commands / "fleet").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fleet "$@"\n')
    (commands / "fleet").chmod(0o755)
    yield place
    for data in {path.parent.parent for path in place.glob("*/run/control.sock")}:
        fleet("down", "--data", data)
