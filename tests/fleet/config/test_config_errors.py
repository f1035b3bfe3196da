"""Whatever is wrong with a config is said in one line: place, key, value, what is allowed."""

from __future__ import annotations

import random
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from fleet.config.config import SourcedValue, load_config
from fleet.errors import UserError
from fleet.resources import resource_path
from fleet.validation.issues import ConfigError

pytestmark = pytest.mark.claim("000.testing.2")

FIRMWARE = "1.0, 1.2.0, 1.4, 2.1, 2.3.5, 2.5, 3.0.0-beta, 3.1.2-alpha, 3.2-rc1"
WRONG = {
    "anomalies:\n  probability: 2": "2:16: anomalies.probability: 2 is not between 0 and 1",
    "anomalies:\n  probability: -0.1": "2:16: anomalies.probability: -0.1 is not between 0 and 1",
    "anomalies:\n  probability: .nan": "2:16: anomalies.probability: .nan is not a number between 0 and 1",
    "anomalies:\n  probability: '0.2'": (
        "2:16: anomalies.probability: '0.2' is not a number between 0 and 1; remove the quotes"
    ),
    "anomalies:\n  probablity: 1": "2:3: anomalies.probablity: unknown key; did you mean 'probability'?",
    "simulation: {run_time_second: 1}": (
        "1:14: simulation.run_time_second: unknown key; did you mean 'run_time_seconds'?"
    ),
    "probability: 1": "1:1: probability: unknown key; did you mean 'anomalies.probability'?",
    "replicas:\n  count: 2\n  count: 3": "3:3: replicas.count: duplicate key; it is already on line 2",
    "simulation: {jitter: 1}": "1:22: simulation.jitter: 1 is not at least 0 and below 1",
    "simulation: {readings_per_second: -1}": (
        "1:35: simulation.readings_per_second: -1 is not between 0.000001 and 100000"
    ),
    "simulation: {readings_per_second: 0}": (
        "1:35: simulation.readings_per_second: 0 is not between 0.000001 and 100000"
    ),
    "simulation: {readings_per_second: 0.1234567}": (
        "1:35: simulation.readings_per_second: 0.1234567 has more than 6 decimal places"
    ),
    "simulation: {readings_per_second: fast}": (
        "1:35: simulation.readings_per_second: fast is not a rate such as 10, 0.5, 1/min, 1/5min or every 15m"
    ),
    "simulation: {duration_seconds: .inf}": "1:32: simulation.duration_seconds: .inf is not a number between 0.001 and 3153600000",
    "simulation: {duration_seconds: 1e999}": "1:32: simulation.duration_seconds: 1e999 is not between 0.001 and 3153600000",
    "simulation: {duration: 10 minutes}": (
        "1:24: simulation.duration: 10 minutes is not a number of seconds, nor a time such as 30s, 5m, 1h30m or 2d"
    ),
    "simulation: {seed: 1.5}": ("1:20: simulation.seed: 1.5 is not a whole number between 0 and 9223372036854775807"),
    "simulation: {start: soon}": ("1:21: simulation.start: soon is not a time such as 2026-01-01T00:00:00+00:00"),
    "simulation: {run_time_seconds: 5, runtime_seconds: 5}": (
        "1:35: simulation.runtime_seconds: says the same as simulation.run_time_seconds on line 1; keep one"
    ),
    "replicas: {count: 0}": "1:19: replicas.count: 0 is not between 1 and 100000",
    "replicas: {count: 10000000}": "1:19: replicas.count: 10000000 is not between 1 and 100000",
    "replicas: {count: many}": "1:19: replicas.count: many is not a whole number between 1 and 100000",
    "replicas: {prefix: a/b}": (
        "1:20: replicas.prefix: a/b is not a name: at most 51 letters, digits, '_', '.' and '-', "
        "the first a letter or a digit"
    ),
    "replicas: many": "1:11: replicas: many is not a whole number between 1 and 100000",
    "replicas: [5]": "1:11: replicas: a list is not a section of keys and values",
    "normal_parameters:\n  temperature: {min: 60, max: 50, mean: 55}": (
        "2:22: normal_parameters.temperature.min: 60 is more than max 50"
    ),
    "normal_parameters:\n  temperature: {min_value: 60, max: 50}": (
        "2:28: normal_parameters.temperature.min_value: 60 is more than max 50"
    ),
    "normal_parameters:\n  temperature: {mean: 99}": (
        "2:23: normal_parameters.temperature.mean: 99 is not between min -10 and max 50"
    ),
    "normal_parameters:\n  temperature: {min: 30}": (
        "2:3: normal_parameters.temperature.mean: 22 is not between min 30 and max 50"
    ),
    f"identities: {{path: {'i' * 201}}}": (f"1:20: identities.path: {'i' * 57}... has a part of more than 200 bytes"),
    f"database: {{path: {'d' * 201}}}": f"1:18: database.path: {'d' * 57}... has a part of more than 200 bytes",
    "normal_parameters: {voltage: {std_dev: -1}}": (
        "1:40: normal_parameters.voltage.std_dev: -1 is not between 0 and 1000000000000"
    ),
    "normal_parameters: {temprature: {mean: 1}}": (
        "1:21: normal_parameters.temprature: unknown channel; "
        "environmental sensors have temperature, humidity, pressure, vibration, voltage; did you mean 'temperature'?"
    ),
    "normal_parameters: {humidity: {max: 120}}": (
        "1:37: normal_parameters.humidity.max: 120 is not within the physical limits 0 and 100 "
        "(lowest and highest, if in another unit)"
    ),
    "sensor: {type: sonar}": (
        "1:16: sensor.type: sonar is not one of the types of sensor; there are air_quality, bme280, "
        "bme280_summer, bme280_winter, environmental, pipeline, temperature_vibration, wind_turbine (or the path of a file "
        "that describes one, which ends in .yaml)"
    ),
    "sensor: {manufacturer: Acme}": (
        "1:24: sensor.manufacturer: Acme is not one of the manufacturers of environmental sensors: "
        "SensorTech, DataLogger, DataSense, MonitorPro"
    ),
    "sensor: {manufacturer: SensorTech, model: AirData-Plus}": (
        "1:43: sensor.model: AirData-Plus is not one of the models of SensorTech: "
        "TempSensor Pro, HumidCheck 2000, PressureGuard, EnvMonitor-3000"
    ),
    "sensor: {firmware_version: 9}": (
        f"1:28: sensor.firmware_version: 9 is not one of the firmware of environmental sensors: {FIRMWARE}"
    ),
    "sensor: {location: TBD}": "1:20: sensor.location: TBD is a placeholder; name a place, or leave the key out",
    "logging: {level: loud}": "1:18: logging.level: loud is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL",
    "monitoring: {endpoints: {health: /statusz}}": (
        "1:34: monitoring.endpoints.health: /statusz is the path of status"
    ),
    "monitoring: {endpoints: {health: /x, status: /x}}": (
        "1:46: monitoring.endpoints.status: /x is the path of health"
    ),
    "monitoring: {endpoints: {health: /workers/x}}": (
        "1:34: monitoring.endpoints.health: /workers/x is taken by what is below /api, /compare, /grid, /livez, /metrics, /openapi.json, /sensors, /static, /workers"
    ),
    "monitoring: {endpoints: {health: /a/../b}}": (
        "1:34: monitoring.endpoints.health: /a/../b is not a path such as /healthz"
    ),
    "monitoring: {enabled: maybe}": "1:23: monitoring.enabled: maybe is not true or false",
    "random_location: {include_countries: DE}": "1:38: random_location.include_countries: DE is not a list",
    "random_location: {include_countries: [DE, Peru]}": (
        "1:43: random_location.include_countries[1]: Peru is not a country code of two letters"
    ),
    "random_location: {min_population: 5, max_population: 4}": (
        "1:35: random_location.min_population: 5 is more than max_population 4"
    ),
    "supervision: {backoff_min_seconds: 31}": (
        "1:36: supervision.backoff_min_seconds: 31 is more than backoff_max_seconds 30"
    ),
    "anomalies: {types: {spike: {multiplier_min: 5}}}": (
        "1:45: anomalies.types.spike.multiplier_min: 5 is more than multiplier_max 3"
    ),
    "anomalies: {types: {trend: {duration_seconds: 1, duration_readings: 3}}}": (
        "1:69: anomalies.types.trend.duration_readings: contradicts duration_seconds; an episode has one of the two"
    ),
    "anomalies: {types: {pattern: {amplitude: 1, amplitude_percent: 3}}}": (
        "1:64: anomalies.types.pattern.amplitude_percent: contradicts amplitude; a pattern has one of the two"
    ),
    "anomalies: {types: {spike: {weight: 0}, trend: {enabled: no}, pattern: {enabled: no}, missing_data: "
    "{enabled: no}, noise: {enabled: no}}}": (
        "1:20: anomalies.types: all weights are 0; set one above 0, or anomalies.enabled to false"
    ),
    'database: {path: "a\\0b"}': "1:18: database.path: 'a\\x00b' is not plain text on one line",
    "database: 3\nsimulation: {batch_interval: 2}": "1:11: database: 3 is not a section of keys and values",
    "sensor: {location: ''}": "1:20: sensor.location: '' is not text of 1 to 1000 characters",
    "normal_parameters: {voltage: {std_dev: 1e-320}}": (
        "1:40: normal_parameters.voltage.std_dev: 1e-320 is neither 0 nor at least 1e-12"
    ),
    "anomalies: {types: {trend: {duration_seconds: 1e308}}}": (
        "1:47: anomalies.types.trend.duration_seconds: 1e308 is not above 0 and at most 3153600000"
    ),
    "delivery: {to: [jsonl:a, sqlite:///b], faults: {drop: {probability: 1%}}}": (
        "1:48: delivery.faults: sqlite: stores each reading once, whatever is sent: faults are for jsonl:, http:, https:, mqtt:, "
        "mqtts:, kafka:"
    ),
    "delivery: {faults: {late: {probability: 60%}, drop: {probability: 50%}}}": (
        "1:53: delivery.faults.drop: the probabilities of drop, corrupt, truncate, duplicate, late, out_of_order add up to 1.1: "
        "at most 1 is allowed"
    ),
    "delivery: {faults: {late: {probability: 2}}}": "1:41: delivery.faults.late.probability: 2 is not between 0 and 1",
    "delivery: {faults: {lost: {probability: 1}}}": (
        "1:21: delivery.faults.lost: unknown key; valid here: drop, corrupt, truncate, duplicate, late, out_of_order, newest_first, "
        "burst, clock_skew"
    ),
    "a: [1": "2:1: not valid YAML",
    "- a": "1:1: a list is not a mapping of sections, such as `simulation:`",
    "a: !!python/object:os.system {}": (
        "1:4: a: the tag tag:yaml.org,2002:python/object:os.system is not allowed here; write a plain value"
    ),
    "a: *b": "1:4: a: the alias *b refers to nothing before it",
    "a: &a [*a]": "1:8: a[0]: the alias *a refers to nothing before it",
    "? [a]\n: b": "1:3: document: a key must be plain text",
    "version: 1\n---\nversion: 2": "2:1: a second document begins; a config is one document",
    "version: 3\nfoo: 1\nanomalies: {mode: both}": "1:10: version: 3 is not one of 1, 2 (and 2 more)",
}


