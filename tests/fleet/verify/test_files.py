"""Files that are not databases, or are damaged ones: each is a finding, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from fleet.datadir.readings import DatabaseUnreadable
from fleet.verify import audit
from fleet.verify.findings import Finding
from fleet.verify.verification import verify
from tests.fleet.verify.damage import SETTINGS, make_identities, select, write_database, write_sample_database
from worker.storage.schema import READINGS_KEY

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


def test_a_page_of_the_index(path: Path) -> None:
    """Queries are answered from it, so damage to it is a finding; the readings are checked all the same."""
    readings = verify(path.parent).readings
    leaves = "SELECT pageno FROM dbstat WHERE name = :name AND pagetype = 'leaf' LIMIT 1"
    ((page,),) = select(path, leaves, name=READINGS_KEY)
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))

    verdict = verify(path.parent)
    assert ({"unreadable": 1}, readings) == (verdict.counts, verdict.readings)
    assert f"the index {READINGS_KEY}: " in verdict.findings[0].detail


def test_a_database_that_is_replaced_while_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a rotation: what was read of the one or the other, or of both together, is no finding."""
    other = path.with_name("other")
    write_database(other, 50, SETTINGS, sensors=make_identities(1))
    original, calls = audit.audit_once, [0]

    def replaced_meanwhile(*arguments: Any) -> audit.AuditResult:
        calls[0] += 1
        if calls[0] == 1:
            arguments[2].add(Finding("stray", None, path.name, None, None, "of a mixture"))
            other.rename(path)
            raise DatabaseUnreadable(path, "malformed") from apsw.CorruptError("malformed")
        return original(*arguments)

    monkeypatch.setattr(audit, "audit_once", replaced_meanwhile)

    verdict = verify(path.parent)
    assert ({}, 1, 2) == (verdict.counts, verdict.sensors, calls[0])


def test_an_error_that_passes_is_no_finding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stays is."""
    original, calls = audit.audit_once, [0]

    def absent_at_first(*arguments: Any) -> audit.AuditResult:
        calls[0] += 1
        if calls[0] < 3:
            raise DatabaseUnreadable(path, "CantOpenError") from apsw.CantOpenError("unable to open")
        return original(*arguments)

    monkeypatch.setattr(audit, "audit_once", absent_at_first)
    assert verify(path.parent).ok
    calls[0] = -1000

    assert {"unreadable": 1} == verify(path.parent).counts
