"""Commands that work on files, and what every command owes to whoever types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.process.conftest import Up
from tests.process.evidence import assert_complete
from tests.process.running_fleet import fleet

COMMANDS = [
    "",
    "up",
    "status",
    "down",
    "scale",
    "restart",
    "logs",
    "config",
    "config check",
    "config show",
    "identities",
]


@pytest.mark.parametrize("name", [*COMMANDS, "config schema", "identities mint"])
def test_help_fits_a_terminal(name: str) -> None:
    """80 columns, exit code 0, on stdout."""
    told = fleet(*name.split(), "--help")

    assert (0, "") == (told.returncode, told.stderr)
    assert told.stdout.startswith("Usage: ")
    assert [] == [line for line in told.stdout.splitlines() if len(line) > 80]


def test_version() -> None:
    """The program's name and its version."""
    told = fleet("--version")

    assert 0 == told.returncode
    assert re.fullmatch(r"fleet, version \S+\n", told.stdout)


@pytest.mark.parametrize("arguments", [["nonsense"], ["up", "--nonsense"], ["scale"], ["restart"], ["config", "check"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    """In one line on stderr that says where help is."""
    told = fleet(*arguments)

    assert (2, "") == (told.returncode, told.stdout)
    assert re.fullmatch(r"fleet[a-z ]*: .*; see `fleet[a-z ]* --help`\n", told.stderr)


def test_configs_are_shown_and_checked(tmp_path: Path) -> None:
    """What `show` prints, `check` accepts, and `show` prints it again as it is."""
    shown = fleet("config", "show")
    assert (0, "") == (shown.returncode, shown.stderr)
    path = tmp_path / "shown.yaml"
    path.write_text(shown.stdout)

    checked = fleet("config", "check", path)

    assert (0, f"{path}: ok\n", "") == (checked.returncode, checked.stdout, checked.stderr)
    assert shown.stdout == fleet("config", "show", path).stdout


def test_a_bad_config_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    """File, line, column, key; the same from every command; no directory is made."""
    path, data = tmp_path / "bad.yaml", tmp_path / "data"
    path.write_text("replicas:\n  count: 3\nsimulation:\n  reading_per_second: 1\n")
    for arguments in (["config", "check", path], ["config", "show", path], ["up", "-c", path, "--data", data]):
        told = fleet(*arguments)

        assert (1, "") == (told.returncode, told.stdout)
        (line,) = told.stderr.splitlines()
        assert f"{path}:4:3" in line
        assert "readings_per_second" in line
    assert not data.exists()


def test_the_schema_is_json() -> None:
    """A JSON schema with the sections of a config."""
    schema = json.loads(fleet("config", "schema").stdout)

    assert {"replicas", "simulation", "anomalies", "supervision"} <= schema["properties"].keys()


def test_minted_identities_are_used(up: Up, tmp_path: Path) -> None:
    """`up --identities` takes who is there, seed included, and writes none of its own."""
    crew, data = tmp_path / "crew", tmp_path / "data"

    minted = fleet("identities", "mint", 3, "--out", crew, "--seed", 11, "--prefix", "M")

    assert (0, "") == (minted.returncode, minted.stderr)
    files = {path: path.read_bytes() for path in crew.iterdir()}
    assert {"M_000001.json", "M_000002.json", "M_000003.json"} == {path.name for path in files}
    running = up("--identities", crew, "--replicas", 3, "--prefix", "M", "--rate", 10, "--for", "0.5s", "--no-http")
    assert 0 == running.wait()
    found = assert_complete(data, 3, 5)
    assert files == {path: path.read_bytes() for path in crew.iterdir()}
    assert not (data / "identities").exists()
    assert 11 == running.roster.seed
    for sensor, seen in found.items():
        assert sensor in files[crew / f"{sensor}.json"].decode()
        assert seen.readings[0][1][14].encode() in files[crew / f"{sensor}.json"]  # its serial number


REFUSED = {
    "none": (["--replicas", "0"], "replicas"),
    "many": (["--replicas", "10000000"], "replicas"),
    "negative": (["--rate", "-1"], "rate"),
    "no number": (["--rate", "nan"], "rate"),
    "duration": (["--for", "soon"], "--for"),
    "no time": (["--for", "0s"], "--for"),
    "start": (["--start", "yesterday"], "--start"),
    "port": (["--port", "70000"], "port"),
    "config": (["-c", "/nonexistent.yaml"], "/nonexistent.yaml"),
    "directory": (["-c", "/"], "/"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_flags_are_one_line(case: str, tmp_path: Path) -> None:
    """Exit code 1, the flag by its name, no process and no directory."""
    flags, named = REFUSED[case]

    told = fleet("up", "--data", tmp_path / "data", *flags)

    assert (1, "") == (told.returncode, told.stdout)
    (line,) = told.stderr.splitlines()
    assert line.startswith("fleet: ")
    assert named in line
    assert not (tmp_path / "data").exists()
