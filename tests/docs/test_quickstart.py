"""The quickstart and the README: what they say to type works in that order, and shows what they show."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest

from tests.docs.page_commands import bash, blocks
from tests.process.evidence import open_database
from tests.process.running_fleet import ROOT

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(400)]

QUICKSTART = ROOT / "docs" / "quickstart.md"


def shown_tables() -> list[tuple[str, list[list[str]]]]:
    """Each query of the quickstart with the cells of the table below it."""
    found = re.findall(r"^```sql\n(.*?)^```\n\n```\n(.*?)^```", QUICKSTART.read_text(), re.MULTILINE | re.DOTALL)
    return [
        (query, [[cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines()[3:-1]])
        for query, table in found
    ]


def shown_output() -> dict[str, list[str]]:
    """The lines that are shown below a block of commands."""
    found = re.findall(
        r"^```sh\n((?:(?!```).)*)^```\n\n```\n(.*?)^```", QUICKSTART.read_text(), re.MULTILINE | re.DOTALL
    )
    return {block: [line for line in text.splitlines() if line != "..."] for block, text in found}


def without_figures(text: str) -> str:
    """Words with a digit in them differ from run to run; rules of tables are as long as their cells."""
    return re.sub(r"\S*\d\S*|─+|\s+", "#", text).replace("##", "#")


def missing_lines(block: str, output: str) -> list[str]:
    printed = {without_figures(line) for line in output.splitlines()}
    return [line for line in shown_output().get(block, []) if without_figures(line) not in printed]


def assert_shown(block: str, output: str) -> None:
    assert [] == missing_lines(block, output), output


def run_until_shown(block: str, folder: Path) -> None:
    """Run commands. A query of a running fleet is repeated: a reader types it seconds after the command before it, when
    the next batch is committed."""
    output = bash(block, folder)
    end = time.monotonic() + 10
    while block.startswith("sqlite3") and missing_lines(block, output) and time.monotonic() < end:
        time.sleep(0.2)
        output = bash(block, folder)
    assert_shown(block, output)


def test_the_quickstart_works(folder: Path) -> None:
    """All commands in order; the queries find the rows that are shown, which are the same on every machine."""
    first, *others = [
        block for block in blocks(QUICKSTART, "sh") if shutil.which("sqlite3") or not block.startswith("sqlite3")
    ]

    output = bash(first, folder, 120)
    assert "rows written: 11,900" in output
    assert_shown(first, output)
    with open_database(folder / "demo" / "sensor_data.db") as connection:
        for query, expected in shown_tables():
            rows = [["" if value is None else str(value) for value in row] for row in connection.execute(query)]
            assert expected == rows
    assert 5 == len(shown_tables())
    for block in others:
        run_until_shown(block, folder)


def test_the_five_things_of_the_readme_work(folder: Path) -> None:
    """With shorter runs."""
    (script,) = blocks(ROOT / "README.md", "sh")

    bash(script.replace("--for 1m", "--for 3s"), folder, 120)
