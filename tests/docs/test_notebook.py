"""The notebook of docs/history.md runs from its first cell to its last, and shows what its text says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "history.ipynb"


@pytest.mark.filterwarnings("default")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text())
    variables: dict[str, Any] = {}

    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), variables)

    readings, found = variables["readings"], variables["found"]
    assert len(readings) > 28_000
    assert found["spike"] > 10 * found["healthy"]
    assert 0.5 < variables["precision"] <= 1
    assert variables["episodes"]["type"].nunique() > 3
    assert not [*tmp_path.iterdir()]