def refusal(path: Path, environment: dict[str, str] | None = None, **overrides: SourcedValue) -> str:
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    with pytest.raises(UserError) as raised:
        load_config(path, environment or {}, keys)
    return str(raised.value)


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.claim("000.error-handling.5", "002.error-handling.4")
def test_a_fault_is_named_with_its_place(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, line, column, key and value as written, and what is allowed instead."""
    monkeypatch.chdir(tmp_path)
    Path("fleet.yaml").write_text(text)

    message = refusal(Path("fleet.yaml"))

    assert f"fleet.yaml:{WRONG[text]}" == message or message.startswith(f"fleet.yaml:{WRONG[text]}: ")
    assert "\n" not in message


def test_a_flag_or_a_variable_is_named_instead_of_the_file(tmp_path: Path) -> None:
    """Whoever typed it knows it by that name."""
    path = tmp_path / "fleet.yaml"
    path.write_text("")

    assert "--rate: -1 is not between 0.000001 and 100000" == refusal(
        path, simulation__readings_per_second=SourcedValue("-1", "--rate")
    )
    assert "environment variable MONITORING_PORT: 99999 is not between 0 and 65535" == refusal(
        path, {"MONITORING_PORT": "99999"}
    )
    assert "environment variable DEBUG_MODE: 'maybe' is not true or false" == refusal(path, {"DEBUG_MODE": "maybe"})
    assert refusal(path, {"SENSOR_FIRMWARE": "9"}).startswith("environment variable SENSOR_FIRMWARE: 9 is not one of")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """Missing, a folder, not text, no UTF-8, endless."""
    junk = tmp_path / "junk"
    junk.write_bytes(bytes(range(256)))
    control = tmp_path / "control"
    control.write_bytes(b"a: \x01")
    huge = tmp_path / "huge"
    huge.write_bytes(b"#" * 8_000_001)

    assert f"{tmp_path}/none.yaml: cannot be read: no such file or directory" == refusal(tmp_path / "none.yaml")
    assert f"{tmp_path}: cannot be read: is a directory" == refusal(tmp_path)
    assert f"{junk}:2:118: byte 0x80 is not UTF-8 text" == refusal(junk)
    assert refusal(control).startswith(f"{control}: not valid YAML: ")
    assert f"{huge}: more than 8 MB is not a config file" == refusal(huge)
    assert refusal(Path("a\0b")).endswith("cannot be read: embedded null byte")


def test_a_file_that_a_config_names_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A city table or a catalogue that is missing, a folder, or not what it should be."""
    path = tmp_path / "fleet.yaml"
    monkeypatch.chdir(tmp_path)

    path.write_text("random_location: {cities_file: none.tsv}")
    assert refusal(path) == (
        f"{path}:1:32: random_location.cities_file: none.tsv does not exist (looked for {tmp_path}/none.tsv)"
    )
    path.write_text("catalogue: .")
    assert refusal(path) == f"{path}:1:12: catalogue: . is not a file (looked for {tmp_path})"
    (tmp_path / "more.yaml").write_text("environmental: {firmware: {9: {multiplier: -1}}}")
    path.write_text("catalogue: more.yaml")
    assert refusal(path) == (
        f"{tmp_path}/more.yaml:1:44: environmental.firmware.9.multiplier: -1 is not between 0 and 1000"
    )


def test_aliases_cannot_exhaust_memory(tmp_path: Path) -> None:
    """A few lines that stand for a billion values, lists inside lists, aliases inside aliases."""
    path = tmp_path / "bomb.yaml"

    names = "abcdefghij"
    doubled = "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in pairwise(names))
    path.write_text("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + doubled)
    assert refusal(path).endswith("more than 200000 values")
    path.write_text("[" * 100_000)
    assert refusal(path).endswith("nested more than 32 levels deep")
    path.write_text("k0: &k0 [1]\n" + "".join(f"k{n}: &k{n} [*k{n - 1}]\n" for n in range(1, 400)))
    assert refusal(path).endswith("nested more than 32 levels deep")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"database: {{backup_interval_hours: {'9' * 1_000_000}}}", f"{'9' * 57}... is not a number above 0"),
        (f"catalogue: {'x' * 300}", f"1:12: catalogue: {'x' * 57}... cannot be looked for: File name too long"),
        ('"\\e[31m\\n": 1', "1:1: \\x1b[31m\\n: unknown key"),
        (f"? {'k' * 1_000_000}\n: 1", f"1:3: {'k' * 57}...: a key of more than 1000 characters"),
        (f"a: !{'x' * 1_000_000} 1", f"1:4: a: the tag !{'x' * 56}... is not allowed here"),
    ],
    ids=["number", "file", "escape", "key", "tag"],
)
def test_an_error_shows_what_a_terminal_can(text: str, complaint: str, tmp_path: Path) -> None:
    """However long or odd what is in the file: its beginning, with escapes."""
    path = tmp_path / "fleet.yaml"
    path.write_text(text)

    message = refusal(path)

    assert complaint in message
    assert message.isprintable()
    assert len(message) < 1000


