"""The table of the source documents' sentences: made from the markers on tests, and naming commands that exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import click

from fleet.cli import cli
from fleet.commands.worker import worker
from tests.process.running_fleet import ROOT

PAGE = (ROOT / "docs" / "seeds.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d{3}\.", line)]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def quoted(start: str) -> set[str]:
    """What stands in backquotes and begins like this, in what is shown and in what is said of it."""
    cells = " ".join(cell for row in ROWS for cell in row[2:])
    return {text for text in re.findall(r"`([^`]+)`", cells) if re.match(start, text)}


def unknown_words(words: list[str], command: click.Command) -> list[str]:
    """The options of a command line that its command does not have, or the word that names no command."""
    while isinstance(command, click.Group) and words:
        name, *words = words
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("-") and word not in known]


def test_every_row_is_whole() -> None:
    """An id, a sentence, a verdict and the proof; a sentence that is simply true has a proof, every id is unique."""
    assert [] == [row for row in ROWS if len(row) != 4]
    assert [] == [row for row in ROWS if row[2] == "yes" and row[3] == "-"]
    assert 200 < len(ROWS) == len({row[0] for row in ROWS})


def test_each_document_is_there() -> None:
    assert ["000", "001", "002", "003", "004"] == re.findall(r"^## (\d{3}):", PAGE, re.MULTILINE)


def test_the_proofs_are_those_that_the_tests_name() -> None:
    """`python scripts/claims.py` brings the page up to date."""
    done = subprocess.run(
        [sys.executable, "scripts/claims.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ("", 0) == (done.stdout + done.stderr, done.returncode)


def test_every_marker_names_a_claim_of_the_page() -> None:
    named = {
        claim
        for path in (ROOT / "tests").rglob("test_*.py")
        for arguments in re.findall(r"mark\.claim\(([^)]*)\)", path.read_text(encoding="utf-8"))
        for claim in re.findall(r'"([^"]+)"', arguments)
    }

    assert set() == named - {row[0] for row in ROWS}


def test_every_command_exists() -> None:
    """Of fleet and of the single worker with their options, and make's targets."""
    lines: dict[str, tuple[list[str], click.Command]]
    lines = {line: (shlex.split(line)[1:], cli) for line in quoted("fleet ")}
    lines |= {line: (shlex.split(line)[3:], worker) for line in quoted("python -m worker")}

    assert [] == [line for line, (words, command) in lines.items() if unknown_words(words, command)]
    assert {"fleet docs --llm", "python -m worker --help"} < lines.keys()
    assert set() == {line for line in quoted("make ") if line.split()[1] not in TARGETS}


def test_every_file_exists() -> None:
    files = quoted(r"(configs|deploy|identities|scripts|tests)/") | quoted(r"(CONTRIBUTING\.md|LICENSE|compose\.yaml)$")

    assert [] == [
        name
        for name in files
        if ".py::" not in name and not (ROOT / name).exists() and not (ROOT / "tests" / name).exists()
    ]
