"""The roster, by which the files of a fleet are found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.datadir.roster import DEFAULT_HANG_SECONDS, Roster
from fleet.errors import UserError
from tests.fleet.staged import StagedFleet


def test_a_roster_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every field with its type; a reader never sees half of one."""
    StagedFleet(tmp_path / "data", 3)
    path = tmp_path / "data" / "run" / "roster.json"
    roster = replace(Roster.read(path), duration=1.5, url=None)

    roster.write(path)

    assert roster == Roster.read(path)
    assert [] == list(path.parent.glob("*.new"))


def edited(path: Path, *keys: str | int, value: object) -> None:
    document = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("started_ns",), "now", 'started_ns: "now" is not a whole number'),
        (("seed",), float("nan"), "seed: NaN is not a whole number"),
        (("layout",), "odd", 'layout: "odd" is not one of own, shared, packed'),
        (("hang_seconds",), None, "hang_seconds: null is not a number"),
        (("members",), [7], "members[0]: 7 is not a JSON object"),
        (("members",), {}, "members: {} is not a list"),
        (("members", 0, "row"), -1, "members[0].row: -1 is not a whole number from 0 to"),
        (("members", 0, "row"), 1 << 70, "members[0].row: 1180591620717411303424 is not a whole number from 0 to"),
        (("members", 0, "rate"), None, "members[0].rate: null is not a number"),
        (("members", 0, "database"), None, "members[0].database: null is not a text"),
        (("members", 0, "channels"), [[5, "V"]], "members[0].channels[0][0]: 5 is not a text"),
        (("members", 0, "channels"), [["a"]], 'members[0].channels[0]: ["a"] is not a list of 2 values'),
        (
            ("members", 0, "identity", "latitude"),
            float("inf"),
            "members[0].identity.latitude: Infinity is not a number",
        ),
        (("members", 0, "identity", "colour"), "red", 'members[0].identity.colour: "red" is not a key that is known'),
    ],
)
def test_a_damaged_roster_is_refused(keys: tuple[str | int, ...], value: object, message: str, tmp_path: Path) -> None:
    """In one line with the place, the key and the value; no part of the roster is used."""
    path = StagedFleet(tmp_path / "data", 1).run / "roster.json"
    edited(path, *keys, value=value)

    with pytest.raises(UserError) as refused:
        Roster.read(path)
    place, _, complaint = str(refused.value).partition(": ")
    assert place.startswith(f"{path}:1:")
    assert complaint.startswith(message)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "7"])
def test_what_is_no_roster_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "roster.json").write_text(text)

    with pytest.raises(UserError, match=r"roster\.json:"):
        Roster.read(tmp_path / "roster.json")


def test_a_roster_of_version_0_1_0_has_no_hang_seconds(tmp_path: Path) -> None:
    path = StagedFleet(tmp_path / "data", 1).run / "roster.json"
    document = json.loads(path.read_text())
    del document["hang_seconds"]
    path.write_text(json.dumps(document))

    assert 20.0 == DEFAULT_HANG_SECONDS == Roster.read(path).hang_seconds


def test_without_a_roster_no_fleet_has_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Roster.read(tmp_path / "roster.json")
