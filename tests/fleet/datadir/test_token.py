"""The link to the dashboard that has the token."""

from __future__ import annotations

from pathlib import Path

from fleet.datadir import token


def test_a_link_has_the_token_if_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert "http://x/" == token.dashboard_link("http://x/", path)
    token.ensure_token(path)

    assert f"http://x/#token={path.read_text().strip()}" == token.dashboard_link("http://x/", path)
