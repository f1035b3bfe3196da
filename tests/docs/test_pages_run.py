"""Every page is typed from its first block to its last in an empty folder: each command works and shows what is shown."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.page_blocks import SHELL, Reader, blocks, differences
from tests.docs.test_pages import DOCS, PAGES, read

REASONS = {
    "installs packages": 5,
    "needs Docker": 12,
    "needs a remote host": 9,
    "needs another program": 4,
    "needs a running fleet": 1,
}
"""Why a block is left out, with the number of blocks that may be."""
IN_A_CLONE = {"extending.md"}
"""Pages for those who change the program. Elsewhere all that a reader makes lies in data/."""
USE_CASES = {
    "anomaly-detection",
    "bme280",
    "firmware-rollout",
    "geographic-distribution",
    "load-testing",
    "pipeline-telemetry",
    "sensor-decay",
    "training-data",
}
LANGUAGES = {*SHELL, "", "python", "sql", "yaml"}


@pytest.mark.process
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
@pytest.mark.claim("000.use-cases.2", "000.use-cases.3", "000.use-cases.5", "001.introduction.1", "002.use-case.2")
def test_what_a_page_says_to_type_works(page: Path, reader: Reader, folder: Path) -> None:
    for block in blocks(page):
        reader.read(block)

    if page.name not in IN_A_CLONE:
        assert {path.name for path in folder.iterdir()} <= {"data"}


def test_few_blocks_are_left_out() -> None:
    """For a reason that is listed, and no more of them than it says."""
    reasons = Counter(block.not_run for page in PAGES for block in blocks(page) if block.not_run is not None)

    assert set() == set(reasons) - set(REASONS)
    assert [] == [reason for reason, count in reasons.items() if count > REASONS[reason]]
    assert set() == {block.language for page in PAGES for block in blocks(page)} - LANGUAGES


def test_commands_are_in_blocks_of_a_language() -> None:
    """Indented lines are not run, so a command among them is a synopsis, as in the generated docs/cli.md."""
    commands = [
        line
        for page in PAGES
        if page.name != "cli.md"
        for line in re.findall(r"^    (?:fleet|make|python3?|sqlite3|curl|docker|uv|pip) .*$", read(page), re.MULTILINE)
    ]

    assert [] == [line for line in commands if "[" not in line]


def test_no_two_pages_start_fleets_in_one_place() -> None:
    """But for the default, `data`: a reader may type the pages one after the other in one folder."""
    places = Counter(
        place
        for page in PAGES
        for place in {
            name
            for block in blocks(page)
            for name in re.findall(r"^.*fleet up .*--data (\S+)", block.text, re.MULTILINE)
        }
    )

    assert 15 < len(places)
    assert [] == [place for place, count in places.items() if count > 1 and place != "data"]


def test_each_use_case_has_its_page() -> None:
    pages = list((DOCS / "use-cases").glob("*.md"))

    assert {page.stem for page in pages} == USE_CASES
    assert [] == [page.name for page in pages if "anomaly_episodes" not in read(page)]


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ("20 rows\n...\nend\n", "11 rows\nmore\nend\n", []),
        ("20 rows\nend\n", "11 rows\nmore\nend\n", ["2 lines are shown, 3 printed"]),
        ("20 rows\n...\nend\n", "11 lines\nmore\nend\n", ["20 rows"]),
        ("b\na\n", "a\nb\n", ["a"]),
    ],
)
def test_what_is_shown_is_compared(shown: str, printed: str, expected: list[str]) -> None:
    assert expected == differences(shown, printed)
