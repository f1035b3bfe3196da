"""Files that are not databases, or are damaged ones: each is a finding, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.verify.verification import verify
from tests.fleet.verify.damage import SETTINGS, make_identities, write_database, write_sample_database

pytestmark = pytest.mark.claim("000.error-handling.4")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_sample_database(tmp_path)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database " * 500)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100_000])


def no_file(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("ruin", [garbage, truncated, no_file, directory])
def test_a_file_that_is_no_database(path: Path, ruin: Callable[[Path], None]) -> None:
    """It is a finding, and the other databases are checked."""
    write_database(path.with_name("OTHER_1.db"), 50, SETTINGS, sensors=make_identities(1))
    ruin(path)

    verdict = verify(path.parent)
    assert "unreadable" in verdict.counts
    assert {path.name} == {found.database for found in verdict.findings}
    assert 1 <= verdict.sensors


@pytest.mark.parametrize("filling", [b"\0", b"\xa5"])
@pytest.mark.parametrize("page", range(2, 40, 4))
def test_a_page_of_garbage(path: Path, filling: bytes, page: int) -> None:
    """Damage at any page is a finding, never a traceback, and the rows after it are checked."""
    readings = verify(path.parent).readings
    pages = path.stat().st_size // 4096
    assert pages > 40
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(filling * 4096)

    verdict = verify(path.parent)
    assert not verdict.ok
    if {"unreadable", "hole"} == set(verdict.counts) and verdict.readings:
        assert verdict.readings + verdict.counts["hole"] == readings
        assert verdict.counts["hole"] < 100
