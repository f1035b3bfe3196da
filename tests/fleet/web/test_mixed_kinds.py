"""The documents, pages and metrics of a fleet whose sensors have different channels, units and attributes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fleet.monitoring.observation import Observer
from fleet.monitoring.stats import format_value
from fleet.web.documents.snapshot import scaled_channel
from tests.fleet.mixed import KINDS, PIPELINE, MixedFleet, mixed_sensor, mixed_with_readings
from tests.fleet.staged import StagedFleet, client_of
from worker.scoreboard import MAX_CHANNELS

KEYS = (
    *("temperature (°C)", "humidity", "flow_rate", "temperature (fahrenheit)", "line_pressure", "vibration"),
    *("ph_level", "leak_rate", "density", "valve_position", "people"),
)


@pytest.fixture
def staged(tmp_path: Path) -> MixedFleet:
    return mixed_with_readings(tmp_path / "data", 6, 30)


@pytest.fixture
def client(staged: MixedFleet) -> FlaskClient:
    return client_of(staged)


def answered(client: FlaskClient, path: str) -> Any:
    response = client.get(path)
    assert 200 == response.status_code, response.data
    return json.loads(response.data)


def test_a_name_in_two_units_is_two_channels(client: FlaskClient) -> None:
    """Each has a key and values of its own; a sensor has values for its own channels only."""
    who, now = answered(client, "/api/sensors"), answered(client, "/api/snapshot")

    assert KEYS == tuple(channel["key"] for channel in who["channels"]) == tuple(now["values"])
    assert [["temperature (°C)", "humidity"], list(KEYS[2:10]), ["people"]] == who["channel_sets"]
    assert [0, 1, 2, 0, 1, 2] == who["sets"]
    assert [*KINDS, *KINDS] == who["sensor_type"]
    known = {key: [value is not None for value in column["values"]] for key, column in now["values"].items()}
    assert [True, False, False] * 2 == known["temperature (°C)"] == known["humidity"]
    assert [False, True, False] * 2 == known["temperature (fahrenheit)"] == known["leak_rate"]
    celsius, fahrenheit = (now["values"][f"temperature ({unit})"] for unit in ("°C", "fahrenheit"))
    assert 15 < celsius["values"][0] / celsius["scale"] < 30
    assert 80 < fahrenheit["values"][1] / fahrenheit["scale"] < 140


def test_small_values_keep_their_digits(staged: MixedFleet) -> None:
    """A snapshot has at least three digits of values far below 1; a value too large for that scale is left out."""
    staged.scoreboard.rows["values"][1, 5] = 0.00213
    staged.scoreboard.rows["values"][4, 5] = 1e11
    column = scaled_channel(Observer(staged.run, tick=0).observe(), "leak_rate")
    staged.scoreboard.rows["values"][4, 5] = 0.0019
    both = scaled_channel(Observer(staged.run, tick=0).observe(), "leak_rate")

    assert [None, 1e11] == [column["values"][0], column["values"][4] / column["scale"]]
    assert [0.00213, 0.0019] == [both["values"][number] / both["scale"] for number in (1, 4)]
    assert ("0.00213", "–0.00213", "0.510", "1,210") == tuple(
        format_value(value).replace("-", "–") for value in (0.00213, -0.00213, 0.51, 1210.4)
    )


def test_the_attributes_of_a_sensor(client: FlaskClient) -> None:
    """Its document and its page have them; `kind` selects in the list of sensors."""
    pipe = mixed_sensor(1)
    document, page = answered(client, f"/workers/{pipe}"), client.get(f"/sensors/{pipe}").get_data(as_text=True)

    assert {"pipeline_id": "PIPE-NORTH-7", "mile_post": 12.4, "crew": None} == document["identity"]["attributes"]
    facts = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page))
    assert ("PIPE-NORTH-7", "12.4", "pipeline") == (facts["pipeline id"], facts["mile post"], facts["kind"])
    assert "crew" not in facts
    listed = answered(client, "/workers?kind=pipeline")
    assert (2, [pipe, mixed_sensor(4)]) == (listed["total"], [entry["sensor_id"] for entry in listed["workers"]])
    assert [pipe] == [entry["sensor_id"] for entry in answered(client, "/workers?kind=pipeline&limit=1")["workers"]]
    assert 0 == answered(client, "/workers?kind=none")["total"]
    assert dict.fromkeys(KINDS, 2) == answered(client, "/statusz")["runtime"]["by_kind"]


@pytest.mark.parametrize("path", [f"/workers/{mixed_sensor(1)}/samplez", "/samplez?limit=1000"])
def test_samples_have_the_further_columns(staged: MixedFleet, client: FlaskClient, path: str) -> None:
    """Behind `seq`: further channels, attributes of the reading, attributes of the sensor."""
    sample = next(each for each in answered(client, path)["samples"] if each["sensor_id"] == mixed_sensor(1))
    names = list(sample)

    assert [
        *("flow_rate", "line_pressure", "ph_level", "leak_rate", "density", "valve_position"),
        *("status", "alert_level", "pipeline_id", "mile_post"),
    ] == names[names.index("seq") + 1 :]
    assert ("ALERT", 2) if sample["anomaly_flag"] else ("OK", 0) == (sample["status"], sample["alert_level"])
    assert ("PIPE-NORTH-7", 12.4) == (sample["pipeline_id"], sample["mile_post"])


def test_tables_of_all_kinds(client: FlaskClient) -> None:
    """The columns that any of the databases has."""
    (readings,) = (table for table in answered(client, "/db_stats")["tables"] if table["name"] == "sensor_readings")
    names = [column["name"] for column in readings["columns"]]

    assert len(names) == len(set(names))
    assert {"seq", "people", "flow_rate", "mile_post"} <= set(names)


def test_metrics_by_channel_and_unit(staged: MixedFleet, client: FlaskClient) -> None:
    text = client.get("/metrics?per_sensor=1").get_data(as_text=True)
    families = {family.name: family for family in parse_text(text)}
    units: dict[tuple[str, str], int] = {}
    for sample in families["fleet_sensor_value"].samples:
        key = (sample.labels["channel"], sample.labels["unit"])
        units[key] = units.get(key, 0) + 1

    assert {(each.name, each.unit): 2 for settings in KINDS.values() for each in settings.channels} == units
    kinds = {
        sample.labels["sensor_id"]: sample.labels["sensor_type"] for sample in families["fleet_sensor_info"].samples
    }
    assert {member.sensor_id: member.identity.sensor_type for member in staged.members} == kinds


def test_the_pages_of_a_mixed_fleet(staged: MixedFleet, client: FlaskClient) -> None:
    """The overview can filter by kind and hides the columns that only one kind has; a sensor's page has its channels."""
    page = client.get("/").get_data(as_text=True)
    heads = dict(re.findall(r'class="cell [^"]*"( hidden)?><button type="button" data-sort="([^"]*)"', page))
    hidden = [
        name
        for state, name in re.findall(r'class="cell [^"]*"( hidden)?><button type="button" data-sort="([^"]*)"', page)
        if state
    ]

    assert heads
    assert [f"channel:{key}" for key in KEYS] == hidden
    assert '<option value="pipeline">pipeline (2)</option>' in page
    assert '<option value="channel:temperature (fahrenheit)">temperature (fahrenheit)</option>' in page
    assert 1 == page.count('<option value="temperature">temperature</option>')
    figures = re.findall(r'data-channel="([^"]*)"', client.get(f"/sensors/{mixed_sensor(1)}").get_data(as_text=True))
    assert [each.name for each in PIPELINE.channels] == figures


