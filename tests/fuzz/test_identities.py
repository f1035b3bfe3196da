"""Identity files of any content: refused in one line that names the place, or kept as they are and good for readings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import Config, load_config
from fleet.errors import UserError
from fleet.identities.fields import FIELD_PATHS
from fleet.identities.files import read_identity, write_identity
from fleet.identities.provisioning import generated_seed, generator_for, provision
from fleet.resources import resource_path
from fleet.strict_json import is_one_line
from tests.fuzz.bounds import assert_line, examples, processor_time_limit
from tests.fuzz.changes import corrupted_bytes
from tests.fuzz.json_texts import mutated
from tests.fuzz.sound import assert_gives_sound_readings
from worker.storage.schema import identity_values

pytestmark = pytest.mark.thorough

FILES = tuple(sorted((Path(__file__).parents[2] / "identities").glob("example-*.json")))
MINTED = {"id": "X", "metadata": {"minted": {"seed": 1, "index": 2, "settings": "abc"}}}
NAMES = tuple(sorted({key for place in FIELD_PATHS for key in place}))
CONFIG = Config()


def check(folder: Path, content: str | bytes) -> None:
    """An identity that is accepted is one line of text in every field, and the same when it is written and read."""
    path = folder / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    with processor_time_limit():
        try:
            sensor = read_identity(path)
        except UserError as error:
            assert_line(str(error), f"{path}:")
            return
        for warning in sensor.warnings:
            assert_line(warning, f"{path}:")
        assert all(is_one_line(str(value)) for value in identity_values(sensor.identity))
        again = read_identity(write_identity(folder, sensor))
        (folder / f"{sensor.sensor_id}.json").unlink()
        assert again == sensor
        assert_gives_sound_readings(CONFIG, sensor.identity)


@examples(250)
@given(text=mutated((*FILES, MINTED), NAMES))
def test_an_identity_with_odd_values(tmp_path: Path, text: str) -> None:
    """Any value or key of either format replaced by any other."""
    check(tmp_path, text)


@examples(60)
@given(data=corrupted_bytes(FILES))
def test_an_identity_with_odd_bytes(tmp_path: Path, data: bytes) -> None:
    """Bytes replaced, put in, taken out and repeated."""
    check(tmp_path, data)


@examples(30)
@given(text=mutated((*FILES, MINTED), NAMES))
def test_a_muster_with_an_odd_identity(tmp_path: Path, text: str) -> None:
    """A fleet takes it and mints the rest, the same at its next start; or says in one line what is wrong."""
    path = tmp_path / "i" / "b.json"
    for left in path.parent.glob("*"):
        left.unlink()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode(errors="surrogatepass"))
    config = load_config(resource_path("single-sensor.yaml"))
    with processor_time_limit():
        try:
            seed = generated_seed(path.parent) or 0
            assert 0 <= seed < 2**63
            generator = generator_for(config, load_catalogue(), seed)
            sensors, _ = provision(path.parent, generator, 3)
        except UserError as error:
            assert_line(str(error), f"{path.parent}")
            return
        again, _ = provision(path.parent, generator, 3)
        assert sensors == again
        assert 3 == len({sensor.sensor_id for sensor in sensors})
