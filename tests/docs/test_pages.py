"""The pages of docs/: all are listed, their links and the files that they name exist, their lists are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleet.verify.findings import FINDING_TITLES
from worker.readings.anomalies import ANOMALY_TYPES

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
CODE = re.compile(r"^```.*?^```|^    .*?$", re.MULTILINE | re.DOTALL)
NAMED_FILE = re.compile(r"`((?:worker|fleet|scripts|configs|deploy|benchmarks|tests)/[\w./-]+\.\w+|supervisor\.py)`")
EXAMPLES = {
    "air_quality.yaml",
    "fleet/commands/where.py",
    "fleet/delivery/targets/lines.py",
}
"""Files that a reader of extending.md makes."""
MAX_PICTURE_BYTES, MAX_SHEET_BYTES = 60_000, 150_000


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The ids of a page's headings, as GitHub makes them, and those that are written."""
    text = CODE.sub("", read(page))
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_sections_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", read(page)):
        name, _, anchor = target.partition("#")
        if not re.match(r"[a-z]+:", name):
            other = (page.parent / name).resolve() if name else page
            broken += [target] if anchor not in anchors(other) else []

    assert [] == broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(page: Path) -> None:
    """Relative to the repository, tests also to tests/."""
    named = set(NAMED_FILE.findall(read(page))) - EXAMPLES

    assert [] == [
        name
        for name in sorted(named)
        if not (ROOT / name).exists() and not (("test_" in name) and (ROOT / "tests" / name).exists())
    ]


def test_the_index_lists_every_page() -> None:
    listed = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+\.md)", read(DOCS / "README.md"))}
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"README.md"}

    assert pages == listed - {"../CONTRIBUTING.md"}


def test_every_type_of_anomaly_has_a_section_and_a_picture() -> None:
    page = read(DOCS / "anomalies.md")
    pictures = {name: DOCS / "images" / f"anomaly-{name.replace('_', '-')}.png" for name in ANOMALY_TYPES}

    assert [] == [name for name in ANOMALY_TYPES if f"\n### {name}\n" not in page]
    assert [] == [path.name for path in pictures.values() if f"(images/{path.name})" not in page]
    assert [] == [path.name for path in pictures.values() if path.stat().st_size > MAX_PICTURE_BYTES]


def test_kinds_of_sensors_have_a_sheet_with_all_types_of_anomaly() -> None:
    """Those that the page names; a new kind needs no picture."""
    page = read(DOCS / "anomalies-by-kind.md")
    kinds = re.findall(r"^## (.*)$", page, re.MULTILINE)
    sheets = [DOCS / "images" / f"anomalies-{kind}.png" for kind in kinds]

    assert 6 <= len(kinds)
    assert [] == [kind for kind in kinds if not (ROOT / "configs/kinds" / f"{kind}.yaml").exists()]
    assert [] == [sheet.name for sheet in sheets if f"(images/{sheet.name})" not in page]
    assert [] == [sheet.name for sheet in sheets if sheet.stat().st_size > MAX_SHEET_BYTES]


def test_every_kind_of_finding_is_explained() -> None:
    page = read(DOCS / "verifying.md")

    assert [] == [kind for kind in FINDING_TITLES if f"`{kind}`" not in page]


def test_the_tests_that_reliability_names_exist() -> None:
    named = set(re.findall(r"`((?:process|worker|fleet|supervisor)/[\w/]+\.py)`", read(DOCS / "reliability.md")))

    assert 10 < len(named)
    assert [] == [name for name in sorted(named) if not (ROOT / "tests" / name).exists()]
