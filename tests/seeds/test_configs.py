"""Every simulator config of the source documents, as it was written, loads and runs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from fleet.config.config import load_config
from fleet.verify.verification import verify
from tests.process.evidence import assert_complete
from tests.process.running_fleet import fleet

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "source_documents"


class Expected(NamedTuple):
    """What a block asks for. `rate` None: it names none, so a run may have one that shows more in less time. `http`
    False: neither does it speak of that."""

    sensors: int = 1
    rate: int | None = None
    ids: str = ""
    http: bool = False


BLOCKS = {
    "000-complete-version-2": Expected(rate=1, http=True),
    "001-chaos-test": Expected(),
    "001-load-test": Expected(sensors=100, rate=10, ids="LOAD_TEST_"),
    "001-ml-training": Expected(),
    "001-basic": Expected(rate=1),
    "001-random-location-with-replicas": Expected(sensors=5, ids="SENSOR_"),
    "001-zero-anomaly": Expected(ids="SENSOR001"),
    "001-monitoring": Expected(http=True),
    "001-sensor-decay": Expected(),
    "001-global-network": Expected(sensors=50, ids="GLOBAL_"),
    "001-debug-logging": Expected(),
    "002-factory": Expected(rate=1),
    "002-config-reload": Expected(),
}


@pytest.mark.process
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.claim(
    "000.configuration-file.1",
    "000.overview-quick.1",
    "001.advanced-testing.2",
    "001.common-use.1",
    "001.common-use.2",
    "001.common-use.3",
    "001.example-configurations.1",
    "001.troubleshooting.1",
    "002.dynamic-configuration.6",
    "002.getting-started.1",
    "002.introduction-features.2",
)
def test_a_config_runs_as_it_was_written(block: str, tmp_path: Path) -> None:
    """Flags move it to a folder and a port of its own and end it; each sensor it asks for has each reading that was
    due, and all of them compute again."""
    asked = BLOCKS[block]
    data = tmp_path / "data"
    http = ["--host", "127.0.0.1", "--port", 0] if asked.http else ["--no-http"]
    flags = ["--data", data, *http, "--for", "0.5s"]
    rate = asked.rate or 20

    ran = fleet("up", "-c", CONFIGS / f"{block}.yaml", *flags, *([] if asked.rate else ["--rate", rate]), cwd=tmp_path)

    assert 0 == ran.returncode, ran.stdout + ran.stderr
    sensors = assert_complete(data, asked.sensors, max(1, rate // 2))
    assert [] == [sensor for sensor in sensors if not sensor.startswith(asked.ids)]
    assert verify(data, complete=True).ok
    assert [data] == list(tmp_path.iterdir())


def test_a_block_without_a_config_of_its_own_is_none() -> None:
    """The table above, the folder and the manifest name the same configs, and what the manifest names is there."""
    manifest = tomllib.loads((Path(__file__).parent / "manifest.toml").read_text())
    kept = [block["file"] for block in manifest["block"] if "file" in block]

    assert sorted(BLOCKS) == sorted(path.stem for path in CONFIGS.iterdir())
    assert sorted(BLOCKS) == sorted(Path(file).stem for file in kept if file.endswith(".yaml"))
    assert [] == [file for file in kept if not (ROOT / file).is_file()]
    data = Path(__file__).parent / "data"
    assert {path.name for path in data.iterdir()} == {
        Path(file).name for file in kept if file.startswith("tests/seeds/data/")
    }


def test_the_manifest_names_tests_that_exist() -> None:
    """So that nobody has to look for what shows that a block works."""
    manifest = tomllib.loads((Path(__file__).parent / "manifest.toml").read_text())
    named = {block["tested_by"] for block in manifest["block"] if "file" in block}

    assert set() == {name for name in named if not (ROOT / name).exists()}


@pytest.mark.claim("001.example-configurations.1")
def test_a_zero_anomaly_config_has_none() -> None:
    config = load_config(CONFIGS / "001-zero-anomaly.yaml")

    assert (False, 0) == (config.anomalies.enabled, config.anomalies.probability)


@pytest.mark.claim("000.configuration-file.10", "001.http-monitoring.6")
def test_monitoring_is_where_the_document_puts_it() -> None:
    """On all addresses, because it asks for them."""
    monitoring = load_config(CONFIGS / "001-monitoring.yaml").monitoring

    assert (True, "0.0.0.0", 8080) == (monitoring.enabled, monitoring.host, monitoring.port)