def test_many_faults_take_no_longer_than_reading_them(tmp_path: Path) -> None:
    """Only the first of them is looked up among the valid names."""
    path = tmp_path / "fleet.yaml"
    path.write_text("".join(f"key{number}: 1\n" for number in range(50_000)))
    before = time.process_time()

    assert refusal(path).endswith(" (and 49999 more)")
    assert time.process_time() - before < 10  # it was 30 to 50


def test_all_faults_are_listed(tmp_path: Path) -> None:
    """Each with its place, in the order of the file: of keys, of values, of the catalogue, and of values that contradict
    each other. What is wrong with one hides no other."""
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "sensor: {manufacturer: Acme, location: TBD}\n"
        "simulation:\n  duration: 1\n  run_time_seconds: 2\n  seed: x\n"
        "normal_parameters:\n  temperature: {mean: 99}\n  humidity: {max: 120}\n"
        "monitoring: {prot: 1, port: 70000}\n"
        "random_location: {cities_file: none.tsv, include_countries: [Peru]}\n"
        "surroundings: sea\n"
    )

    with pytest.raises(ConfigError) as raised:
        load_config(path, {"MONITORING_PORT": "x"})

    assert [
        "1:24: sensor.manufacturer",
        "1:40: sensor.location",
        "4:3: simulation.run_time_seconds",
        "5:9: simulation.seed",
        "7:23: normal_parameters.temperature.mean",
        "8:19: normal_parameters.humidity.max",
        "9:14: monitoring.prot",
        "10:32: random_location.cities_file",
        "10:62: random_location.include_countries[0]",
        "11:15: surroundings",
        "environment variable MONITORING_PORT",
    ] == [re.sub(r"^(\d+:\d+: [^:]+|[^:]+):.*", r"\1", line.removeprefix(f"{path}:")) for line in raised.value.lines()]


