"""A fleet that stores no readings needs a target and a worker for each sensor, which is checked before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli import cli
from fleet.errors import UserError


def refusal(data: Path, *arguments: str) -> str:
    """The message of `fleet up`, which has written nothing."""
    result = CliRunner().invoke(cli, ["up", "--data", str(data), "--no-http", *arguments], standalone_mode=False)
    assert isinstance(result.exception, UserError)
    assert not data.exists()
    return str(result.exception)


def test_a_target_is_needed(tmp_path: Path) -> None:
    reason = "none keeps no reading, so it needs a target: name one with --to or in delivery.to"
    assert f"--store: {reason}" == refusal(tmp_path / "data", "--store", "none")
    config = tmp_path / "fleet.yaml"
    config.write_text("replicas: {count: 2}\ndatabase: {store: none}\n")
    assert f"{config}:2:19: database.store: {reason}" == refusal(tmp_path / "data", "-c", str(config))


@pytest.mark.parametrize("layout", [("--shared-db",), ("--sensors-per-worker", "2")])
def test_a_worker_for_each_sensor_is_needed(tmp_path: Path, layout: tuple[str, ...]) -> None:
    message = refusal(tmp_path / "data", "--store", "none", "--to", f"jsonl:{tmp_path}/out.jsonl", *layout)
    assert message.startswith("--store: none needs a worker for each sensor: leave out --shared-db")


def test_other_stores_are_not_known(tmp_path: Path) -> None:
    assert "--store: some is not one of sqlite, none" == refusal(tmp_path / "data", "--store", "some")
