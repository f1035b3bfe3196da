"""The pages on use cases: every command and every query on them is run as it is written, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.evidence import open_database
from tests.process.running_fleet import ENVIRONMENT, ROOT, fleet

pytestmark = pytest.mark.thorough

PAGES = sorted((ROOT / "docs" / "use-cases").glob("*.md"))
CASES = {
    "anomaly-detection",
    "firmware-rollout",
    "geographic-distribution",
    "load-testing",
    "sensor-decay",
    "training-data",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


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


def bash(script: str, folder: Path) -> None:
    """Runs to its end, each command successful."""
    path = f"{folder.parent / 'commands'}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    environment = ENVIRONMENT | {"PATH": path}
    with (folder.parent / "output").open("w+") as output:
        ran = subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=output, timeout=90, check=False
        )
        output.seek(0)
        assert 0 == ran.returncode, output.read()


def asked(page: Path, folder: Path) -> list[list[tuple[Any, ...]]]:
    """What each query of the page finds, in the database of the first fleet on it."""
    (data, *_) = re.findall(r"--data (\S+)", page.read_text(encoding="utf-8"))
    shared = folder / data / "sensor_data.db"
    database = shared if shared.exists() else min((folder / data).glob("*.db"))
    with open_database(database) as connection:
        return [list(connection.execute(query)) for query in blocks(page, "sql")]


def test_each_use_case_has_its_page() -> None:
    assert {page.stem for page in PAGES} == CASES
    assert [] == [page.name for page in PAGES if "anomaly_episodes" not in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.claim("000.use-cases.2", "000.use-cases.3", "000.use-cases.5", "001.introduction.1", "002.use-case.2")
def test_what_a_page_says_to_type_works(page: Path, folder: Path) -> None:
    """Commands in their order; then the queries, which all find something but for the one that marks rows."""
    for script in blocks(page, "bash"):
        if not script.startswith("sqlite3") or shutil.which("sqlite3"):
            bash(script, folder)

    found = asked(page, folder)

    assert [] == [
        query for query, rows in zip(blocks(page, "sql"), found, strict=True) if not rows and query[:6] != "UPDATE"
    ]
