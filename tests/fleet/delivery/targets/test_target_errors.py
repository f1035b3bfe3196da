"""The messages for places that cannot be a target: which place, why, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.errors import UserError


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "sqlite:///{}/missing/x.db",
            "{0}/missing/x.db: cannot be the central database: {0}/missing is no folder: create it",
        ),
        ("sqlite:///{}/folder", "{0}/folder: cannot be the central database: is a folder: name a file in it"),
        ("sqlite:///{}/text", "{0}/text: cannot be the central database: file is not a database"),
        ("jsonl:{}/missing/x", "--to: {0}/missing/x: {0}/missing is no folder"),
        ("jsonl:{}/folder", "--to: {0}/folder: is a folder"),
        ("parquet:{}/text", "--to: {0}/text: is no directory"),
        ("postgresql://h:99999/db", "--to: postgresql://...: '99999' is no port: allowed is 1 to 65535"),
        ("postgresql://h:0/db", "--to: postgresql://...: '0' is no port: allowed is 1 to 65535"),
        ("http://h:99999/", "--to: http://h:99999/: Port out of range 0-65535; wanted http://HOST[:PORT][/PATH]"),
    ],
)
def test_a_place_that_cannot_be_a_target(tmp_path: Path, url: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(UserError) as raised:
        open_target(url.format(tmp_path), TargetOptions())

    assert str(raised.value).startswith(message.format(tmp_path))
    assert "\n" not in str(raised.value)
