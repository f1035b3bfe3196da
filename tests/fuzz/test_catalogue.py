"""Catalogues of any content: refused in one line that names the place, or good for the readings of all their hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleet.catalogue.catalogue import SensorType, load_catalogue
from fleet.catalogue.cities import City
from fleet.config.config import Config
from fleet.errors import UserError
from fleet.identities.files import read_identity, write_identity
from fleet.identities.generator import IdentityGenerator
from tests.fuzz.bounds import assert_line, examples, processor_time_limit
from tests.fuzz.changes import corrupted_bytes
from tests.fuzz.sound import assert_every_sound
from tests.fuzz.yaml_texts import mutated
from worker.readings.anomalies import ANOMALY_TYPES, anomaly_class

pytestmark = pytest.mark.thorough

CONFIGS = Path(__file__).parents[2] / "configs"
EXTENSION = """
environmental:
  manufacturers:
    Acme: {multiplier: 1.5, severity: 2, models: [A1, "A2"]}
  models: {A1: {weights: {spike: 3}, channel_shares: {humidity: 0.5}}}
  firmware:
    "9.9": {parameters: {spike: {multiplier_min: 2, multiplier_max: 4}, pattern: {frequency: 1}}}
machine:
  aliases: [pump]
  channels: {vibration: {unit: mm/s, mean: 3, std_dev: 1, min: 0, max: 9}}
  manufacturers: {Acme: {models: [M1]}}
  firmware: {"1": {}}
"""
BERLIN = (City("Berlin", "DE", "16", 52.5, 13.4, 3_426_354, "Europe/Berlin"),)
CONFIG = Config.model_validate({"anomalies": {"probability": 0.9}})


def files(folder: Path) -> tuple[Path, ...]:
    path = folder / "original.yaml"
    path.write_text(EXTENSION)
    return path, CONFIGS / "catalogue.yaml"


def check(folder: Path, content: str | bytes) -> None:
    path = folder / "more.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    with processor_time_limit():
        try:
            catalogue = load_catalogue(path)
        except UserError as error:
            assert_line(str(error), f"{path}:", str(CONFIGS))
            return
        kinds = [kind for kind in catalogue.types.values() if "Acme" in kind.models or kind.name == "machine"]
        for kind in kinds:
            assert_every_sound(kind, catalogue, CONFIG)
            assert_minted(kind, folder)


def assert_minted(kind: SensorType, folder: Path) -> None:
    """Its identities can be written and read again."""
    generator = IdentityGenerator(1, BERLIN, kind)
    for number in range(3):
        sensor = generator.generate(number)
        written = write_identity(folder, sensor)
        assert read_identity(written) == sensor
        written.unlink()


@examples(100)
@given(data=st.data())
def test_a_catalogue_with_odd_values(tmp_path: Path, data: st.DataObject) -> None:
    """Any value or key replaced by any other."""
    check(tmp_path, data.draw(mutated(files(tmp_path))))


@examples(30)
@given(data=st.data())
def test_a_catalogue_with_odd_bytes(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes replaced, put in, taken out and repeated."""
    check(tmp_path, data.draw(corrupted_bytes(files(tmp_path))))


multipliers = st.sampled_from((0, 1e-9999, 5e-324, 0.5, 1, 1000))
severities = st.sampled_from((0, 5e-324, 0.5, 1, 100))
quantities = st.sampled_from((0, 5e-324, 1e-12, 0.5, 1, 1.5, 1000, 100_000, -1, 1e12, -1e12))
shares = st.sampled_from(("0", "1e-9999", "0.5", f"0.{'9' * 390}", "1"))
names = st.sampled_from(("Acme", "x" * 100, "x" * 101, " ", "é", "{x}", "%s", "A/B", "..", "'"))
kinds = st.sampled_from(sorted(ANOMALY_TYPES))


@st.composite
def effects(draw: st.DrawFn) -> dict[str, Any]:
    parameters = {
        kind: {each.name: draw(quantities) for each in anomaly_class(kind).parameters if draw(st.booleans())}
        for kind in draw(st.lists(kinds, unique=True, max_size=2))
    }
    return {
        "multiplier": draw(multipliers),
        "severity": draw(severities),
        "weights": {kind: draw(multipliers) for kind in draw(st.lists(kinds, max_size=3))},
        "parameters": parameters,
    }


@examples(150)
@given(data=st.data(), name=names, model=names, share=shares)
def test_a_catalogue_at_the_ends(tmp_path: Path, data: st.DataObject, name: str, model: str, share: str) -> None:
    """Effects that are just allowed, tiny or huge, in any combination; names that are odd elsewhere."""
    machine = {
        "channels": {
            "vibration": {"unit": "g", "mean": 3, "std_dev": 1, "min": 0, "max": 9},
            "voltage": {"unit": "V", "mean": 1e12, "std_dev": 1e-12, "min": -1e12, "max": 1e12},
        },
        "manufacturers": {name: {**data.draw(effects()), "models": [model]}},
        "models": {model: {**data.draw(effects()), "channel_shares": {"vibration": 0.25}}},
        "firmware": {"9.9": data.draw(effects())},
    }
    check(tmp_path, yaml.safe_dump({"machine": machine}).replace("vibration: 0.25", f"vibration: {share}"))
