"""The preparation of a run, on a disk that has no room."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from fleet.errors import UserError
from fleet.runtime.preparation import create_shared_database
from worker.spec import StoreSpec


def test_a_shared_database_that_has_no_room_is_waited_for(tmp_path: Path) -> None:
    """By the workers, like databases of their own: the start is not refused. Afterwards it can be created."""
    store = StoreSpec(tmp_path / "all.db", shared=True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        create_shared_database(store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    create_shared_database(store)


def test_a_shared_database_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "all.db").mkdir()

    with pytest.raises(UserError, match="cannot be opened as a database"):
        create_shared_database(StoreSpec(tmp_path / "all.db", shared=True))
