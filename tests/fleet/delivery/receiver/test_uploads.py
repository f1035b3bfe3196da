"""The body of a POST: what becomes of it, and what in it is rejected with which reason."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from fleet.delivery.batch import Batch
from fleet.delivery.history import EPISODE_COLUMNS, EPOCH_COLUMNS
from fleet.delivery.receiver.uploads import BodyTooLarge, MalformedBody, ParsedUpload, parse_upload
from tests.process.delivery.receiver_process import body, reading

EPISODE_1 = dict(zip(EPISODE_COLUMNS, ("A", "missing_data", None, 3, 5, "t3", "t5", "{}"), strict=True))
EPOCH_0 = dict(zip(EPOCH_COLUMNS, ("A", 0, "t0", 0, "start", 1, "42", "{}", "{}"), strict=True))


def unpacked(document: Any) -> ParsedUpload:
    return parse_upload(json.dumps(document).encode())


def only(document: Any) -> Batch:
    (batch,) = unpacked(document).batches
    return batch


def documents(batch: Batch) -> list[dict[str, Any]]:
    return [dict(zip(batch.source.columns, row, strict=True)) for row in batch.rows]


def test_what_our_collector_sends_is_what_it_read() -> None:
    """The rows and columns of its database, in their order, under its generation."""
    sent = [reading(number, synced=0, location="Zürich ☃") for number in range(3)]
    batch = only({"readings": sent, "source_db": "a/b.db", "episodes": [{**EPISODE_1, "generation": "g1"}]})

    assert ("g1", "a/b.db") == (batch.source.key, batch.source.name)
    assert tuple(name for name in sent[0] if name != "generation") == batch.source.columns
    assert [{k: v for k, v in one.items() if k != "generation"} for one in sent] == documents(batch)
    assert [EPISODE_1] == batch.episodes.documents()


def test_the_ancestors_collector_sends_no_generation() -> None:
    """Its readings are known by the name of the database and their id, the same each time."""
    plain = {"id": 7, "timestamp": "2026-01-01T00:00:00", "sensor_id": "A", "temperature": 1.5, "synced": 0}
    first, again = (only({"readings": [plain], "source_db": "data/sensor_data.db"}) for _ in range(2))
    other = only({"readings": [plain], "source_db": "data/other.db"})

    assert first.source.key == again.source.key != other.source.key
    assert first.source.key.startswith("path-")
    assert [f"{first.source.key}/A/7"] == list(first.keys())


def test_where_there_is_no_id_the_seq_is_enough() -> None:
    """Such rows have ids below 0, which no database has, and never move a cursor."""
    batch = only(body({"timestamp": "t", "sensor_id": "A", "seq": 4}, {"timestamp": "t", "sensor_id": "B", "seq": 4}))

    assert (4, 4) == batch.key_numbers
    assert all(own < 0 for own in batch.ids)


def test_databases_of_other_simulators_are_known_by_their_ids() -> None:
    """Whatever their column of the name seq is."""
    batch = only(body(reading(0, generation="foreign-abc", id=9, seq="first")))

    assert ["foreign-abc/KIN_000001/9"] == list(batch.keys())


def test_several_databases_come_in_one_body() -> None:
    """Each its batches, and its episodes and epochs, also where none of its readings come."""
    document = body(
        reading(0, generation="g1"),
        reading(0, generation="g2"),
        reading(1, generation="g1"),
        episodes=[{**EPISODE_1, "generation": "g2"}],
        epochs=[{**EPOCH_0, "generation": "g3"}],
    )
    found = {batch.source.key: batch for batch in unpacked(document).batches}

    assert {"g1": 2, "g2": 1, "g3": 0} == {key: len(batch.rows) for key, batch in found.items()}
    assert {"g1": 0, "g2": 1, "g3": 0} == {key: len(batch.episodes.rows) for key, batch in found.items()}
    assert [EPOCH_0] == found["g3"].epochs.documents()


def test_readings_need_not_be_alike() -> None:
    """What one has and another has not is missing there; what no column is for is kept, also what JSON nests."""
    batch = only(body(reading(0, battery=3.5), reading(1, tags=["a", {"b": 1}])))

    assert [3.5, None] == [one["battery"] for one in documents(batch)]
    assert [None, '["a", {"b": 1}]'] == [one["tags"] for one in documents(batch)]


def test_what_can_be_converted_is() -> None:
    batch = only(body(reading(0, temperature=21, anomaly_flag=True, status_code=1.0, humidity=math.inf)))
    (one,) = documents(batch)

    assert [21.0, 1, 1, math.inf] == [one[name] for name in ("temperature", "anomaly_flag", "status_code", "humidity")]
    assert (float, int, int) == tuple(type(one[name]) for name in ("temperature", "anomaly_flag", "status_code"))


@pytest.mark.parametrize(
    ("wrong", "key", "reason"),
    [
        ({"temperature": "warm"}, "g1/KIN_000001/1", "temperature: 'warm' is no real number"),
        ({"temperature": math.nan}, "g1/KIN_000001/1", "temperature: 'NaN' is no real number"),
        ({"temperature": True}, "g1/KIN_000001/1", "temperature: True is no real number"),
        ({"latitude": 10**400}, "g1/KIN_000001/1", "latitude: 1" + "0" * 56 + "... is no real number"),
        ({"status_code": 2**63}, "g1/KIN_000001/1", "status_code: 9223372036854775808 is no whole number of 64 bits"),
        ({"seq": -(2**64)}, "g1/KIN_000001/-18446744073709551616", "seq: -18446744073709551616 is no whole number"),
        ({"id": "2"}, "g1/KIN_000001/1", "id: '2' is no whole number of 64 bits"),
        ({"location": 5}, "g1/KIN_000001/1", "location: 5 is no text"),
        ({"location": "\n" * 99, "model": []}, "g1/KIN_000001/1", "model: [] is no text"),
        ({"timestamp": None}, "g1/KIN_000001/1", "timestamp: is missing"),
        ({"timestamp": ""}, "g1/KIN_000001/1", "timestamp: is missing"),
        ({"sensor_id": ""}, "g1//1", "sensor_id: is missing"),
        ({"sensor_id": 3}, None, "sensor_id: 3 is no text"),
        ({"seq": None, "id": None}, None, "has neither seq nor id"),
        ({"generation": "foreign-x", "id": None}, None, "has no id"),
        ({"generation": ["g"]}, None, "generation: ['g'] is no text of 1 to 200 letters"),
        ({"generation": "g" * 201}, None, "generation: 'ggg"),
    ],
)
def test_a_bad_reading_is_refused_by_itself(wrong: dict[str, Any], key: str | None, reason: str) -> None:
    """By its key and its id, with one line; its neighbours are taken."""
    found = unpacked(body(reading(0), reading(1, **wrong), reading(2)))
    (rejected,) = found.rejected

    assert [1, 3] == [own for batch in found.batches for own in batch.ids]
    assert (key, True) == (rejected.key, rejected.reason.startswith(reason))
    assert "\n" not in rejected.reason


@pytest.mark.parametrize("number", ["1e400", "-1E+400", "0.1e1000", "9" * 400 + ".5"])
@pytest.mark.parametrize("more", ["", ', "humidity": NaN'])
def test_a_number_that_no_float_holds_is_refused(number: str, more: str) -> None:
    """It would become Infinity, which nobody sent."""
    content = json.dumps(
        body(reading(0), reading(1, temperature=-1.5e300, location="e482"), reading(2, temperature="?"))
    )
    found = parse_upload(content.replace('"?"', number + more).encode())

    assert [1, 2] == [own for batch in found.batches for own in batch.ids]
    assert found.rejected[0].reason.startswith(f"temperature: '{number[:50]}")


@pytest.mark.parametrize(
    ("number", "value"), [("1e100", 1e100), ("1e-400", 0.0), ("1e300", 1e300), ("-Infinity", -math.inf)]
)
def test_a_number_that_a_float_holds_is_taken(number: str, value: float) -> None:
    content = json.dumps(body(reading(0, temperature="?"))).replace('"?"', number)
    (batch,) = parse_upload(content.encode()).batches

    assert value == dict(zip(batch.source.columns, batch.rows[0], strict=True))["temperature"]


def test_what_is_no_reading_or_no_episode_is_refused_too() -> None:
    found = unpacked(body(reading(0), 5, None, episodes=[{"sensor_id": "A", "generation": "g1"}, 7], epochs=[{}]))

    assert [
        (None, "reading 1 of the body is no object"),
        (None, "reading 2 of the body is no object"),
        ("episode g1/'A'/None", "type: is missing"),
        (None, "episode 1 of the body is no object with a generation"),
    ] == [(one.key, one.reason) for one in found.rejected[:4]]
    assert "sensor_id: is missing" == found.rejected[4].reason
    assert 1 == len(found.batches)


def test_an_id_is_once_in_a_batch() -> None:
    """By it the central database says what it took."""
    found = unpacked(body(reading(0), reading(0, sensor_id="B"), reading(0, temperature=9.0), reading(1)))

    assert [(1, 2), (1,), (1,)] == [batch.ids for batch in found.batches]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the body is no JSON"),
        (b"<html>", "the body is no JSON"),
        (b'{"readings":[]}}', "the body is no JSON"),
        (b'{"readings":["\xff"]}', "the body is no JSON"),
        (b'{"readings":["\\ud800"]}', "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b'{"readings":[' + b"1" * 5000 + b"]}", "the body is no JSON"),
        (b"[]", "the body is no JSON object"),
        (b"{}", "the body has no list 'readings'"),
        (b'{"readings":{}}', "the body has no list 'readings'"),
        (b'{"readings":[],"episodes":3}', "the body has no list 'episodes'"),
        (b'{"readings":[],"source_db":3}', "source_db: 3 is no text"),
        (b'{"readings":[],"generation":""}', "generation: '' is no text"),
    ],
)
def test_a_body_that_is_none_is_refused_whole(content: bytes, reason: str) -> None:
    with pytest.raises(MalformedBody, match=f"^{reason}"):
        parse_upload(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"readings":[' + b"{}," * 500_000 + b"{}]}", "more than 500000 objects"),
        (b'{"readings":[' + b"1," * 500_000 + b"1]}", "500001 readings: allowed are 500000"),
        (json.dumps(body(*({f"c{n}": 1} for n in range(501)))).encode(), "501 readings have 501 columns"),
        (json.dumps(body(*({f"c{n % 400}": 1} for n in range(9000)))).encode(), "9000 readings have 400 columns"),
        (json.dumps(body(*(reading(0, generation=f"g{n}") for n in range(1001)))).encode(), "1001 databases"),
        (
            json.dumps(body(*range(10_001))).encode(),
            "more than 10000 readings are bad, such as: reading 0 of the body is no object",
        ),
        (json.dumps(body(*[reading(0, location=1)] * 10_001)).encode(), "more than 10000 readings are bad"),
        (json.dumps(body(*[reading(0)] * 101)).encode(), "more than 100 readings have the id 1"),
    ],
)
def test_a_small_body_cannot_take_much_memory(content: bytes, reason: str) -> None:
    """Nor many transactions: such a body is rejected before any of it is taken."""
    with pytest.raises(BodyTooLarge, match=reason):
        parse_upload(content)


def test_columns_that_the_sender_declares() -> None:
    """They are columns of the source, and their values are checked; what is not declared may be anything."""
    columns = {"co2": "REAL", "floor": "INTEGER", "status": "TEXT"}
    good = reading(0, co2=412, floor=4.0, status="OK", other=[1])
    bad = [reading(1, co2="much"), reading(2, floor=4.5), reading(3, status=5)]
    upload = unpacked(body(good, *bad, columns=columns))
    (batch,) = upload.batches

    assert tuple(columns.items()) == batch.source.further
    assert (412.0, 4, "OK", "[1]") == tuple(documents(batch)[0][name] for name in (*columns, "other"))
    assert ["co2: 'much' is no real number", "floor: 4.5 is no whole number of 64 bits", "status: 5 is no text"] == [
        one.reason for one in upload.rejected
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["co2"], "columns: is no object of at most 400 names and types"),
        ({f"c{number}": "REAL" for number in range(401)}, "columns: is no object of at most 400 names and types"),
        ({"CO2": "REAL"}, "columns: 'CO2' cannot be the name of a column"),
        ({"batch": "TEXT"}, "columns: 'batch' cannot be the name of a column"),
        ({"temperature": "TEXT"}, "columns: 'temperature' cannot be the name of a column"),
        ({'x" TEXT); --': "TEXT"}, "cannot be the name of a column"),
        ({"co2": "NUMERIC"}, "columns: co2: 'NUMERIC' is none of REAL, INTEGER, TEXT"),
        ({"co2": ["REAL"]}, "columns: co2: ['REAL'] is none of REAL, INTEGER, TEXT"),
    ],
)
def test_declared_columns_that_cannot_be(columns: Any, message: str) -> None:
    with pytest.raises(MalformedBody) as raised:
        unpacked(body(reading(0), columns=columns))

    assert message in str(raised.value)


def test_a_source_of_another_simulator_declares_no_columns() -> None:
    """Whatever the body says: its columns are in `extra`."""
    batch = only(body(reading(0, generation="foreign-1", co2="much"), columns={"co2": "REAL"}))

    assert () == batch.source.further
    assert "much" == documents(batch)[0]["co2"]
