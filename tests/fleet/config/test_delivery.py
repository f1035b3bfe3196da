"""`delivery` in a config: a section, or the list of its targets; a target is its URL, or a section of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config.config import load_config, to_yaml
from fleet.config.delivery import DeliverySelection, DeliveryTarget
from fleet.errors import UserError


def write(folder: Path, text: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "delivery: [jsonl:a.jsonl, {to: jsonl:b.jsonl, record: nested, select: {share: 10%}, interval: 5s}]",
        "delivery: {to: [jsonl:a.jsonl, {to: jsonl:b.jsonl, record: nested, select: {share: 0.1}, interval: 5}]}",
    ],
)
def test_a_list_of_targets_is_the_same_as_a_section(tmp_path: Path, text: str) -> None:
    config = load_config(write(tmp_path, text))

    assert (
        DeliveryTarget(to="jsonl:a.jsonl"),
        DeliveryTarget(
            to="jsonl:b.jsonl", record="nested", select=DeliverySelection(share=0.1), interval=5.0, batch_size=None
        ),
    ) == config.delivery.to
    assert config == load_config(write(tmp_path, to_yaml(config)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delivery: [{to: jsonl:a, recrod: row}]", "1:26: delivery[0].recrod: unknown key; did you mean 'record'?"),
        ("delivery: [{record: row}]", "1:12: delivery[0].to: is missing"),
        ("delivery: [jsonl:a, {to: jsonl:b, select: {share: 2}}]", "delivery[1].select.share: 2 is not above 0"),
        ("delivery: {to: [[jsonl:a]]}", "1:17: delivery.to[0]: a list is not a section"),
        ("delivery: {to: jsonl:a}", "1:16: delivery.to: jsonl:a is not a list"),
    ],
)
def test_an_error_names_the_entry(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as found:
        load_config(write(tmp_path, text))

    assert message in str(found.value)
