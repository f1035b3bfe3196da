"""The selection of readings for a target: others are settled without being delivered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.commands.verify import verify
from fleet.delivery.batch import Batch, Row
from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.selection import Selection, hash_share
from fleet.delivery.targets.jsonl.target import JsonLinesTarget
from fleet.errors import UserError
from tests.fleet.delivery.swept import open_collector
from tests.fleet.verify.damage import select
from tests.worker.further import write_kinds

ROOM: Row = ("KIN_1", "environmental_monitoring", "Kinshasa, CD", "1.4")


@pytest.mark.parametrize(
    ("selection", "included"),
    [
        (Selection(), True),
        (Selection(kind="environmental", city="kinshasa", firmware="1.4"), True),
        (Selection(kind="environmental_monitoring", city="Kinshasa, CD"), True),
        (Selection(kind="bme280"), False),
        (Selection(city="Lagos"), False),
        (Selection(firmware="1.40"), False),
        (Selection(share=1.0), True),
        (Selection(share=1e-9), False),
    ],
)
def test_a_reading_matches_all_that_is_stated(selection: Selection, included: bool) -> None:
    assert included == selection.includes(ROOM)
    assert not Selection(kind="environmental").includes(("KIN_1", None, None, None))


def test_a_share_is_of_the_sensors_and_always_the_same() -> None:
    shares = [hash_share(f"S_{number:06d}") for number in range(10_000)]

    assert hash_share("S_000001") == shares[1]
    assert 0.23 < sum(share < 0.25 for share in shares) / len(shares) < 0.27


class CountingSelection(Selection):
    """Counts the batches that it is asked about."""

    batches = 0

    def part_of(self, batch: Batch) -> Batch:
        CountingSelection.batches += 1
        return Selection.part_of(self, batch)


def test_only_selected_readings_are_delivered(tmp_path: Path) -> None:
    """All are settled."""
    data = tmp_path / "data"
    data.mkdir()
    write_kinds(data / "pack_0001.db", 120)
    readings = select(data / "pack_0001.db", "SELECT sensor_id, id FROM sensor_readings ORDER BY id")
    shares = {name: hash_share(name) for name, _ in readings}
    smallest, second, *_ = sorted(shares.values())
    wanted = [number for name, number in readings if shares[name] == smallest]
    assert 0 < len(wanted) < len(readings)
    with open_collector(JsonLinesTarget(tmp_path / "out.jsonl"), data, marking=False, batch_size=7) as opened:
        collector, context = opened
        context.selection = Selection(share=(smallest + second) / 2)
        collector.sweep()
        assert not context.stats.failing()

    assert wanted == [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [readings[-1][1]] == list(context.settled_ids.values())


def test_readings_that_are_not_selected_are_not_missed(tmp_path: Path) -> None:
    """Those that are selected are."""
    data, path = tmp_path / "data", tmp_path / "out.jsonl"
    data.mkdir()
    write_kinds(data / "pack_0001.db", 120)
    names = select(data / "pack_0001.db", "SELECT DISTINCT sensor_id FROM sensor_readings")
    smallest, second, *_ = sorted(hash_share(name) for (name,) in names)
    selection = Selection(share=(smallest + second) / 2)
    with open_collector(JsonLinesTarget(path), data, marking=False) as (collector, context):
        context.selection = selection
        collector.sweep()
    options = ComparisonOptions(f"jsonl:{path}", complete=True, selection=selection)
    lines = path.read_text().splitlines()

    verdict = compare(data, options)
    assert (True, len(lines)) == (verdict.ok, verdict.generated)
    assert {"not delivered"} == compare(data, replace(options, selection=None)).counts.keys()
    path.write_text("\n".join(lines[1:]) + "\n")
    assert {"not delivered": 1} == compare(data, options).counts


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["kin=bme280"], "--select: 'kin=bme280' is not KEY=VALUE: KEY is one of kind, city, firmware, share"),
        (["kind="], "is not KEY=VALUE"),
        (["kind=a", "kind=b"], "--select: 'kind=b' is there twice"),
        (["share=150%"], "--select: '150%' is not a share"),
        (["share=15%"], "--select: goes with --against"),
    ],
)
def test_a_wrong_selection_is_refused(texts: list[str], message: str, tmp_path: Path) -> None:
    arguments = [argument for text in texts for argument in ("--select", text)]
    with pytest.raises(UserError) as found:
        verify.main([*arguments, "--data", str(tmp_path)], standalone_mode=False)

    assert message in str(found.value)


def test_readings_that_are_not_selected_are_looked_at_once(tmp_path: Path) -> None:
    """Although the cursor of the file does not pass them."""
    data = tmp_path / "data"
    data.mkdir()
    write_kinds(data / "pack_0001.db", 120)
    with open_collector(JsonLinesTarget(tmp_path / "out.jsonl"), data, marking=False, batch_size=7) as opened:
        collector, context = opened
        context.selection = CountingSelection(kind="another")
        collector.sweep()
        before = CountingSelection.batches
        collector.sweep()

    assert 0 < before == CountingSelection.batches
