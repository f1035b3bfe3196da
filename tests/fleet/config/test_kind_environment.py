"""The variables that a kind of sensor declares, from the environment and from a `.env` file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, SourcedValue, config_catalogue, load_config, to_yaml
from fleet.config.effects import load_with_warnings
from fleet.config.env_file import read_env_file
from fleet.config.settings import settings_for
from fleet.errors import UserError
from worker.readings.signals import noise_share
from worker.spec import Channel, Identity

EXAMPLE = """\
# Server Configuration
SERVER_URL=http://localhost:8000

# Generator Configuration
DEVICE_ID=bme280_fake_001
INTERVAL_SECONDS=10.0

# Temperature (Celsius)
TEMP_MIN=18.0
TEMP_MAX=28.0
TEMP_DRIFT=0.5

# Humidity (%)
HUMIDITY_MIN=30.0
HUMIDITY_MAX=70.0
HUMIDITY_DRIFT=2.0

# Pressure (hPa)
PRESSURE_MIN=1000.0
PRESSURE_MAX=1025.0
PRESSURE_DRIFT=0.5

# Randomness
ADD_NOISE=true
NOISE_FACTOR=0.1

# Patterns
ENABLE_DAILY_PATTERN=true
ENABLE_WEATHER_EVENTS=true
"""
"""The `.env.example` of document 004."""
ONE = {"sensor.type": "bme280", "replicas.count": 1}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(env_file: str = "", environment: Mapping[str, str] = {}, text: str = "", **overrides: object) -> Config:
    Path(".env").write_text(env_file)
    Path("fleet.yaml").write_text(text)
    return load_config(
        Path("fleet.yaml"), environment, ONE | {key.replace("__", "."): value for key, value in overrides.items()}
    )


def channels(config: Config) -> dict[str, Channel]:
    identity = Identity("A", sensor_type=config.sensor.type)
    return {each.name: each for each in settings_for(config, config_catalogue(config), identity).channels}


def signal(channel: Channel, name: str) -> dict[str, float | str]:
    return next((dict(spec.parameters) for spec in channel.signals if spec.name == name), {})


@pytest.mark.claim("004.configuration.1", "004.configuration.3")
def test_the_example_gives_the_kind_as_it_is() -> None:
    """Its values are the defaults of the kind; the id and the interval are those of the file."""
    config, usual = load(EXAMPLE), load()

    assert ("bme280_fake_001", Fraction(1, 10)) == (config.sensor.id, config.simulation.readings_per_second.exact)
    for name, channel in channels(usual).items():
        actual = channels(config)[name]
        assert (channel.mean, channel.minimum, channel.maximum) == (actual.mean, actual.minimum, actual.maximum)
        assert (channel.std_dev, channel.daily_amplitude) == (actual.std_dev, actual.daily_amplitude)
        assert signal(channel, "walk") == pytest.approx(signal(actual, "walk"), rel=1e-5)
        assert signal(channel, "weather_events") == signal(actual, "weather_events")


@pytest.mark.claim("004.configuration.2")
@pytest.mark.parametrize("in_file", [True, False])
def test_each_variable_is_applied(in_file: bool) -> None:
    """From either source, in any case of letters."""
    values = {
        "device_id": "garden_1",
        "INTERVAL_SECONDS": "7",
        "TEMP_MIN": "15",
        "temp_max": "30",
        "TEMP_DRIFT": "0.25",
        "HUMIDITY_MIN": "20",
        "HUMIDITY_MAX": "80",
        "HUMIDITY_DRIFT": "1",
        "PRESSURE_MIN": "995",
        "PRESSURE_MAX": "1030",
        "PRESSURE_DRIFT": "0.1",
        "NOISE_FACTOR": "0.5",
        "ENABLE_DAILY_PATTERN": "False",
        "ENABLE_WEATHER_EVENTS": "0",
    }
    config = load("".join(f"{name}={value}\n" for name, value in values.items())) if in_file else load("", values)
    found = channels(config)

    assert ("garden_1", Fraction(1, 7)) == (config.sensor.id, config.simulation.readings_per_second.exact)
    assert {"temperature": (15, 30), "humidity": (20, 80), "pressure": (995, 1030)} == {
        name: (each.minimum, each.maximum) for name, each in found.items()
    }
    assert [22.5, 50, 1012.5] == [each.mean for each in found.values()]
    assert [0.25, 1, 0.1] == [signal(each, "walk")["step"] for each in found.values()]
    assert [0.1, 0.5, 0.15] == [pytest.approx(each.std_dev * noise_share(each) ** 0.5) for each in found.values()]
    assert {(0.0, ())} == {(each.daily_amplitude, tuple(signal(each, "weather_events"))) for each in found.values()}
    assert [0, 0, 0] == [noise_share(each) for each in channels(load("ADD_NOISE=no\nNOISE_FACTOR=0.5")).values()]


def test_the_packaged_example_has_every_variable() -> None:
    names = set(re.findall(r"^(\w+)=", EXAMPLE, re.MULTILINE))

    assert names == set(load_catalogue().sensor_type("bme280").entry.environment)


def test_a_narrow_range_has_a_smaller_movement_and_the_same_steps() -> None:
    narrow, wide = (
        channels(load(f"TEMP_MIN={low}\nTEMP_MAX={high}"))["temperature"] for low, high in ((30, 32), (0, 60))
    )

    assert [31, 0.4, 0.5] == [narrow.mean, round(narrow.std_dev, 12), signal(narrow, "walk")["step"]]
    assert (30, 2.0, 0.5) == (wide.mean, wide.std_dev, signal(wide, "walk")["step"])


def test_flags_override_the_environment_which_overrides_the_file_which_overrides_the_config() -> None:
    """A value of the last run is no flag; a variable of every config goes before one of a kind."""
    text = "sensor: {id: config}\nnormal_parameters: {temperature: {min: 1, max: 50, mean: 20}}"
    config = load("DEVICE_ID=file\nTEMP_MIN=3\nTEMP_MAX=40", {"DEVICE_ID": "variable", "TEMP_MAX": ""}, text)
    sources = SourcedValue("5", "data/fleet.json", continued=True), SourcedValue("5", "--rate")

    assert ("variable", 3, 40, 20) == (
        config.sensor.id,
        *(getattr((config.normal_parameters or {})["temperature"], key) for key in ("min", "max", "mean")),
    )
    assert ["temperature"] == list(channels(config))
    assert "own" == load("DEVICE_ID=file", {"SENSOR_ID": "own", "DEVICE_ID": "variable"}).sensor.id
    rates = [
        load("INTERVAL_SECONDS=10", simulation__readings_per_second=each).simulation.readings_per_second
        for each in sources
    ]
    assert ["0.1", "5"] == [str(rate) for rate in rates]


@pytest.mark.parametrize("kind", ["environmental", "pipeline"])
def test_other_kinds_know_nothing_of_it(kind: str) -> None:
    """Not even of a file that is broken."""
    Path(".env").write_text("TEMP_MIN=x\nthis is no variable\n")
    plain = load_config(None, {}, {"sensor.type": kind})

    assert plain == load_config(None, {"TEMP_MIN": "x", "INTERVAL_SECONDS": "0"}, {"sensor.type": kind})
    mixed = {"replicas.kinds": {"bme280": "1", kind: "1"}}
    assert load_config(None, {}, mixed) == load_config(None, {"TEMP_MIN": "x"}, mixed)


def test_seasons_have_the_variables_too() -> None:
    config = load("TEMP_MIN=10", sensor__type="bme280_winter")

    assert (10, 25) == ((found := channels(config)["temperature"]).minimum, found.maximum)


WRONG = {
    "TEMP_MIN=warm": ".env:1:10: TEMP_MIN: warm is not a number between ",
    "\n  TEMP_DRIFT = 0": ".env:2:16: TEMP_DRIFT: 0 is not above 0",
    "INTERVAL_SECONDS=0": ".env:1:18: INTERVAL_SECONDS: 0 is not a number of seconds between 1e-05 and 1000000",
    "INTERVAL_SECONDS=often": ".env:1:18: INTERVAL_SECONDS: often is not a number",
    "NOISE_FACTOR=much": ".env:1:14: NOISE_FACTOR: much is not a number",
    "NOISE_FACTOR=100": ".env:1:14: NOISE_FACTOR: 20 is more than std_dev 2, of which it is a part",
    "ADD_NOISE=maybe": ".env:1:11: ADD_NOISE: maybe is not true or false",
    "TEMP_MIN=20\nTEMP_MAX=19": ".env:1:10: TEMP_MIN: 20 is more than max 19",
    "TEMP_MAX=90": ".env:1:10: TEMP_MAX: 90 is not within the physical limits -40 and 85",
    "DEVICE_ID='a b'": ".env:1:11: DEVICE_ID: a b is not a name",
    "TEMP_MIN": ".env:1:1: 'TEMP_MIN' is not NAME=VALUE",
    "TEMP_MIN: 3": ".env:1:1: 'TEMP_MIN: 3' is not NAME=VALUE",
    'DEVICE_ID="a': ".env:1:11: DEVICE_ID: '\"a' does not end with the quote it begins with",
    "TEMP_MIN=1\nTEMP_MIN=2": ".env:2:10: TEMP_MIN is there twice, first in line 1; keep one",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_one_line(text: str) -> None:
    """With the place, the value and what is allowed."""
    with pytest.raises(UserError) as raised:
        load(text)

    assert str(raised.value).startswith(WRONG[text])
    assert "\n" not in str(raised.value)


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    with pytest.raises(UserError, match=r"^environment variable TEMP_MIN: warm is not a number between"):
        load("", {"TEMP_MIN": "warm"})


def test_what_has_no_effect_is_said_once() -> None:
    """The address of a server, and a name that is nearly right; other names belong to other programs."""
    Path(".env").write_text("SERVER_URL=http://localhost:8000\nTEMP_MXA=3\nCOMPOSE_PROJECT_NAME=x\n")
    _, warnings = load_with_warnings(None, {}, ONE)

    assert (
        ".env:1:12: SERVER_URL: has no effect here: `fleet collect --to` delivers the readings",
        ".env:2:10: TEMP_MXA: has no effect; did you mean TEMP_MAX?",
    ) == warnings


def test_the_printed_config_gives_the_same() -> None:
    config = load("INTERVAL_SECONDS=7\nADD_NOISE=0\nTEMP_DRIFT=0.3")
    Path(".env").unlink()
    Path("printed.yaml").write_text(to_yaml(config))

    assert config == load_config(Path("printed.yaml"))


def test_a_file_of_variables() -> None:
    """Comments, blanks, quotes and `export`, as other programs read them; with or without the mark of UTF-8."""
    Path("a.env").write_text(
        "\ufeff# comment\n\nA=1\n  B = two words  \nexport C='# not # a comment' # but this\n"
        'D="a \\"b\\" \\\\ \\n"\nE=\nF=a#b # c\nG=#x\nH=a=b\r\n'
    )

    assert {
        "A": "1",
        "B": "two words",
        "C": "# not # a comment",
        "D": 'a "b" \\ \n',
        "E": "",
        "F": "a#b",
        "G": "",
        "H": "a=b",
    } == {name: value.text for name, value in read_env_file(Path("a.env")).items()}
    assert {} == read_env_file(Path("none.env"))


@pytest.mark.parametrize(("content", "reason"), [(b"A=\xff", "is not text in UTF-8"), (b"#" * 1_000_001, "more than")])
def test_a_file_of_something_else_is_refused(content: bytes, reason: str) -> None:
    Path("a.env").write_bytes(content)

    with pytest.raises(UserError, match=f"^a.env: .*{reason}"):
        read_env_file(Path("a.env"))