def test_one_kind_needs_no_choice(tmp_path: Path) -> None:
    page = client_of(StagedFleet(tmp_path / "data")).get("/").get_data(as_text=True)

    assert 'id="kind"' not in page
    assert 'data-sort="kind"' not in page
    assert 'data-sort="main"' not in page
    assert not re.search(r'class="cell[^>]* hidden', page)


def test_as_many_channels_as_a_sensor_can_have(tmp_path: Path) -> None:
    """Every document has all of them, in any order."""
    staged = StagedFleet(tmp_path / "data", 2)
    names = [f"channel_{number}" for number in range(MAX_CHANNELS)]
    first, second = staged.members
    channels = tuple((name, "V") for name in names)
    staged.members = (
        *(
            first.__class__(**{**_fields(each), "channels": order})
            for each, order in ((first, channels), (second, channels[::-1]))
        ),
    )
    staged.write_roster()
    staged.scoreboard.rows["readings"] = 5
    staged.scoreboard.rows["values"] = range(100, 100 + MAX_CHANNELS)
    client = client_of(staged)
    values = answered(client, "/api/snapshot")["values"]

    assert names == list(values)
    assert [[100, 131], [131, 100]] == [
        [value / values[name]["scale"] for value in values[name]["values"]] for name in (names[0], names[-1])
    ]
    text = client.get("/metrics?per_sensor=1").get_data(as_text=True)
    assert 2 * MAX_CHANNELS == text.count("\nfleet_sensor_value{")
    last = answered(client, f"/workers/{second.sensor_id}")["last_reading"]
    assert (131.0, 100.0) == (last["channel_0"], last["channel_31"])
    assert all(math.isfinite(value) for name, value in last.items() if name != "timestamp")


def _fields(member: Any) -> dict[str, Any]:
    return {name: getattr(member, name) for name in member.__dataclass_fields__}
