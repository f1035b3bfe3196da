"""The pages on use cases: every command and every query on them is run as it is written, in an empty folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.docs.page_commands import bash, blocks
from tests.process.evidence import open_database
from tests.process.running_fleet import ROOT

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
