"""A file of JSON lines as a target: every reading is in it once, whatever happens in between."""

from __future__ import annotations

import gzip
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.delivery.target import TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.jsonl.target import JsonLinesTarget
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch, episodes, foreign_batch, with_values
from tests.fleet.delivery.several_kinds import data
from tests.fleet.delivery.swept import open_collector, sweep_into
from tests.fleet.verify.damage import damage
from tests.worker.further import attributes

__all__ = ["attributes", "data"]


def target(path: Path) -> JsonLinesTarget:
    return JsonLinesTarget(path)


def documents(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def ids(path: Path) -> list[int]:
    return [document["id"] for document in documents(path)]


def verdict(data: Path, path: Path) -> DeliveryVerdict:
    return compare(data, ComparisonOptions(f"jsonl:{path}", complete=True))


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_readings_arrive_as_lines(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with closing(open_target(f"jsonl:{path}", TargetOptions())) as opened:
        receipt = opened.deliver(batch(1, 4))
        opened.deliver(batch(4, 6, episodes=episodes((7, 9))))

    assert (frozenset({1, 2, 3}), 0, {}) == (receipt.accepted, receipt.duplicates, receipt.rejected)
    assert [1, 2, 3, 4, 5] == ids(path)
    expected = batch(1, 2).documents()[0]
    del expected["synced"]
    assert expected == documents(path)[0]
    (episode,) = documents(tmp_path / name.replace(".jsonl", ".history.jsonl"))
    assert ("anomaly_episodes", "generation-1", 7, 9) == tuple(
        episode[field] for field in ("table", "generation", "first_seq", "last_seq")
    )


def test_a_batch_may_come_again(tmp_path: Path) -> None:
    """With other boundaries, to another process, from several sources."""
    path = tmp_path / "out.jsonl"
    with closing(target(path)) as first:
        first.deliver(batch(1, 6))
        first.deliver(foreign_batch(1, 4))
    with closing(target(path)) as second:
        again = second.deliver(batch(3, 9))
        assert (8, 3) == (second.cursor("generation-1"), second.cursor("foreign-1"))
        assert 0 == second.cursor("another")

    assert (frozenset(range(3, 9)), 3) == (again.accepted, again.duplicates)
    assert [*range(1, 6), 1, 2, 3, 6, 7, 8] == ids(path)


def test_what_a_crash_left_is_cut_off(tmp_path: Path) -> None:
    """After the write of the lines and before that of the record."""
    path = tmp_path / "out.jsonl"
    with closing(target(path)) as first:
        first.deliver(batch(1, 4))
    with path.open("ab") as file:
        file.write(b'{"id": 4, "sensor_i')
    with closing(target(path)) as second:
        second.deliver(batch(3, 6))

    assert [1, 2, 3, 4, 5] == ids(path)


def test_what_a_crash_left_of_the_first_append_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    with closing(target(path)) as first, monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", die)
        with pytest.raises(KeyboardInterrupt):
            first.deliver(batch(1, 4))
    assert path.stat().st_size
    with closing(target(path)) as second:
        second.deliver(batch(1, 6))

    assert [1, 2, 3, 4, 5] == ids(path)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.jsonl"
    with closing(target(path)) as opened:
        opened.deliver(batch(1, 3))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", refuse)
            with pytest.raises(TargetUnavailable, match=r"No space left on device$"):
                opened.deliver(batch(3, 5))
        assert [1, 2] == ids(path)
        opened.deliver(batch(3, 5))
    assert [1, 2, 3, 4] == ids(path)


def die(_: int) -> None:
    raise KeyboardInterrupt


def refuse(_: int) -> None:
    raise OSError(28, os.strerror(28))


def test_readings_that_json_cannot_represent(tmp_path: Path) -> None:
    """They are given up, the others arrive; once mended, they are taken."""
    path = tmp_path / "out.jsonl"
    with closing(target(path)) as opened:
        receipt = opened.deliver(with_values(batch(1, 5), 3, temperature=float("inf")))
        assert (frozenset({1, 2, 4}), {3}) == (receipt.accepted, set(receipt.rejected))
        assert "temperature is inf" in receipt.rejected[3]
    with closing(target(path)) as opened:
        mended = opened.deliver(batch(3, 4))
        assert (frozenset({3}), 0) == (mended.accepted, mended.duplicates)
        assert 1 == opened.deliver(batch(3, 4)).duplicates
    assert [1, 2, 4, 3] == ids(path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with closing(target(path)) as one, closing(target(path)) as other:
        one.deliver(batch(1, 2))
        with pytest.raises(TargetMisconfigured, match="another process is delivering to it"):
            other.deliver(batch(1, 2))
        assert [1] == ids(path)


@pytest.mark.parametrize(
    ("content", "record", "reason"),
    [
        ("x\n", None, r"it exists and has no out\.jsonl\.delivered beside it: name a new file"),
        ("x\n", "{", r"out\.jsonl\.delivered beside it holds \{: name a new file"),
        ("x\n", '{"length": true}', "name a new file"),
        ("x\n", '{"length": 5}', "it has 2 bytes, 5 were delivered: put it back, or remove"),
    ],
)
def test_a_file_that_does_not_fit_its_record(content: str, record: str | None, reason: str, tmp_path: Path) -> None:
    """Nothing of it is changed."""
    path = tmp_path / "out.jsonl"
    path.write_text(content)
    if record is not None:
        path.with_name("out.jsonl.delivered").write_text(record)
    with closing(target(path)) as opened, pytest.raises(TargetMisconfigured, match=reason):
        opened.deliver(batch(1, 2))
    assert content == path.read_text()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("jsonl:", "names no file"),
        ("jsonl:a.jsonl?x=1", "has the option 'x': allowed is rotate"),
        ("jsonl:a.jsonl?rotate=10M", "--to: rotate: '10M' is neither a size such as 100MB nor a time such as 1h"),
        ("jsonl:a.jsonl?rotate=0MB", "is neither a size"),
        ("jsonl:a.jsonl?rotate=0s", "--to: rotate: '0s' is not between 1ms and"),
        ("jsonl:missing/out.jsonl", "missing is no folder"),
        ("jsonl:.", "is a folder"),
    ],
)
def test_what_is_no_file(url: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=reason) as raised:
        open_target(url, TargetOptions())
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("attributes")
@pytest.mark.parametrize("marking", [True, False])
def test_a_sweep_is_compared(marking: bool, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.gz"
    sweep_into(target(path), data, batch_size=50, marking=marking)
    found = verdict(data, path)
    assert (True, ()) == (found.ok, found.findings)
    assert found.generated == len(documents(path)) > 300
    assert found.epochs > 0

    assert 0 == sweep_into(target(path), data, marking=marking).totals().delivered


@pytest.mark.usefixtures("attributes")
def test_what_was_changed_in_the_file_is_found(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sweep_into(target(path), data)
    lines = documents(path)
    changed = next(index for index, line in enumerate(lines) if line.get("co2") and line["generation"][:7] != "foreign")
    lines[changed]["co2"] += 0.1
    theirs = next(index for index, line in enumerate(lines) if line["generation"].startswith("foreign"))
    lines[theirs]["battery"] = 99.0
    del lines[5], lines[7:9]
    lines.append(lines[1])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    found = verdict(data, path)
    assert {"delivered altered": 2, "not delivered": 3, "delivered twice": 1} == {
        kind: count for kind, count in found.counts.items() if kind != "delivered out of order"
    }
    details = [finding.detail for finding in found.findings if finding.kind == "delivered altered"]
    assert {"co2 is", "extra is"} == {" ".join(detail.split()[:2]) for detail in details}


@pytest.mark.usefixtures("attributes")
def test_a_damaged_file_is_told(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sweep_into(target(path), data)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"out\.jsonl cannot be read: line \d+: "):
        verdict(data, path)


@pytest.mark.usefixtures("attributes")
def test_a_sweep_that_died_before_its_marks(data: Path, tmp_path: Path) -> None:
    """The marks are undone, as if the collector had died before it set them."""
    path = tmp_path / "out.jsonl"
    sweep_into(target(path), data)
    for database in data.glob("*.db"):
        damage(database, "UPDATE sensor_readings SET synced = 0 WHERE id > 20")
    with open_collector(target(path), data, batch_size=33) as (collector, context):
        collector.sweep()
    assert context.stats.totals().delivered == context.stats.totals().duplicates > 0
    assert () == verdict(data, path).findings
