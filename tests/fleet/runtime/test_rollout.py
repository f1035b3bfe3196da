"""Roll-outs: how far they are after how many steps, and files that are changed in place."""

from __future__ import annotations

import json
import resource
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pytest

from fleet.errors import UserError
from fleet.identities.files import read_identity, set_firmware
from fleet.runtime.rollout import Rollout, read_rollout
from tests.fleet.runtime.steered import InProcessFleet

THREE = """
replicas: {count: 3, prefix: S}
sensor: {firmware_version: '1.4'}
"""


def test_steps_add_up_to_the_share() -> None:
    """Exactly, and not beyond it."""
    rollout = Rollout("2.5", share=0.7, step=0.3, every=60)

    assert [0, Fraction("0.3"), Fraction("0.6"), Fraction("0.7")] == [rollout.share_after(steps) for steps in range(4)]
    assert [False, False, False, True] == [Rollout("2.5", 0.7, 0.3, 60, steps).finished for steps in range(4)]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"firmware": "1"}', '{"firmware":1,"share":"x","step":2,"every":"y"}']
)
def test_a_damaged_record_is_no_roll_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "rollout.json").write_text(text)

    assert None is read_rollout(tmp_path / "rollout.json")
    assert None is read_rollout(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"sensor_id": "S", "device_info": {"firmware_version": "1.4", "odd": 1}, "mine": [1, 2]},
            {"sensor_id": "S", "device_info": {"firmware_version": "2.5", "odd": 1}, "mine": [1, 2]},
        ),
        (
            {"sensor_id": "S", "location": {"city": "Zürich"}},
            {"sensor_id": "S", "location": {"city": "Zürich"}, "device_info": {"firmware_version": "2.5"}},
        ),
        (
            {"id": "S", "firmware_version": "1.3", "location": "Factory A"},
            {"id": "S", "firmware_version": "2.5", "location": "Factory A"},
        ),
        ({"id": "S", "firmware_version": None}, {"id": "S", "firmware_version": "2.5"}),
        (
            {"sensor_id": "S", "location": {"city": "Zürich"}, "device_info": None},
            {"sensor_id": "S", "location": {"city": "Zürich"}, "device_info": {"firmware_version": "2.5"}},
        ),
        ({"id": "S", "note": "\ud800"}, {"id": "S", "note": "\ud800", "firmware_version": "2.5"}),
    ],
)
def test_a_file_gets_another_firmware_and_nothing_else(tmp_path: Path, before: object, after: object) -> None:
    """In its own format and under its own name, with its unknown keys and its own mode."""
    path = tmp_path / "given by hand.json"
    path.write_text(json.dumps(before))
    path.chmod(0o640)
    set_firmware(tmp_path, "S", "2.5")

    assert after == json.loads(path.read_text())
    assert ("2.5", 0o640) == (read_identity(path).identity.firmware_version, path.stat().st_mode & 0o777)
    assert [path] == list(tmp_path.iterdir())


def test_one_that_is_under_way_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept = Rollout("2.5", 0.7, 0.3, 60.0, 2)
    (tmp_path / "rollout.json").write_text(json.dumps(asdict(kept)))

    assert kept == read_rollout(tmp_path / "rollout.json")


def test_who_has_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file with the identity of"):
        set_firmware(tmp_path, "S", "2.5")


def test_a_file_that_cannot_be_replaced_is_left_alone(tmp_path: Path) -> None:
    """And nothing is left beside it."""
    path = tmp_path / "S.json"
    path.write_text('{"id": "S"}')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot be written: File too large"):
            set_firmware(tmp_path, "S", "2.5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert ('{"id": "S"}', [path]) == (path.read_text(), list(tmp_path.iterdir()))


@pytest.mark.parametrize("without", ["S_000001", "S_000002", "S_000003"])
def test_one_that_is_refused_does_not_happen(tmp_path: Path, without: str) -> None:
    """Neither later nor in part, and another rollout can follow."""
    steered = InProcessFleet(tmp_path, THREE)
    away = tmp_path / "away.json"
    steered.identity(without).rename(away)
    with pytest.raises(UserError, match=f'no file with the identity of "{without}"'):
        steered.rollouts.start(Rollout("2.5", share=1, step=1, every=60))
    assert None is steered.rollouts.progress()
    away.rename(steered.identity(without))
    steered.now = 100
    steered.rollouts()

    files = {path.stem: read_identity(path).identity.firmware_version for path in steered.planner.identities.iterdir()}
    assert {"1.4"} == {*steered.firmware().values()} == {*files.values()}
    steered.rollouts.start(Rollout("2.1", share=1, step=1, every=60))
    assert {"2.1"} == {*steered.firmware().values()}


def test_a_step_that_fails_is_taken_when_the_next_is_due(tmp_path: Path) -> None:
    steered = InProcessFleet(tmp_path, THREE)
    steered.rollouts.start(Rollout("2.5", share=1, step=0.4, every=60))
    steered.planner.identities.rename(tmp_path / "away")
    steered.now = 60
    for _ in range(3):
        steered.rollouts()
    (tmp_path / "away").rename(steered.planner.identities)
    steered.rollouts()
    failures = [line for line in steered.events if line.startswith("roll-out:")]
    assert (1, ["1.4", "2.5", "2.5"]) == (len(failures), sorted(map(str, steered.firmware().values())))
    steered.now = 120
    steered.rollouts()

    assert {"2.5"} == {*steered.firmware().values()}


def test_a_record_that_cannot_be_removed_ends_nothing(tmp_path: Path) -> None:
    """It is the disk's trouble, not the fleet's."""
    steered = InProcessFleet(tmp_path, THREE)
    (steered.directory.rollout / "x").mkdir(parents=True)
    steered.rollouts.start(Rollout("2.5", share=1, step=1, every=60))

    assert {"2.5"} == {*steered.firmware().values()}
