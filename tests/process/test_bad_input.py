"""Bad input to the `fleet` command: one line with the place and the error, the right exit code, and no file created."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = ("CONFIG_FILE", "LOG_LEVEL", "DEBUG_MODE", "PRESERVE_EXISTING_DB")
Files = Mapping[str, str | bytes]
UP = ("up", "--port", "0", "--for", "1s", "--replicas", "1")
WITH_CONFIG = ("up", "-c", "c.yaml", "--port", "0", "--for", "1s")
CITIES = "name\tcountry\tadmin1\tlatitude\tlongitude\tpopulation\ttimezone\n"


def fleet(
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str] = {},
    before: Callable[[], None] | None = None,
    under: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in VARIABLES and not name.startswith(("SENSOR_", "MONITORING_"))
    }
    return subprocess.run(
        [*under, sys.executable, "-m", "fleet", *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=before,
    )


def write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refused(
    folder: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str] = {},
    *,
    code: int = 1,
    before: Callable[[], None] | None = None,
    under: Sequence[str] = (),
) -> str:
    """Return the one line on stderr of a command that must fail and change nothing."""
    was = listing(folder)
    done = fleet(folder, arguments, environment, before, under)

    assert (code, "") == (done.returncode, done.stdout), done.stderr
    assert 1 == done.stderr.count("\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert was == listing(folder)
    return done.stderr.removeprefix("fleet: ").rstrip("\n")


def shown(value: object) -> str:
    """Return the id of a test case: its arguments without the complaint."""
    return " ".join(value)[:30] if isinstance(value, tuple) else ""


CONFIGS = {
    "simulation: {ratee: 1}": "c.yaml:1:14: simulation.ratee: unknown key; valid here: readings_per_second, ",
    "replicas:\n  count: 2\n  count: 3": "c.yaml:3:3: replicas.count: duplicate key; it is already on line 2",
    "replicas: {count: [1]}": "c.yaml:1:19: replicas.count: a list is not a whole number between 1 and 100000",
    "normal_parameters: {temperature: {min: 60, max: 50}}": (
        "c.yaml:1:40: normal_parameters.temperature.min: 60 is more than max 50"
    ),
    "simulation: {readings_per_second: -1}": (
        "c.yaml:1:35: simulation.readings_per_second: -1 is not between 0.000001 and 100000"
    ),
    "anomalies: {probability: .nan}": ("c.yaml:1:26: anomalies.probability: .nan is not a number between 0 and 1"),
    "anomalies: {probability: 2}": "c.yaml:1:26: anomalies.probability: 2 is not between 0 and 1",
    "replicas: {count: 0}": "c.yaml:1:19: replicas.count: 0 is not between 1 and 100000",
    "replicas: {count: 10000000}": "c.yaml:1:19: replicas.count: 10000000 is not between 1 and 100000",
    "sensor: {id: a/b}": "c.yaml:1:14: sensor.id: a/b is not a name: at most 64 letters, digits, ",
    "sensor: {id: abc}\nreplicas: {count: 3}": (
        "c.yaml:1:14: sensor.id: abc is the id of one sensor, but replicas.count is 3; leave the id out"
    ),
    "replicas: {sensors_per_worker: 2, database: shared}": (
        "c.yaml:1:45: replicas.database: shared does not go with sensors_per_worker 2"
    ),
    "database: {path: fleet.json}": ("c.yaml:1:18: database.path: fleet.json does not end in the name of a database"),
    "simulation: {start: 1900-01-01}": "c.yaml:1:21: simulation.start: 1900-01-01 is not between 1980 and 2200",
    "simulation: {start_delay_seconds: 1e300}": (
        "c.yaml:1:35: simulation.start_delay_seconds: 1e300 is not between 0 and 3153600000"
    ),
    "random_location: {include_countries: [XX]}": (
        "c.yaml:1:18: random_location: include_countries: no city of XX in the table"
    ),
    "random_location: {cities_file: no.tsv}": (
        "c.yaml:1:32: random_location.cities_file: no.tsv does not exist (looked for "
    ),
    "monitoring: {host: nonsense.invalid}": (
        "c.yaml:1:20: monitoring.host: nonsense.invalid is not an address of this machine, such as 127.0.0.1"
    ),
    "monitoring: {host: a..b}": "c.yaml:1:20: monitoring.host: a..b is not an address of this machine",
    "[]": "c.yaml:1:1: a list is not a mapping of sections",
    "a: [1": "c.yaml:2:1: not valid YAML",
    b"\x7fELF\x00\xff": "c.yaml:1:6: byte 0xff is not UTF-8 text",
}


@pytest.mark.parametrize(("text", "complaint"), CONFIGS.items())
def test_a_bad_config_is_refused(text: str | bytes, complaint: str, tmp_path: Path) -> None:
    """The error has file, line, column, key, value and what is allowed."""
    write(tmp_path, {"c.yaml": text})

    line = refused(tmp_path, WITH_CONFIG)

    assert line.startswith(complaint), line


FLAGS = {
    ("--rate", "abc"): "--rate: abc is not a rate such as 10, 0.5, 1/min",
    ("--rate", "-1"): "--rate: -1 is not between 0.000001 and 100000",
    ("--rate", "nan"): "--rate: nan is not a rate such as 10, 0.5, 1/min",
    ("--replicas", "0"): "--replicas: 0 is not between 1 and 100000",
    ("--replicas", "10000000"): "--replicas: 10000000 is not between 1 and 100000",
    ("--replicas", ""): "--replicas: '' is not a whole number between 1 and 100000",
    ("--for", "5x"): "--for: '5x' is not a duration such as 30s, 5m, 1h30m or 2d",
    ("--for", "0.0001s"): "--for: '0.0001s' is not between 1ms and 100 years",
    ("--for", "9" * 5000): "--for: '999999999999999999999999999999999999999999999999999999999999' is not a duration",
    ("--start", "yesterday"): "--start: yesterday is not a time such as 2026-01-01T00:00:00+00:00",
    ("--start", "1900-01-01"): "--start: 1900-01-01 is not between 1980 and 2200",
    ("--port", "99999"): "--port: 99999 is not between 0 and 65535",
    ("--host", "nonsense.invalid"): "--host: nonsense.invalid is not an address of this machine",
    ("--host", "192.0.2.1"): "--host: 192.0.2.1 is not an address of this machine",
    ("--prefix", "a/b"): "--prefix: a/b is not a name: at most 51 letters",
    ("--seed", "-1"): "--seed: -1 is not between 0 and 9223372036854775807",
    ("--data", ""): "--data: '' is not the name of a file or a folder",
    ("--config", "none.yaml"): "none.yaml: cannot be read: no such file or directory",
    ("--data", "x" * 300): f"--data: {'x' * 57}... is too long a name",
    ("--identities", os.fsdecode(b"a\xff")): "--identities: 'a\\udcff' is a name that is not UTF-8",
    ("--config", "."): ".: cannot be read: is a directory",
}


@pytest.mark.parametrize(("flag", "complaint"), FLAGS.items(), ids=shown)
def test_a_bad_flag_is_refused(flag: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    """The error has its name, its value and what is allowed."""
    line = refused(tmp_path, (*UP, *flag))

    assert line.startswith(complaint), line


ENVIRONMENT = {
    ("LOG_LEVEL", "loud"): "loud is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
    ("DEBUG_MODE", "maybe"): "'maybe' is not true or false",
    ("MONITORING_ENABLED", "maybe"): "maybe is not true or false",
    ("PRESERVE_EXISTING_DB", "maybe"): "maybe is not true or false",
    ("MONITORING_PORT", "99999"): "99999 is not between 0 and 65535",
    ("MONITORING_HOST", "nonsense.invalid"): "nonsense.invalid is not an address of this machine",
    ("SENSOR_ID", "a/b"): "a/b is not a name: at most 64 letters",
    ("SENSOR_ID", "abc"): "abc is the id of one sensor, but replicas.count is 10",
    ("SENSOR_TYPE", "sonar"): "sonar is not one of the types of sensor; there are air_quality, ",
}


@pytest.mark.parametrize(("variable", "complaint"), ENVIRONMENT.items(), ids=shown)
def test_a_bad_variable_is_refused(variable: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    """The error has its name, its value and what is allowed."""
    line = refused(tmp_path, ("up", "--for", "1s"), dict([variable]))

    assert line.startswith(f"environment variable {variable[0]}: {complaint}"), line


IDENTITIES = {
    '{"sensor_id": "a",\n}': "i/a.json:1:18: invalid JSON: a comma after the last element",
    '{"sensor_id": ': "i/a.json:1:15: invalid JSON: Expecting value",
    '{"sensor_id": "a/b"}': 'i/a.json:1:15: sensor_id: "a/b" must be 1 to 64 letters, digits',
    b"\x00\xff": "i/a.json: not a text file (byte 1 is not UTF-8)",
    "[]": "i/a.json: [] is not an identity (a JSON object with sensor_id)",
}


@pytest.mark.parametrize(("text", "complaint"), IDENTITIES.items())
def test_a_bad_identity_is_refused(text: str | bytes, complaint: str, tmp_path: Path) -> None:
    """It is refused before the data directory is created."""
    write(tmp_path, {"i/a.json": text})

    line = refused(tmp_path, (*UP, "--identities", "i"))

    assert line.startswith(complaint), line


TABLES = {
    "": "t:1: no column name, country, admin1, ",
    CITIES + "X\tDE\t1\tabc\t1\t1\tUTC\n": 't:2: latitude: "abc" is not a number',
    CITIES + "X\tDE\t1\tnan\t1\t1\tUTC\n": "t:2: latitude: NaN is not a latitude (-90 to 90 degrees)",
    "[{]": "t:1:3: invalid JSON: ",
    b"\xff\x00": "t: not a text file (byte 0 is not UTF-8)",
}


@pytest.mark.parametrize(("table", "complaint"), TABLES.items())
def test_a_bad_table_of_cities_is_refused(table: str | bytes, complaint: str, tmp_path: Path) -> None:
    """`fleet up` and `fleet config check` both refuse it."""
    write(tmp_path, {"c.yaml": "random_location: {cities_file: t}", "t": table})

    assert complaint in refused(tmp_path, WITH_CONFIG)
    assert complaint in refused(tmp_path, ("config", "check", "c.yaml"))


USAGE = {
    ("up", "extra"): "fleet up: got unexpected extra argument (extra); see `fleet up --help`",
    ("up", "--frob"): "fleet up: no such option '--frob'",
    ("frobnicate",): "no such command 'frobnicate'; see `fleet --help`",
    ("config", "chekc"): "fleet config: no such command 'chekc'",
    ("scale",): "fleet scale: missing argument 'COUNT'; see `fleet scale --help`",
    ("identities", "mint", "5"): "fleet identities mint: missing option '--out'",
}


@pytest.mark.parametrize(("arguments", "complaint"), USAGE.items(), ids=shown)
def test_wrong_usage_is_said_in_one_line(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    line = refused(tmp_path, arguments, code=2)

    assert line.startswith(complaint), line


NOT_RUNNING = "{0}: no fleet is running here; `fleet ps` lists those that run, `fleet up --data {0}` starts one"
COMMANDS = {
    ("scale", "0"): "COUNT: '0' is not a whole number between 1 and 100000",
    ("scale", "-1"): "COUNT: '-1' is not a whole number between 1 and 100000",
    ("scale", "3"): NOT_RUNNING.format("data"),
    ("restart", "nobody"): NOT_RUNNING.format("data"),
    ("logs", "nobody"): "data: no fleet has run here",
    ("status", "--data", "f"): NOT_RUNNING.format("f"),
    ("logs", "--data", "f"): "f: no fleet has run here",
    ("down", "--timeout", "nan"): "--timeout: 'nan' is not a duration such as 30s, 5m, 1h30m or 2d",
    ("identities", "mint", "0", "--out", "o"): "COUNT: '0' is not a whole number between 1 and 100000",
    ("identities", "mint", "5", "--out", ""): "--out: '' is not the name of a file or a folder",
    ("identities", "mint", "5", "--out", "f"): "f:1:1: invalid JSON: Expecting value",
    ("config", "check", "none.yaml"): "none.yaml: cannot be read: no such file or directory",
}


@pytest.mark.parametrize(("arguments", "complaint"), COMMANDS.items(), ids=shown)
def test_the_other_commands_refuse_in_one_line_too(arguments: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    write(tmp_path, {"f": "x"})

    assert refused(tmp_path, arguments) == complaint
