"""A fleet that does not fit into memory is refused, in one line with the size that would fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.errors import UserError
from fleet.runtime import preflight

pytestmark = pytest.mark.claim("001.troubleshooting.16")


def test_what_fits_is_allowed() -> None:
    preflight.check_memory(100, 100, free=700_000_000)
    preflight.check_memory(20, 10_000, free=900_000_000)


@pytest.mark.parametrize(("workers", "sensors"), [(1000, 1000), (20, 100_000)])
def test_what_does_not_fit_is_refused(workers: int, sensors: int) -> None:
    with pytest.raises(UserError, match=rf"{workers} workers .* need about .* of memory, 2\.0 GB is free") as refused:
        preflight.check_memory(workers, sensors, free=2_000_000_000)

    assert "enough for 371 workers" in str(refused.value)
    assert "--sensors-per-worker" in str(refused.value)


def test_a_container_has_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, usage = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(preflight, "CGROUP_MEMORY_FILES", ((str(limit), str(usage)),))
    limit.write_text("300000000\n")
    usage.write_text("100000000\n")
    assert 200_000_000 == preflight.available_memory()

    limit.write_text("max\n")
    assert preflight.available_memory() > 200_000_000
    limit.unlink()
    assert preflight.available_memory() > 200_000_000
