"""The table `origins` of a database that continues a rotated one: a name in it leads to no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet.verify import audit
from fleet.verify.verification import verify
from tests.fleet.verify.damage import damage, write_database
from tests.worker.samples import IDENTITY

CREATE_ORIGINS = "CREATE TABLE origins (sensor_id TEXT, first_seq INTEGER, file)"


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        "../other/x.rotated-0001.db",
        "other.db",
        "..",
        "",
        "a\0b.rotated-0001.db",
        f"{'x' * 300}.rotated-0001.db",
        None,
    ],
)
def test_a_crafted_name_is_not_followed(file: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding in one line, whatever the name is; no other file is opened."""
    data, other = tmp_path / "data", tmp_path / "other"
    for folder in (data, other):
        folder.mkdir()
        write_database(folder / "x.db", 50)
    (other / "x.db").rename(other / "x.rotated-0001.db")
    damage(data / "x.db", CREATE_ORIGINS)
    damage(data / "x.db", f"INSERT INTO origins VALUES ('{IDENTITY.sensor_id}', 10, :file)", file=file)
    opened: list[Path] = []
    audit_once = audit.audit_once

    def audit_recorded(path: Path, *rest: Any) -> audit.AuditResult:
        opened.append(path)
        return audit_once(path, *rest)

    monkeypatch.setattr(audit, "audit_once", audit_recorded)

    findings = [finding for finding in verify(data).findings if finding.kind in ("record", "hole")]

    assert [data / "x.db"] == opened
    assert [IDENTITY.sensor_id] == [finding.sensor_id for finding in findings]
    assert {False} == {"\n" in finding.detail for finding in findings}
