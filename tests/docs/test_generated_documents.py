"""What the program prints about itself: complete, and made from the code."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner

from fleet.cli import cli
from fleet.commands.llm_page import llm_docs, walk_commands
from fleet.commands.worker import worker
from fleet.config.config import Config
from fleet.config.sources import ENVIRONMENT_VARIABLES
from fleet.datadir.database_schema import database_schema
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
    printed = CliRunner().invoke(worker, ["--output-schema"], standalone_mode=False).output
    schema = json.loads(printed)
    connection = apsw.Connection(":memory:")
    for table in schema["tables"].values():
        connection.execute(table["sql"])
    for index in schema["indexes"].values():
        connection.execute(index["sql"])
    made = [name for _, name, *_ in connection.execute("PRAGMA table_info(sensor_readings)")]
    connection.close()

    assert database_schema() == schema
    columns = schema["tables"]["sensor_readings"]["columns"]
    assert COLUMNS == [column["name"] for column in columns][: len(COLUMNS)] == made[: len(COLUMNS)]
    assert {"name": "synced", "type": "INTEGER", "not_null": False, "default": "0", "primary_key": False} in columns


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
