"""Each value of a config says where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fleet.cli import cli
from fleet.config.config import SourcedValue, load_config, yaml_with_origins
from fleet.resources import resource_path

TEXT = """\
version: 1
simulation: {run_time_seconds: 60}
database:
  backup_interval_hours: 2
  wal_mode:
normal_parameters:
  temperature: {mean: 61, max_value: 80}
random_location:
  include_countries: [DE, US]
logging: {level: ERROR, format: "%(message)s, and so that it is no short line: %(asctime)s %(name)s # %(levelname)s"}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("fleet.yaml").write_text(TEXT)
    return Path("fleet.yaml")


def origins(path: Path, environment: dict[str, str] | None = None, **flags: SourcedValue) -> dict[str, str]:
    """Origin by the line's text, keys above it included."""
    found, above = {}, [""] * 9
    for line in yaml_with_origins(
        path, environment or {}, {key.replace("__", "."): flags[key] for key in flags}
    ).splitlines():
        entry, _, origin = line.partition("  # ")
        depth = (len(entry) - len(entry.lstrip())) // 2
        above[depth] = entry.split(":")[0].strip()
        found[".".join(above[: depth + 1])] = origin
    return found


def test_what_is_in_the_file_is_named_with_its_line(path: Path) -> None:
    """In whatever spelling, and also where it was converted."""
    found = origins(path)

    assert "fleet.yaml:1" == found["version"]
    assert "fleet.yaml:2" == found["simulation.duration_seconds"]
    assert "fleet.yaml:4" == found["database.backup.interval"]
    assert "fleet.yaml:7" == found["normal_parameters.temperature.max"]
    assert "fleet.yaml:9" == found["random_location.include_countries"]


def test_what_nobody_wrote_is_a_default(path: Path) -> None:
    """Of the program, of the version, or of the kind of sensor; a key without a value has its default."""
    found = origins(path)

    assert "default" == found["database.batch_size"] == found["database.wal_mode"]
    assert "default" == found["anomalies.types.trend.duration_seconds"]
    assert "default of version 1" == found["monitoring.enabled"] == found["dynamic_reload.enabled"]
    assert "profile of environmental sensors" == found["normal_parameters.temperature.min"]


def test_a_variable_and_a_flag_are_named(path: Path) -> None:
    """Over what the file says."""
    rate = SourcedValue("5", "--rate")
    found = origins(path, {"LOG_LEVEL": "INFO", "MONITORING_PORT": "9"}, simulation__readings_per_second=rate)

    assert "environment variable LOG_LEVEL" == found["logging.level"]
    assert "environment variable MONITORING_PORT" == found["monitoring.port"]
    assert "--rate" == found["simulation.readings_per_second"]
    assert "environment variable DEBUG_MODE" == origins(path, {"DEBUG_MODE": "yes"})["logging.level"]


@pytest.mark.parametrize("path", sorted(resource_path("source_documents").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_value_has_an_origin_and_the_text_is_still_the_config(path: Path, tmp_path: Path) -> None:
    text = yaml_with_origins(path, {}, {})
    again = tmp_path / "again.yaml"
    again.write_text(text)

    assert load_config(path) == load_config(again)
    bare = [line for line in text.splitlines() if not line.rstrip().endswith(":") and "  # " not in line]
    assert [] == [line for line in bare if not line.lstrip().startswith("- ")]
    assert yaml.safe_load(text)["replicas"]["count"] == load_config(path).replicas.count


def show(*arguments: str, **environment: str | None) -> Result:
    result = CliRunner().invoke(cli, ["config", "show", *arguments], env=environment)

    assert result.exception is None, result.output
    return result


def test_the_command_takes_the_flags_of_a_run(path: Path) -> None:
    """So that it can be asked of any run beforehand."""
    lines = show("fleet.yaml", "--origins", "--replicas", "7", "--for", "1m", "--no-http").stdout.splitlines()

    assert ["count: 7", "--replicas"] == next(line.split("  # ") for line in squeezed(lines) if "count: 7" in line)
    assert "duration_seconds: 60.0  # --for" in squeezed(lines)
    assert "enabled: false  # --no-http" in squeezed(lines)


def squeezed(lines: list[str]) -> list[str]:
    return ["  # ".join(part.strip() for part in line.split("  # ")) for line in lines]


@pytest.mark.claim("000.environment-variables.1")
def test_the_file_may_be_named_by_the_environment(path: Path) -> None:
    """As for `fleet up`; one that is named in words beats it."""
    Path("other.yaml").write_text("replicas: {count: 3}")

    assert "count: 3" in show(CONFIG_FILE="other.yaml").stdout
    assert "count: 1" in show("fleet.yaml", CONFIG_FILE="other.yaml").stdout
    assert "count: 100" in show(CONFIG_FILE=None).stdout
