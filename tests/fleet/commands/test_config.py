"""`fleet config`, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fleet.commands.config import config
from fleet.errors import UserError
from fleet.resources import packaged_configs


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(config, arguments, standalone_mode=False)
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def test_the_packaged_configs_are_listed() -> None:
    """Each with its first comment; the catalogue is no config."""
    lines = run("list").stdout.splitlines()

    assert list(packaged_configs()) == [line.split()[0] for line in lines]
    assert "catalogue" not in packaged_configs()
    (chaos,) = [line for line in lines if line.startswith("chaos-test ")]
    assert "Chaos: one reading in five is anomalous" in chaos


@pytest.mark.parametrize("name", packaged_configs())
def test_a_packaged_config_has_a_name(name: str) -> None:
    assert f"{packaged_configs()[name]}: ok\n" == run("check", name).stdout


def test_a_file_of_that_name_comes_first() -> None:
    Path("chaos-test").write_text("anomalies: {probability: 0.77}")

    assert "probability: 0.77\n" in run("show", "chaos-test").stdout
    assert "probability: 0.2\n" in run("show", str(packaged_configs()["chaos-test"])).stdout


def test_an_unknown_name_lists_the_names() -> None:
    with pytest.raises(
        UserError, match=r"^FILE: chaos is no file, nor one of the packaged configs: basic, chaos-test, "
    ):
        run("check", "chaos")
    with pytest.raises(UserError, match=r"^NAME: chaos is not one of the packaged configs: basic, chaos-test, "):
        run("init", "chaos")


def test_a_config_is_begun_from_a_packaged_one() -> None:
    """And nothing is overwritten."""
    assert "chaos-test.yaml: a copy of chaos-test; start it with `fleet up -c chaos-test.yaml`\n" == (
        run("init", "chaos-test").stdout
    )
    assert packaged_configs()["chaos-test"].read_text() == Path("chaos-test.yaml").read_text()
    run("init", "fleet", "mine.yaml")
    assert packaged_configs()["fleet"].read_text() == Path("mine.yaml").read_text()
    with pytest.raises(UserError, match=r"^mine.yaml: cannot be written: File exists"):
        run("init", "fleet", "mine.yaml")


def test_every_error_is_a_line() -> None:
    """With the exit code of a config that is refused."""
    Path("c.yaml").write_text("replicas: {count: 0}\nsimulation: {seed: x}\n")

    result = run("check", "c.yaml")

    assert (1, "") == (result.return_value, result.stdout)
    assert ["c.yaml:1:19: replicas.count", "c.yaml:2:20: simulation.seed"] == [
        ": ".join(line.split(": ")[:2]) for line in result.stderr.splitlines()
    ]
