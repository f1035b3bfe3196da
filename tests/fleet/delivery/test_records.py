"""The shapes in which readings are delivered, and what is read back from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fleet.config.record_fields import KnownColumns
from fleet.delivery.batch import Batch, SourceDatabase
from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.records.mapped import MappedRecord
from fleet.delivery.records.registry import RECORDS, columns_of_fleet, record_for, record_named
from fleet.delivery.state import STATE_FOLDER
from fleet.delivery.targets.jsonl.target import JsonLinesTarget
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.errors import UserError
from fleet.streaming.records import pipeline_record
from tests.fleet.delivery.samples import SAMPLE_COLUMNS, batch, with_values
from tests.fleet.delivery.swept import open_collector, sweep_into
from tests.fleet.verify.damage import damage
from tests.worker.further import attributes, write_kinds
from tests.worker.samples import IDENTITY

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


OWN = """
device: sensor_id
{seq}
ts: timestamp as {time}
temp_f: temperature from C to F
temp: {{k: temperature from C to K, c: temperature}}
site: = north
alarm: anomaly_flag as boolean
air: co2
"""
KNOWN = KnownColumns(frozenset(("co2",)), ("temperature", "co2"))


def own_record(text: str = OWN, seq: str = "n: seq", time: str = "epoch_ms") -> MappedRecord:
    return MappedRecord("own", yaml.safe_load(text.format(seq=seq, time=time)), KNOWN)


def test_a_record_of_the_users_own() -> None:
    """A column that the database does not have is null."""
    (document,) = own_record().documents(with_values(batch(1, 2), 1, temperature=21.37))

    expected = {
        "device": "KIN_1",
        "n": 0,
        "ts": 1767261590000,
        "temp_f": 70.466,
        "temp": {"k": 294.52, "c": 21.37},
        "site": "north",
        "alarm": True,
        "air": None,
    }
    assert list(expected.items()) == list(document.items())
    reading = {"sensor_id": "KIN_1", "seq": 0, "timestamp": "2026-01-01T09:59:50.000000+00:00", "temperature": 21.37}
    assert reading | {"anomaly_flag": 1, "co2": None} == own_record().reading(document)
    assert "temp.c 21.38" in own_record().reading(document | {"temp": {"k": 294.52, "c": 21.38}})["temperature"]


def test_a_reading_that_cannot_have_the_shape_is_refused() -> None:
    readings = with_values(with_values(batch(1, 4), 2, temperature="hot"), 3, timestamp="noon")

    assert {2: "record own: temp_f: 'hot' is no number, and has no unit", 3: "record own: ts: 'noon' is no time"} == (
        own_record().unfit(readings)
    )
    required = MappedRecord("own", {"t": "required humidity"}, KNOWN)
    assert {1, 2, 3} == required.unfit(batch(1, 4)).keys()


def test_the_records_of_the_program_have_the_fields_of_the_source_documents() -> None:
    known = columns_of_fleet(None)
    source = SourceDatabase(Path("p.db"), "p.db", "g", (*SAMPLE_COLUMNS, "type", "flow_rate", "mile_post"))
    (row,) = batch(1, 2).rows
    values = Batch(source, ((*row, "flow_rate", 12984.71, 203.7),))
    pipeline = record_named("pipeline")
    (document,) = pipeline.documents(values)

    assert ("flow_rate", 12984.71) == (document["type"], document["value"])
    assert {"lat": -4.32459, "lon": None, "mile_post": 203.7} == document["location"]
    assert 12984.71 == pipeline.reading(document)["flow_rate"]
    attributes = (("type", "flow_rate"), ("unit", "bbl/hr"), ("mile_post", 203.7), ("pipeline_id", "P"))
    streamed = pipeline_record(replace(IDENTITY, attributes=attributes), ["status", "quality_score", "alert_level"])
    assert list(streamed) == list(document)
    assert list(streamed["location"]) == list(document["location"])  # type: ignore[arg-type]
    assert "type: the reading has no value of type" in pipeline.unfit(batch(1, 2))[1]
    assert {"temperature", "flow_rate", "valve_position"} <= set(known.channels)
    bme280 = record_named("bme280")
    assert ["device_id", "temperature_c", "humidity", "pressure_hpa", "timestamp", "metadata"] == list(
        bme280.documents(values)[0]
    )
    assert (
        "in_weather_event: the reading has no value"
        in bme280.unfit(
            Batch(
                replace(source, columns=(*SAMPLE_COLUMNS, "pressure")),
                ((*with_values(batch(1, 2), 1, humidity=5.0).rows[0], 1.0),),
            )
        )[1]
    )


@pytest.mark.parametrize(
    ("seq", "time"), [("n: seq", "epoch_ms"), ("n: seq", "iso_s"), ("x: = 1", "epoch_us"), ("x: = 1", "epoch_s")]
)
def test_what_a_record_of_the_users_own_has_is_compared(seq: str, time: str, data: Path, tmp_path: Path) -> None:
    """By sensor and seq, or by sensor and time, even if several readings have the same."""
    path, description = tmp_path / "out.jsonl", tmp_path / "own.yaml"
    description.write_text(OWN.format(seq=seq, time=time).replace("air: co2\n", ""))
    sweep_into(open_target(f"jsonl:{path}", TargetOptions(record=record_named(str(description)))), data)
    options = ComparisonOptions(f"jsonl:{path}", record=str(description), complete=True)
    verdict = compare(data, options)
    assert ({}, 0) == (dict(verdict.counts), verdict.generated - verdict.arrived)

    lines = path.read_text().splitlines()
    warm = next(number for number, line in enumerate(lines) if json.loads(line)["temp_f"] is not None)
    altered = json.loads(lines[warm])
    lines[warm] = json.dumps(altered | {"temp_f": altered["temp_f"] + 1e-9})
    del lines[-1]
    path.write_text("\n".join(lines) + "\n")

    assert {"delivered altered": 1, "not delivered": 1} == compare(data, options).counts


def test_a_value_that_the_record_has_less_exactly_is_not_altered(data: Path, tmp_path: Path) -> None:
    """Of another program, with more digits than a number in the other unit tells apart."""
    for database in data.glob("*.db"):
        damage(database, "UPDATE sensor_readings SET temperature = temperature / 3 + 1.0000000000000002")
    path, description = tmp_path / "out.jsonl", tmp_path / "own.yaml"
    description.write_text("device: sensor_id\nn: seq\nf: temperature from C to F\n")
    record = record_named(str(description))
    sweep_into(open_target(f"jsonl:{path}", TargetOptions(record=record)), data)
    options = ComparisonOptions(f"jsonl:{path}", record=str(description), complete=True)
    assert {} == compare(data, options).counts

    documents = [json.loads(line) for line in path.read_text().splitlines()]
    warm = next(document for document in documents if document["f"] is not None)
    warm["f"] += 1e-9
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    assert {"delivered altered": 1} == compare(data, options).counts


def test_an_altered_time_is_found_by_its_seq(data: Path, tmp_path: Path) -> None:
    path, description = tmp_path / "out.jsonl", tmp_path / "own.yaml"
    description.write_text("device: sensor_id\nn: seq\nts: timestamp as epoch_ms\n")
    sweep_into(open_target(f"jsonl:{path}", TargetOptions(record=record_named(str(description)))), data)
    lines = path.read_text().splitlines()
    late = json.loads(lines[4])
    lines[4] = json.dumps(late | {"ts": late["ts"] + 86_400_001})
    path.write_text("\n".join(lines) + "\n")

    verdict = compare(data, ComparisonOptions(f"jsonl:{path}", record=str(description), complete=True))

    assert {"delivered altered": 1} == verdict.counts
    assert "timestamp" in verdict.findings[0].detail


def test_what_no_target_can_have_is_given_up_and_left_behind(data: Path, tmp_path: Path) -> None:
    """The sweep ends although the cursor of the file never moves."""
    path = tmp_path / "out.jsonl"
    record = record_named("bme280")
    with open_collector(JsonLinesTarget(path, record), data, marking=False, batch_size=5) as (collector, context):
        context.record = record
        collector.sweep()
        collector.sweep()
        dead = sum(each.dead for each in context.stats.databases.values())

    assert "" == path.read_text()
    letters = (data / STATE_FOLDER / "dead-letters.jsonl").read_text().splitlines()
    assert 0 < dead == len(letters)
    assert "the reading has no value of" in json.loads(letters[0])["reason"]


@pytest.mark.parametrize("target", ["sqlite:///central.db", "postgresql://h/d", "parquet:dir"])
def test_a_target_with_columns_takes_no_record(target: str) -> None:
    with pytest.raises(UserError, match=r"--record: pipeline: [a-z]+ has columns and no documents"):
        record_for(target, "pipeline")

    assert "row" == record_for(target, None).name == record_for(target, "row").name


def test_an_unknown_record_names_the_known_ones(tmp_path: Path) -> None:
    message = "--record: rows is no record: allowed is row, nested, bme280, pipeline, own, or a file that ends in .yaml"
    with pytest.raises(UserError, match=message):
        record_named("rows", tmp_path, {"own": {"id": "sensor_id"}})
    with pytest.raises(UserError, match="cannot be read: no such file"):
        record_named(str(tmp_path / "none.yaml"))
