"""docs/cli.md says what the commands say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from fleet.cli import cli
from fleet.commands.llm_page import walk_commands

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_page_is_that_of_the_commands() -> None:
    """`python scripts/cli_reference.py` brings it up to date."""
    script = runpy.run_path(str(ROOT / "scripts" / "cli_reference.py"))

    assert script["rendered"](PAGE) == PAGE


def test_the_overview_names_every_command() -> None:
    overview = PAGE.partition("\n## ")[0]
    named = set(re.findall(r"\[`([^`]+)`\]\(#", overview))

    assert named == {name for name, _ in walk_commands("fleet", cli)} | {"python -m worker"}
