"""Bring the tables of docs/seeds.md up to date with the markers on the tests; `--check` only reports differences.

A row is `| id | says | true here? | shown by |`. The last column begins with what is written there by hand (commands,
pages) and ends with the tests that carry `@pytest.mark.claim("id")`, or a module's `pytestmark` with it.

Standard library only.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "seeds.md"
TESTS = ROOT / "tests"
ROW = re.compile(r"^\| (\d{3}\.[a-z0-9.-]+) \| (.*) \| (.*) \| (.*) \|$", re.MULTILINE)
TEST_NAME = re.compile(r"`[a-z0-9_/]*test_\w+\.py(?:::\w+)?`")


def claim_ids(node: ast.AST) -> Iterator[str]:
    """Yield the ids of each `pytest.mark.claim(...)` in an expression."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "claim":
            yield from (ast.literal_eval(argument) for argument in call.args)


def marked_tests(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (claim id, test) for every marker in a test file."""
    name = path.relative_to(TESTS).as_posix()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                yield from ((claim, f"{name}::{node.name}") for claim in claim_ids(decorator))
        elif isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["pytestmark"]:
            yield from ((claim, name) for claim in claim_ids(node.value))


def tests_by_claim() -> Mapping[str, list[str]]:
    """Map each claim id to the tests that show it, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        for claim, test in marked_tests(path):
            found[claim].add(test)
    return {claim: sorted(tests) for claim, tests in found.items()}


def render(page: str, tests: Mapping[str, list[str]]) -> str:
    """The page with its last column made from `tests`."""

    def row(match: re.Match[str]) -> str:
        claim, says, verdict, shown = match.groups()
        by_hand = TEST_NAME.sub("", shown)
        by_hand = re.sub(r"(, )+", ", ", by_hand).strip(", ").removeprefix("-")
        cells = [by_hand] if by_hand else []
        cells += [f"`{test}`" for test in tests.get(claim, [])]
        return f"| {claim} | {says} | {verdict} | {', '.join(cells) or '-'} |"

    return ROW.sub(row, page)


def main(arguments: list[str]) -> int:
    page = PAGE.read_text(encoding="utf-8")
    wanted = render(page, tests_by_claim())
    if arguments == ["--check"]:
        sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), wanted.splitlines(True), "written", "made"))
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
