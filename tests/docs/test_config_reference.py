"""docs/configuration.md says what the models say."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from fleet.config.sources import ENVIRONMENT_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "configuration.md"


@pytest.mark.claim("000.measurement-types.1", "000.measurement-types.2", "001.database-schema.2")
def test_every_key_is_documented_as_it_is() -> None:
    """With type, bounds, default, variable, flag and a meaning; `python scripts/configuration.py` makes it so."""
    script = runpy.run_path(str(ROOT / "scripts" / "configuration.py"))
    page = PAGE.read_text(encoding="utf-8")

    assert script["rendered"](page) == page
    assert [] == script["missing"](page)


def test_every_variable_is_documented() -> None:
    """Those that are no keys, too."""
    page = PAGE.read_text(encoding="utf-8")
    others = ("CONFIG_FILE", "DEBUG_MODE", "SQLITE_TMPDIR")

    assert [] == [name for name in (*ENVIRONMENT_VARIABLES, *others) if f"`{name}`" not in page]
