"""Variables of the environment go over the config's file, and what a sensor is also over its identity's."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, load_config
from fleet.config.sources import ENVIRONMENT_VARIABLES
from fleet.errors import UserError
from fleet.identities.provisioning import unknown_hardware_warnings
from fleet.verify.verification import verify
from tests.process.evidence import read_records
from tests.process.running_fleet import ENVIRONMENT, FleetProcess, command
from worker.spec import Identity

pytestmark = pytest.mark.claim("001.environment-variables.1", "002.technical-implementation.3")

OTHERS = {
    "IDENTITY_FILE": "who.json",
    "SENSOR_ID": "CHI_123456",
    "SENSOR_LOCATION": "Factory Floor 3",
    "SENSOR_TYPE": "temperature_vibration",
    "SENSOR_MANUFACTURER": "DataSense",
    "SENSOR_MODEL": "TempVibe-2000",
    "SENSOR_FIRMWARE": "1.3",
    "SIMULATION_SPEED": "60",
    "SIMULATION_BACKFILL": "90.0",
    "LOG_LEVEL": "ERROR",
    "PRESERVE_EXISTING_DB": "false",
    "MONITORING_ENABLED": "false",
    "MONITORING_HOST": "0.0.0.0",
    "MONITORING_PORT": "9000",
    "MONITORING_ALLOWED_HOSTS": "fleet.example.com, fleet",
}
FILE = """
sensor: {type: temperature_vibration, manufacturer: SensorTech, model: TempVibe-1000, firmware_version: 1.4}
monitoring: {enabled: true, port: 1}
logging: {level: DEBUG}
"""


def value(config: Config, key: str) -> object:
    here: object = config
    for part in key.split("."):
        here = getattr(here, part)
    return here


@pytest.mark.parametrize("name", ENVIRONMENT_VARIABLES)
@pytest.mark.claim("000.environment-variables.2", "001.environment-variables.2", "001.environment-variables.5")
def test_a_variable_beats_the_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every key that it is about; an empty one counts as not set."""
    path = tmp_path / "fleet.yaml"
    monkeypatch.chdir(tmp_path)
    path.write_text("" if name == "SENSOR_TYPE" else FILE)  # the others of its section go with its type
    Path("who.json").write_text("{}")
    before, after = load_config(path, {name: ""}), load_config(path, {name: OTHERS[name]})

    for key in ENVIRONMENT_VARIABLES[name]:
        assert value(load_config(path), key) == value(before, key)
        assert value(before, key) != value(after, key)
        now = value(after, key)
        assert OTHERS[name].lower() == (", ".join(now) if isinstance(now, tuple) else str(now).lower())


@pytest.mark.claim("000.advanced-features.8", "001.troubleshooting.2")
def test_the_folder_for_temporary_files_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself would take another one and say nothing."""
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")

    assert load_config(None, {"SQLITE_TMPDIR": str(tmp_path)}) == load_config(None)
    for name in ("none", "file"):
        with pytest.raises(UserError) as raised:
            load_config(None, {"SQLITE_TMPDIR": name})
        place = "environment variable SQLITE_TMPDIR"
        assert f"{place}: '{name}' is not a folder that this user can write to" == str(raised.value)


@pytest.mark.claim("000.environment-variables.4")
def test_sqlite_puts_its_temporary_files_there(tmp_path: Path) -> None:
    """They are deleted as soon as they are open, so a process's own list of files shows where they were."""
    program = f"""
import os, apsw
connection = apsw.Connection("")
connection.execute("PRAGMA cache_size = 10")
connection.execute("CREATE TABLE t (a)")
connection.execute("WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) INSERT INTO t SELECT randomblob(1000) FROM n")
names = []
for fd in os.listdir("/proc/self/fd"):
    if os.path.lexists(f"/proc/self/fd/{{fd}}"):
        names.append(os.readlink(f"/proc/self/fd/{{fd}}"))
print(any(name.startswith({str(tmp_path)!r}) for name in names))
"""
    if not Path("/proc/self/fd").exists():
        pytest.skip("there is no /proc")
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "SQLITE_TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "True\n" == ran.stdout


