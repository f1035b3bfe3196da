"""The preparation of a run: a disk that has no room, settings that take time."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from fleet.config.config import load_config
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.runtime import preparation
from fleet.runtime.preparation import create_shared_database, prepare_run
from fleet.runtime.reload import ConfigSource
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


@pytest.mark.parametrize("announced", [True, False])
def test_a_computation_that_takes_seconds_is_announced(
    announced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A scenario of many steps for many sensors; the fleet said nothing until they were computed."""
    monkeypatch.setattr(preparation, "MANY_SETTINGS", 4 if announced else 5)
    path, directory = tmp_path / "fleet.yaml", DataDirectory(tmp_path / "data")
    path.write_text(
        "replicas: {count: 2, prefix: S}\nscenario: [{at: 1, daily_pattern: no}, {at: 2, daily_pattern: yes}]\n"
    )
    directory.run.mkdir(parents=True)
    prepare_run(load_config(path), directory, ConfigSource(path, {}, {}), None, None)

    said = "computing the settings of 2 sensors in 2 steps of the scenario\n"
    assert (said if announced else "") == capsys.readouterr().err
