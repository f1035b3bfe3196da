"""The records that a config describes, and the conversions of their values, forwards and backwards."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli import cli
from fleet.config.config import load_config, to_yaml
from fleet.config.record_conversions import TIME_FORMS, UNIT_ALIASES, UNITS, Conversion, UnitConversion
from fleet.errors import UserError

OWN = """
delivery:
  to: [{to: jsonl:a.jsonl, record: own}, {to: jsonl:b.jsonl, record: file.yaml}]
  records:
    own: {id: sensor_id, ts: timestamp as epoch_ms, t: {f: required temperature from C to F}, site: '= "1"'}
"""
TIME = "2026-01-01T09:59:50.123456+00:00"


@pytest.mark.parametrize(
    ("form", "written", "read"),
    [
        ("iso_s", "2026-01-01T09:59:50Z", "2026-01-01T09:59:50.000000+00:00"),
        ("iso_ms", "2026-01-01T09:59:50.123Z", "2026-01-01T09:59:50.123000+00:00"),
        ("iso_us", "2026-01-01T09:59:50.123456Z", TIME),
        ("iso_ns", "2026-01-01T09:59:50.123456000Z", TIME),
        ("epoch_s", 1767261590, "2026-01-01T09:59:50.000000+00:00"),
        ("epoch_ms", 1767261590123, "2026-01-01T09:59:50.123000+00:00"),
        ("epoch_us", 1767261590123456, TIME),
        ("epoch_ns", 1767261590123456000, TIME),
    ],
)
def test_a_time_is_cut_off(form: str, written: object, read: str) -> None:
    conversion = TIME_FORMS[form]

    assert written == conversion.forward(TIME) == conversion.forward(TIME.replace("T", " "))
    assert read == conversion.backward(written)
    assert "noon" == conversion.backward("noon")


@pytest.mark.parametrize(
    ("units", "value", "converted"),
    [
        ("C F", 21.37, 70.466),
        ("F C", 70.466, 21.37),
        ("°C K", 22.89, 296.04),
        ("hPa Pa", 1012.13, 101213.0),
        ("Pa psi", 101325.0, 14.695948775513449),
        ("m/s km/h", 2.5, 9.0),
        ("mm/s2 g", 9806.65, 1.0),
        ("% 1", 12.5, 0.125),
    ],
)
def test_a_unit_is_converted_exactly(units: str, value: float, converted: float) -> None:
    conversion = UnitConversion(*units.split())

    assert converted == conversion.forward(value)
    assert value == conversion.backward(converted)


def test_each_conversion_reads_back_what_it_has_written() -> None:
    """Of numbers as a channel has them; an altered number is another one."""
    draw = random.Random(5)
    names = [*UNITS, *UNIT_ALIASES]
    pairs = [(a, b) for a in names for b in names if unit_of(a) == unit_of(b)]
    for one, other in pairs:
        conversion: Conversion = UnitConversion(one, other)
        for _ in range(20):
            value = round(draw.uniform(-1e5, 1e5), draw.randrange(6))
            assert value == conversion.backward(conversion.forward(value)), (one, other)
    fahrenheit = UnitConversion("C", "F")
    assert 21.37 != fahrenheit.backward(70.47)
    assert (None, "much", True) == tuple(map(fahrenheit.backward, (None, "much", True)))


def unit_of(name: str) -> str:
    return UNITS[UNIT_ALIASES.get(name, name)].quantity


def write(folder: Path, text: str, file: str = "id: sensor_id\n") -> Path:
    (folder / "file.yaml").write_text(file)
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path


def test_a_config_has_the_fields_of_its_files(tmp_path: Path) -> None:
    """The file is not needed afterwards."""
    config = load_config(write(tmp_path, OWN))
    name = str(tmp_path / "file.yaml")

    assert ["own", name] == [target.record for target in config.delivery.to]
    assert {"id": "sensor_id"} == config.delivery.records[name]
    (tmp_path / "file.yaml").unlink()
    (tmp_path / "fleet.yaml").write_text(to_yaml(config))
    assert config == load_config(tmp_path / "fleet.yaml")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            "presure",
            "fleet.yaml:5:15: delivery.records.own.x: 'presure' is no column of a reading; did you mean 'pressure'?",
        ),
        (
            "temperature in F",
            "fleet.yaml:5:15: delivery.records.own.x: 'temperature in F' is no field of a record, such as",
        ),
        ("temperature from C to psi", "C does not convert to psi: allowed is K, C, F"),
        ("sensor_id as epoch_ms", "'sensor_id as epoch_ms': only timestamp is a time"),
        ("pressure from hPa to psi", "fleet.yaml:5:15: delivery.records.own.x: pressure is in Pa, not in hPa"),
        ("{}", "delivery.records.own.x: has no fields"),
        ("[seq]", "a list is no field of a record"),
        ("", "nothing is no field of a record"),
    ],
)
def test_an_error_in_a_record_has_its_place(tmp_path: Path, field: str, message: str) -> None:
    text = f"delivery:\n  to: [{{to: jsonl:a, record: own}}]\n  records:\n    own:\n      x:      {field}\n"
    with pytest.raises(UserError) as found:
        load_config(write(tmp_path, text))

    assert message in str(found.value)


def test_an_error_in_a_file_has_its_place_there(tmp_path: Path) -> None:
    with pytest.raises(UserError) as found:
        load_config(write(tmp_path, OWN, "id: sensor_id\ninner:\n  x: presure\n"))
    assert f"{tmp_path}/file.yaml:3:6: inner.x: 'presure' is no column" in str(found.value)

    with pytest.raises(UserError) as found:
        load_config(write(tmp_path, OWN.replace("file.yaml", "none.yaml")))
    assert "fleet.yaml:3:70: delivery.to[1].record: none.yaml does not exist (looked for" in str(found.value)

    with pytest.raises(UserError) as found:
        load_config(write(tmp_path, "delivery: [{to: jsonl:a, record: rows}]"))
    message = "record: rows is no record: allowed is bme280, nested, pipeline, row, or a file that ends in .yaml"
    assert f"delivery[0].{message}" in str(found.value)

    result = CliRunner().invoke(cli, ("up", "--to", "jsonl:a", "--record", "rows", "--data", str(tmp_path)))
    assert str(result.exception) == f"--{message}"


def test_the_unit_that_the_config_states_counts(tmp_path: Path) -> None:
    records = "delivery: {to: [{to: jsonl:a, record: o}], records: {o: {id: sensor_id, p: pressure from hPa to psi}}}\n"
    stated = "normal_parameters: {pressure: {unit: hPa, mean: 1013, std_dev: 5, min: 950, max: 1050}}\n"

    load_config(write(tmp_path, records + stated))
    with pytest.raises(UserError, match="pressure is in Pa or hPa, not in bar"):
        load_config(
            write(tmp_path, records.replace("hPa", "bar") + "replicas: {kinds: {environmental: 1, bme280: 1}}\n")
        )


def test_a_column_of_a_kind_of_the_config_is_known(tmp_path: Path) -> None:
    kind = "channels: {spin: {unit: rpm, mean: 5, std_dev: 1, min: 0, max: 9}}\n"
    (tmp_path / "wheel.yaml").write_text(kind)
    text = "kinds: [wheel.yaml]\ndelivery: {to: [{to: jsonl:a, record: o}], records: {o: {s: spin, id: sensor_id}}}"

    assert {"s": "spin", "id": "sensor_id"} == load_config(write(tmp_path, text)).delivery.records["o"]
    with pytest.raises(UserError, match="'spin' is no column"):
        load_config(write(tmp_path, text.partition("\n")[2]))