def up(tmp_path: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("up", "--data", "data", "--no-http", "--rate", 20, "--for", "0.5s", "--replicas", 1, *arguments),
        cwd=tmp_path,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
@pytest.mark.claim("001.advanced-testing.3")
def test_a_firmware_roll_out_by_the_environment(tmp_path: Path) -> None:
    """The same command with another SENSOR_FIRMWARE goes on as the same sensor with that firmware; without it, the
    sensor has its own again. Each is an epoch on record."""
    versions = ("1.4", "3.0.0-beta")
    for version in versions:
        ran = up(tmp_path, "--seed", 5, SENSOR_FIRMWARE=version)
        assert 0 == ran.returncode, ran.stderr
        assert "warning" not in ran.stdout
    assert 0 == up(tmp_path).returncode

    ((_, seen),) = read_records(tmp_path / "data").items()
    actual = list(dict.fromkeys(row[11] for _, row in seen.readings))
    assert list(versions) == actual[:2]
    assert 3 == len(actual)
    assert [0, 10, 20] == [first for first, _ in seen.epochs]
    assert verify(tmp_path / "data", complete=True).ok


@pytest.mark.process
@pytest.mark.claim("000.environment-variables.3", "001.quick-start.3")
def test_an_identity_is_overridden(tmp_path: Path) -> None:
    """Whose file the environment names, and what of it the environment knows better."""
    (tmp_path / "who.json").write_text(
        '{"id": "A_1", "location": "Hall", "timezone": "UTC", "firmware_version": "2.1"}'
    )

    ran = up(tmp_path, IDENTITY_FILE="who.json", SENSOR_ID="B_2", SENSOR_LOCATION="Roof", SENSOR_FIRMWARE="1.0")

    assert 0 == ran.returncode, ran.stdout + ran.stderr
    ((sensor, seen),) = read_records(tmp_path / "data").items()
    assert ("B_2", {("1.0", "Roof")}) == (sensor, {(row[11], row[16]) for _, row in seen.readings})


@pytest.mark.process
def test_a_worker_has_the_environment_of_its_fleet(tmp_path: Path) -> None:
    """SQLite looks for SQLITE_TMPDIR in the process that writes."""
    environment = {"SQLITE_TMPDIR": str(tmp_path)}
    running = FleetProcess(tmp_path / "data", tmp_path / "output", "--replicas", 1, environment=environment)
    try:
        running.ready()
        (sensor,) = running.sensors
        actual = psutil.Process(int(running.row(sensor)["pid"])).environ()
    finally:
        running.end()

    assert str(tmp_path) == actual["SQLITE_TMPDIR"]


@pytest.mark.process
@pytest.mark.claim("001.configuration-options.6")
def test_a_stranger_is_told_of_or_refused(tmp_path: Path) -> None:
    """Hardware that the catalogue does not know is used with a warning, unless the config is strict."""
    (tmp_path / "who.json").write_text('{"id": "A_1", "timezone": "UTC", "firmware_version": "DLG_v3"}')
    (tmp_path / "strict.yaml").write_text("identities: {path: who.json, strict: true}")
    line = 'A_1: firmware_version "DLG_v3" is not one of the catalogue\'s: 1.0, 1.2.0, '

    refused, actual = up(tmp_path, "-c", "strict.yaml"), up(tmp_path, IDENTITY_FILE="who.json")

    assert (1, f"fleet: {line}") == (refused.returncode, refused.stderr[: len(line) + 7])
    assert "identities.strict allows none" in refused.stderr
    assert (0, True) == (actual.returncode, f"warning: {line}" in actual.stdout)


def test_who_is_a_stranger_depends_on_the_kind_of_sensor(tmp_path: Path) -> None:
    """1.3 is firmware of vibration sensors and of no other."""
    config, catalogue = load_config(None), load_catalogue()
    known = Identity("A_1", sensor_type="temperature_vibration", firmware_version="1.3", manufacturer="VibrationPlus")
    others = [replace(known, sensor_id=f"A_{n}", sensor_type=None) for n in (2, 3)]

    assert [] == unknown_hardware_warnings(config, catalogue, [known])
    maker, firmware = unknown_hardware_warnings(config, catalogue, [known, *others])
    assert maker.startswith('A_2 and 1 more: manufacturer "VibrationPlus" is not one of the catalogue\'s: SensorTech, ')
    assert firmware.endswith("3.2-rc1; without effect on the anomalies")
