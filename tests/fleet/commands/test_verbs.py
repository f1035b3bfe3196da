"""The commands as a whole: their help, other programs' verbs, the selection of sensors, completion, fleets that run."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from fleet.cli import OTHER_VERBS, cli
from fleet.commands.examples import EXAMPLES
from fleet.commands.options import Completion
from fleet.commands.ps import describe_fleet, running_fleets
from fleet.datadir.roster import Member, Roster
from worker.spec import Identity


def commands(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*words, name))
    else:
        yield words


def write_roster(data: Path) -> Roster:
    """The roster of a fleet of two."""
    members = tuple(
        Member(row, name, 1.0, data / f"{name}.db", data / "log", (), Identity(name, location=f"{city}, CO, USA"))
        for row, (name, city) in enumerate((("DEN_1", "Denver"), ("BER_2", "Berlin")))
    )
    roster = Roster(1, "own", 1, 1, "", "2026-01-01T00:00:00", 0, "2026-01-01T00:00:00", None, "http://x/", members)
    (data / "run").mkdir()
    roster.write(data / "run" / "roster.json")
    return roster


@pytest.mark.parametrize("words", list(commands(cli)), ids=" ".join)
def test_the_help_of_each_command_has_an_example(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*words, "--help"], terminal_width=80)
    examples = shown.output.partition("Examples:\n")[2].splitlines()

    assert examples
    for line in examples:
        assert line.strip().startswith(f"fleet {' '.join(words)}")
        assert len(line) <= 80


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_an_example_is_a_valid_command_line(line: str) -> None:
    command: click.Command = cli
    words = shlex.split(re.split(r" [>|] ", line)[0])[1:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]

    command.make_context("fleet", words)


@pytest.mark.parametrize("verb", list(OTHER_VERBS))
def test_other_verbs_lead_to_the_right_one(verb: str) -> None:
    with pytest.raises(click.UsageError, match=f"no such command '{verb}', use `fleet {OTHER_VERBS[verb]}`"):
        cli.main([verb], standalone_mode=False)


@pytest.mark.parametrize("line", ["pause", "inject spike", "inject spike --channel voltage"])
def test_all_sensors_are_never_selected_by_accident(line: str, tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="or take --all"):
        cli.main([*line.split(), "--data", str(tmp_path)], standalone_mode=False)


def test_all_and_a_criterion_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="--all selects all sensors"):
        cli.main(["pause", "--all", "--city", "Rome", "--data", str(tmp_path)], standalone_mode=False)


def test_ids_and_cities_are_completed(tmp_path: Path) -> None:
    write_roster(tmp_path)
    context = click.Context(cli)
    context.params["data"] = tmp_path

    assert ["DEN_1"] == Completion("sensor_id")(context, cli.params[0], "D")
    assert ["Berlin", "Denver"] == Completion("location")(context, cli.params[0], "")
    context.params["data"] = tmp_path / "none"
    assert [] == Completion("location")(context, cli.params[0], "")


def test_a_fleet_that_runs_is_listed(tmp_path: Path) -> None:
    """Its process holds the lock of its directory."""
    write_roster(tmp_path)
    (tmp_path / "run" / "lock").write_text(f"{os.getpid()}\n")
    with (tmp_path / "run" / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (found,) = [each for each in running_fleets() if each["data"] == str(tmp_path)]
        assert describe_fleet(tmp_path, 1) is None

    assert (os.getpid(), 2, "http://x/") == (found["pid"], found["sensors"], found["url"])
    json.dumps(found)


def completions(data: Path, *words: str, begun: str) -> list[str]:
    """Return what Tab offers for the word that has begun, after those before it."""
    words = (*words[:1], "--data", str(data), *words[1:]) if words[0] != "config" else words
    return [
        item.value for item in ShellComplete(cli, {}, "fleet", "_FLEET_COMPLETE").get_completions(list(words), begun)
    ]


def test_arguments_of_top_and_config_are_completed(tmp_path: Path) -> None:
    write_roster(tmp_path)

    assert ["DEN_1"] == completions(tmp_path, "top", "--filter", begun="DE")
    assert ["BER_2", "Berlin"] == completions(tmp_path, "top", "--filter", begun="B")
    assert ["state"] == completions(tmp_path, "top", "--sort", begun="st")
    assert "sensor" in completions(tmp_path / "none", "top", "--sort", begun="")
    assert ["DEN_1"] == completions(tmp_path, "verify", "--sensor", begun="D")
    for words in (("init",), ("check",), ("show",)):
        assert ["chaos-test"] == completions(tmp_path, "config", *words, begun="chaos")
    assert ["chaos-test"] == completions(tmp_path, "up", "-c", begun="chaos")
    (file,) = ShellComplete(cli, {}, "fleet", "_FLEET_COMPLETE").get_completions(["config", "check"], "./my")
    assert ("./my", "file") == (file.value, file.type)
