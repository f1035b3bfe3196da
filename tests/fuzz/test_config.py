"""Configs of any content: refused in one line that names the place, or good for readings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleet.config.config import SourcedValue, json_schema, load_config, to_yaml
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.resources import resource_path
from fleet.runtime.planner import Planner
from fleet.validation.issues import schema_keys, subschema
from tests.fuzz.bounds import assert_line, examples, processor_time_limit
from tests.fuzz.changes import corrupted_bytes
from tests.fuzz.sound import assert_gives_sound_readings
from tests.fuzz.yaml_texts import mutated, odd_scalars

pytestmark = [pytest.mark.thorough, pytest.mark.claim("000.testing.2")]

ROOT = Path(__file__).parents[2]
FILES = tuple(path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.name != "catalogue.yaml")
FILES += tuple(sorted((ROOT / "configs/source_documents").glob("*.yaml")))
CITIES = SourcedValue("cities.tsv", "--cities")
"""A table of few cities: reading all of them would take most of the time."""

TINY = (5e-324, 1e-300, 1e-12, 1e-6)
CHANNELS = ("temperature", "humidity", "vibration")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a config, in a folder with a table of cities."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cities.tsv").write_text("\n".join(resource_path("cities.tsv").read_text().splitlines()[::60]))
    return tmp_path / "fleet.yaml"


def check(path: Path, content: str | bytes) -> bool:
    """Whether it is accepted; then it works, and says the same when it is printed and read again."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    with processor_time_limit():
        try:
            config = load_config(path, {}, {"random_location.cities_file": CITIES})
        except UserError as error:
            assert_line(str(error), f"{path}:", "--cities:")
            return False
        assert_gives_sound_readings(config)
        try:
            Planner(config, DataDirectory(path.parent / "data"), None).check_startable()
        except UserError as error:
            assert_line(str(error), "")
        path.write_text(to_yaml(config))
        assert load_config(path) == config
        return True


@examples(150)
@given(text=mutated(FILES))
def test_a_config_with_odd_values(path: Path, text: str) -> None:
    """Any value or key of any dialect replaced by any other."""
    check(path, text)


@examples(100)
@given(data=corrupted_bytes(FILES))
def test_a_config_with_odd_bytes(path: Path, data: bytes) -> None:
    """Bytes replaced, put in, taken out and repeated."""
    check(path, data)


@examples(60)
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
def test_a_config_that_is_none(path: Path, data: bytes) -> None:
    """Anything at all."""
    check(path, data)


def bounds(schema: Any) -> st.SearchStrategy[Any]:
    """Values at the ends of what a schema allows, most of them allowed."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "integer" | "number":
            least = schema.get("minimum", schema.get("exclusiveMinimum", -1.7e308))
            most = schema.get("maximum", 1.7e308)
            choices = [least, most, *(number for number in (*TINY, 0.0, 0.3, 1.0, 7.5) if least <= number <= most)]
            whole = schema["type"] == "integer"
            return st.sampled_from([int(choice) if whole else float(choice) for choice in choices])
        case _:
            return st.nothing()


def leaves() -> Iterator[tuple[str, st.SearchStrategy[Any]]]:
    schema = json_schema()
    for key in schema_keys(schema):
        values = bounds(subschema(schema, tuple(key.split("."))))
        if not values.is_empty and key != "version":
            yield key, values


LEAVES = dict(leaves())
OFTEN = ("simulation.readings_per_second", "anomalies.probability")
extremes = st.sampled_from((-1e12, -1e6, -1.0, -1e-12, 0.0, 5e-324, 1e-12, 0.1, 0.5, 1.0, 22.0, 1e6, 1e12))


@st.composite
def channel(draw: st.DrawFn) -> dict[str, Any]:
    """A channel whose numbers are in order, however far apart."""
    lowest, least, mean, most, highest = sorted(draw(extremes) for _ in range(5))
    optional = {"decimals": st.integers(0, 9), "daily_amplitude": st.sampled_from((-100.0, 0.0, 100.0))}
    return {
        "lowest": lowest,
        "min": least,
        "mean": mean,
        "max": most,
        "highest": highest,
        "std_dev": abs(draw(extremes)),
        **{name: draw(values) for name, values in optional.items() if draw(st.booleans())},
    }


@st.composite
def extreme(draw: st.DrawFn) -> dict[str, Any]:
    """A config whose values are at the ends of what is allowed."""
    config: dict[str, Any] = {}
    anomalies = st.sampled_from([name for name in LEAVES if name.startswith("anomalies.types")])
    chosen = draw(st.lists(anomalies | st.sampled_from(sorted(LEAVES)), max_size=8))
    for key in dict.fromkeys((*OFTEN, *chosen) if draw(st.booleans()) else chosen):
        *sections, name = key.split(".")
        section = config
        for part in sections:
            section = section.setdefault(part, {})
        section[name] = draw(LEAVES[key])
    if draw(st.booleans()):
        names = draw(st.lists(st.sampled_from(CHANNELS), unique=True, min_size=1))
        config["normal_parameters"] = {name: draw(channel()) for name in names}
    return config


@examples(120)
@given(config=extreme())
def test_a_config_at_the_ends(path: Path, config: dict[str, Any]) -> None:
    """Values that are just allowed, tiny or huge, in any combination."""
    check(path, yaml.safe_dump(config))


@examples(70)
@given(key=st.sampled_from(sorted(schema_keys(json_schema()))), value=odd_scalars)
def test_a_flag_or_a_variable(path: Path, key: str, value: str) -> None:
    """Whatever is given for a key from outside the file is refused by the name of the flag."""
    path.write_text("")
    with processor_time_limit():
        try:
            config = load_config(path, {}, {"random_location.cities_file": CITIES, key: SourcedValue(value, "--flag")})
        except UserError as error:
            assert_line(str(error), "--flag: ", f"{path}:1:1: random_location: no city is left")
        else:
            assert_gives_sound_readings(config)
