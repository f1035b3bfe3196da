"""The shapes in which readings are delivered, and what is read back from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.records.registry import RECORDS
from fleet.delivery.targets.registry import TargetOptions, open_target
from tests.fleet.delivery.samples import batch
from tests.fleet.delivery.swept import sweep_into
from tests.worker.further import attributes, write_kinds

__all__ = ["attributes"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database of several kinds."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_kinds(folder / "pack_0001.db", 120)
    return folder


def test_a_nested_record_has_the_identity_in_objects() -> None:
    (document,) = RECORDS["nested"].documents(batch(1, 2))

    assert {"id": "KIN_1"} == document["sensor"]
    assert {"name": "Kinshasa, 🌍", "latitude": -4.32459} == document["location"]
    assert ("generation-1", 0, 20 + 1 / 7) == (document["generation"], document["seq"], document["temperature"])
    assert "sensor_id" not in document
    assert "synced" not in document


@pytest.mark.parametrize("name", ["row", "nested"])
def test_a_complete_record_is_compared_with_all_that_was_generated(name: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sweep_into(open_target(f"jsonl:{path}", TargetOptions(record=RECORDS[name])), data)
    options = ComparisonOptions(f"jsonl:{path}", record=name, complete=True)

    assert compare(data, options).ok

    lines = path.read_text().splitlines()
    document = json.loads(lines[5])
    document.get("location" if name == "nested" else "none", document)["latitude"] = 12.5
    path.write_text("\n".join([*lines[:5], json.dumps(document), *lines[7:]]) + "\n")
    verdict = compare(data, options)

    assert {"delivered altered": 1, "not delivered": 1} == verdict.counts
    assert "latitude" in next(each.detail for each in verdict.findings if each.kind == "delivered altered")
