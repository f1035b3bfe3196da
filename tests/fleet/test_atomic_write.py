"""Files that are replaced whole."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from fleet import atomic_write


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, sync: bool) -> None:
    """And nothing is left beside it."""
    path = tmp_path / "roster.json"
    atomic_write.replace_file(path, "as it was, Zürich", sync=sync)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            atomic_write.replace_file(path, "more than the disk has room for", sync=sync)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert ("as it was, Zürich", [path]) == (path.read_text(encoding="utf-8"), list(tmp_path.iterdir()))
