"""Words that make prose hard to read, in what a user or a contributor reads: pages, messages, docstrings, comments."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORDS = re.compile(r"\b(told|anew|somebody|nobody|whoever|thereof|as of|so many|that is none)\b", re.IGNORECASE)
FILES = ("*.md", "fleet", "worker", "supervisor.py", "configs", "Makefile", "compose.yaml", "deploy", "scripts")
READ_WHOLE = {".md", ".yaml", ".yml", ".html", ".js", ".css", ""}
VERBATIM = "configs/source_documents/"


def checked_files() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *FILES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    return [
        name
        for name in sorted(set(filter(None, listed)))
        if (ROOT / name).is_file() and Path(name).suffix in READ_WHOLE | {".py"} and not name.startswith(VERBATIM)
    ]


SCRIPT_PROSE = re.compile(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|'[^'\n]*'|`[^`]*`", re.DOTALL)
"""Comments and strings of JavaScript."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text: of Python and JavaScript the strings and comments, of anything else each line."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        yield from ((source[: at.start()].count("\n") + 1, at[0]) for at in SCRIPT_PROSE.finditer(source))
        return
    if path.suffix != ".py":
        yield from enumerate(source.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno + number, line) for number, line in enumerate(node.value.splitlines()))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("name", checked_files())
def test_prose_is_plain(name: str) -> None:
    """Say who does it, or that no one does: "the supervisor is informed", "no process", "from", "at most n"."""
    found = [f"{name}:{line}: {text.strip()}" for line, text in texts(ROOT / name) if WORDS.search(text)]

    assert [] == found
