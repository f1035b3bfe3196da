"""What the program prints about itself: complete, and made from the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import pytest
from click.testing import CliRunner

from fleet.cli import cli
from fleet.commands.llm_page import llm_docs, walk_commands
from fleet.commands.worker import worker
from fleet.config.config import Config
from fleet.config.sources import ENVIRONMENT_VARIABLES
from fleet.identities.fields import SECTION_PATHS
from fleet.identities.files import read_identity
from fleet.validation.scalars import Section
from tests.process.evidence import COLUMNS
from worker.readings.anomalies import ANOMALY_TYPES

pytestmark = pytest.mark.claim("000.code-structure.4")


@pytest.fixture(scope="module")
def docs() -> str:
    return llm_docs()


def plain_keys(section: type[Section], above: str = "") -> list[str]:
    """The options of a section and of those below it, but for mappings from names."""
    found = []
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += plain_keys(field.annotation, f"{above}{key}.")
        elif field.annotation is not None and "Mapping" not in str(field.annotation):
            found.append(f"{above}{key}")
    return found


def test_every_option_is_documented(docs: str) -> None:
    keys = plain_keys(Config)

    assert [] == [key for key in keys if f"| `{key}` | " not in docs]
    assert {"simulation.readings_per_second", "anomalies.types.spike.weight"} < set(keys)
    assert "| `normal_parameters.NAME.mean` | number" in docs


def test_every_command_variable_document_and_kind_is_there(docs: str) -> None:
    wanted = [f"### {name}\n" for name, _ in walk_commands("fleet", cli)] + ["### python -m worker\n"]
    wanted += [f"| `{name}` | " for name in (*ENVIRONMENT_VARIABLES, "CONFIG_FILE", "IDENTITY_FILE")]
    wanted += [f"| `/{path}` | " for path in ("healthz", "statusz", "metricz", "samplez", "db_stats", "livez")]
    wanted += [f"- {kind}: " for kind in ANOMALY_TYPES]
    wanted += ["CREATE TABLE IF NOT EXISTS sensor_readings (", "VibrationPlus"]

    assert [] == [text for text in wanted if text not in docs]
    assert [] == [line for line in docs.splitlines() if line.endswith("|  |") and line.startswith("| `/")], (
        "no docstring"
    )


@pytest.mark.claim("001.key-features.10", "001.llm-integration.2")
def test_both_commands_print_it(docs: str) -> None:
    for command, arguments in ((cli, ["docs", "--llm"]), (worker, ["--llm-docs"])):
        printed = CliRunner().invoke(command, arguments, standalone_mode=False)

        assert docs == printed.output


def test_the_schema_is_that_of_a_database() -> None:
    """Its statements make one, and its columns are those that readers know."""
    schema = printed_schema()
    connection = apsw.Connection(":memory:")
    for table in schema["tables"].values():
        connection.execute(table["sql"])
    for index in schema["indexes"].values():
        connection.execute(index["sql"])
    made = [name for _, name, *_ in connection.execute("PRAGMA table_info(sensor_readings)")]
    connection.close()

    columns = schema["tables"]["sensor_readings"]["columns"]
    assert COLUMNS == [column["name"] for column in columns][: len(COLUMNS)] == made[: len(COLUMNS)]
    assert len(COLUMNS) == len(columns)
    assert {"name": "synced", "type": "INTEGER", "not_null": False, "default": "0", "primary_key": False} in columns
    assert {"temperature": {"environmental": "°C"}}.items() <= units(schema).items()


def printed_schema(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(worker, ["--output-schema", *arguments], standalone_mode=False)
    assert result.exception is None
    schema: dict[str, Any] = json.loads(result.output)
    return schema


def units(schema: dict[str, Any]) -> dict[str, dict[str, str]]:
    columns = schema["tables"]["sensor_readings"]["columns"]
    return {column["name"]: column["units"] for column in columns if "units" in column}


def test_the_schema_has_the_columns_of_the_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all kinds that a config mixes, or of that of the identity, in their types; channels in the unit of each kind."""
    config, identity = tmp_path / "mixed.yaml", tmp_path / "one.json"
    config.write_text("replicas: {kinds: {pipeline: 1, bme280: 1}}")
    identity.write_text('{"id": "ONE", "type": "bme280"}')
    mixed = printed_schema("--config", str(config))
    one = printed_schema("--config", str(config), "--identity", str(identity))
    monkeypatch.setenv("SENSOR_TYPE", "pipeline")
    alone = printed_schema()

    def further(schema: dict[str, Any]) -> dict[str, str]:
        columns = schema["tables"]["sensor_readings"]["columns"][len(COLUMNS) :]
        return {column["name"]: column["type"] for column in columns}

    weather = {"in_weather_event": "INTEGER", "weather_event_type": "TEXT"}
    assert weather == further(one)
    assert {"flow_rate": "REAL", "mile_post": "REAL", "status": "TEXT"}.items() <= further(alone).items()
    assert further(alone) | weather == further(mixed)
    assert {"pipeline": "bbl/hr"} == units(mixed)["flow_rate"]
    assert {"pipeline": "°F", "bme280": "°C"} == units(mixed)["temperature"]


def test_the_schema_has_the_channels_of_the_config(tmp_path: Path) -> None:
    """A config that lists some channels has those alone, in its own units."""
    config = tmp_path / "air.yaml"
    config.write_text("sensor: {type: air_quality}\nnormal_parameters: {co2: {unit: ppmv}}")

    schema = printed_schema("--config", str(config))
    names = [column["name"] for column in schema["tables"]["sensor_readings"]["columns"]]

    assert ({"co2": {"air_quality": "ppmv"}}, "pm25" in names) == (units(schema), False)


@pytest.mark.claim("000.overview-quick.5")
def test_a_new_identity_is_whole_and_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every section of the nested format, no trace of a fleet, and another sensor each time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SENSOR_LOCATION", "Hall 7")
    written = CliRunner().invoke(worker, ["--generate-identity", "new.json"], standalone_mode=False)
    printed = CliRunner().invoke(worker, ["--generate-identity"], standalone_mode=False)

    document = json.loads((tmp_path / "new.json").read_text())
    sensor = read_identity(tmp_path / "new.json")
    assert f"{sensor.sensor_id} in new.json\n" == written.output
    assert {path[0] for path in SECTION_PATHS} | {"sensor_id", "type"} == document.keys()
    assert ((), None, "Hall 7") == (sensor.warnings, sensor.origin, sensor.identity.location)
    assert json.loads(printed.output).keys() == document.keys()
    assert json.loads(printed.output) != document
