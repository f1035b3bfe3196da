"""docs/cli.md says what the commands say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from fleet.cli import cli
from fleet.commands.llm_page import walk_commands

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_the_page_is_that_of_the_commands() -> None:
    """`python scripts/cli_reference.py` brings it up to date."""
    ran = subprocess.run(
        [sys.executable, "scripts/cli_reference.py", "--check"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "") == (ran.returncode, ran.stderr), ran.stdout


def test_the_overview_names_every_command() -> None:
    overview = PAGE.partition("\n## ")[0]
    named = set(re.findall(r"\[`([^`]+)`\]\(#", overview))

    assert named == {name for name, _ in walk_commands("fleet", cli)} | {"python -m worker"}