def test_very_many_faults_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text("".join(f"key{number}: 1\n" for number in range(150)))

    with pytest.raises(ConfigError) as raised:
        load_config(path)

    lines = raised.value.lines()
    assert (101, "and 50 more") == (len(lines), lines[-1])


def test_an_alias_repeats_what_it_names(tmp_path: Path) -> None:
    """Within those bounds it is a fine way to say a thing once."""
    path = tmp_path / "fleet.yaml"
    path.write_text(
        "normal_parameters:\n  temperature: &same {mean: 5, std_dev: 1, min: 0, max: 10}\n  vibration: *same\n"
    )

    channels = load_config(path).normal_parameters

    assert channels is not None
    assert channels["temperature"] == channels["vibration"]


def test_no_bytes_make_it_fail_in_another_way(tmp_path: Path) -> None:
    """The packaged config with a few of its bytes changed loads, or is refused in one line."""
    original, path, rng = resource_path("single-sensor.yaml").read_bytes(), tmp_path / "fleet.yaml", random.Random(1)
    refusals = []
    for _ in range(300):
        data = bytearray(original)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 2)] = rng.choice([rng.randbytes(1), b"&a ", b"*a", b"{", "é".encode()])
        path.write_bytes(data)
        try:
            load_config(path)
        except UserError as error:
            refusals.append(str(error))

    assert len(refusals) > 100
    assert [] == [message for message in refusals if "\n" in message or not message.startswith(str(path))]
