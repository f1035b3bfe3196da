"""Messages of a broker: what becomes of them, and which are damaged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fleet.delivery.batch import Batch
from fleet.delivery.receiver.messages import ParsedMessages, parse_messages
from fleet.delivery.records.record import ROW
from tests.fleet.delivery.samples import batch, episodes, epochs, source


def parse(*documents: Any) -> ParsedMessages:
    return parse_messages([json.dumps(document).encode() for document in documents], "mqtt://broker/x")


def only(parsed: ParsedMessages) -> Batch:
    assert [] == parsed.damaged
    (found,) = parsed.batches
    return found


def row(number: int, **further: Any) -> dict[str, Any]:
    return ROW.documents(batch(number, number + 1))[0] | further


def test_messages_are_what_the_fleet_published() -> None:
    """Readings of each database in a batch of its own, with their episodes and epochs."""
    other = ROW.documents(batch(1, 2, source("generation-2")))[0]
    history = [
        {**document, "generation": "generation-1"}
        for table in (episodes((7, 9)), epochs(0))
        for document in table.documents()
    ]
    first, second = parse(row(1), other, *history, row(2)).batches

    assert ("generation-1", "generation-2") == (first.source.key, second.source.key)
    assert ["generation-1/KIN_1/0", "generation-1/KIN_1/1"] == list(first.keys())
    assert (episodes((7, 9)).documents(), epochs(0).documents()) == (
        first.episodes.documents(),
        first.epochs.documents(),
    )
    assert [{**row(number), "generation": "generation-1"} for number in (1, 2)] == [
        {**document, "temperature": document["temperature"]} for document in first.documents()
    ]


@pytest.mark.parametrize(
    ("values", "column_type"),
    [((1.5, 2.0), "REAL"), ((1.5, 2), "REAL"), ((1, None), "INTEGER"), (("a", "b"), "TEXT")],
)
def test_the_columns_of_a_kind_have_the_types_of_their_values(values: tuple[Any, Any], column_type: str) -> None:
    found = only(parse(row(1, co2=values[0]), row(2, co2=values[1])))
    assert {"co2": column_type} == dict(found.source.further)


@pytest.mark.parametrize("values", [(None, None), (1, "a"), ([1], [2]), (True, False)])
def test_a_column_without_one_type_is_not_a_column(values: tuple[Any, Any]) -> None:
    assert () == only(parse(row(1, co2=values[0]), row(2, co2=values[1]))).source.further


def test_without_a_generation_the_subscription_is_the_source() -> None:
    reading = {"sensor_id": "A", "timestamp": "2026-01-01T00:00:00", "seq": 4}
    found = only(parse(reading))
    assert found.source.key.startswith("path-")
    assert "mqtt://broker/x" == found.source.name


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (None, "it is empty"),
        (b"", "it is empty"),
        (b"\xff\x00", "it is no JSON: "),
        (b"[1]", "it is no JSON object"),
        (b'{"generation": 7}', "generation: 7 is no text"),
        (b'{"generation": "g", "seq": 1, "timestamp": "t"}', "a reading: sensor_id: is missing"),
        (b'{"generation": "g", "sensor_id": "A", "timestamp": "t"}', "has neither seq nor id"),
        (
            b'{"generation": "g", "sensor_id": "A", "timestamp": "t", "seq": 1, "temperature": "hot"}',
            "g/A/1: temperature: ",
        ),
        (b'{"x": "' + b"x" * 1_000_000 + b'"}', "it has 1000009 bytes: allowed are 1000000"),
    ],
)
def test_a_damaged_message_costs_only_itself(payload: bytes | None, reason: str) -> None:
    parsed = parse_messages([json.dumps(row(1)).encode(), payload, json.dumps(row(2)).encode()], "x")
    (damaged,) = parsed.damaged
    assert reason in damaged
    assert 2 == sum(len(each.rows) for each in parsed.batches)


def test_what_is_too_much_at_once_is_taken_in_halves() -> None:
    """As where a message has come more often than an upload may repeat an id."""
    parsed = parse(*(row(1) for _ in range(250)))
    assert [] == parsed.damaged
    assert 250 == sum(len(each.rows) for each in parsed.batches)
