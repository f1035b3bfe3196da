"""Files of kinds of sensor of any content: refused in one line that names the place, or good for settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.catalogue.catalogue import load_catalogue
from fleet.catalogue.cities import City
from fleet.config.config import Config
from fleet.config.settings import settings_for
from fleet.errors import UserError
from fleet.identities.files import read_identity, write_identity
from fleet.identities.generator import IdentityGenerator
from tests.fuzz.bounds import assert_line, examples, processor_time_limit
from tests.fuzz.changes import corrupted_bytes
from tests.fuzz.yaml_texts import mutated
from worker.storage.schema import further_columns, settings_from_json, settings_to_json

pytestmark = pytest.mark.thorough

KINDS = Path(__file__).parents[2] / "configs" / "kinds"
FILES = tuple(sorted(KINDS.glob("*.yaml")))
BERLIN = (City("Berlin", "DE", "16", 52.5, 13.4, 3_426_354, "Europe/Berlin"),)
CONFIG = Config()


def check(folder: Path, content: str | bytes) -> None:
    path = folder / "air.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    with processor_time_limit():
        try:
            catalogue = load_catalogue(None, [path])
        except UserError as error:
            assert_line(str(error), f"{path}:", str(KINDS))
            return
        kind = catalogue.types["air"]
        generator = IdentityGenerator(1, BERLIN, kind)
        for number in range(3):
            sensor = generator.generate(number)
            written = write_identity(folder, sensor)
            assert read_identity(written) == sensor
            written.unlink()
            settings = settings_for(CONFIG, catalogue, sensor.identity)
            assert settings == settings_from_json(settings_to_json(settings))
            assert set(further_columns(sensor.identity, settings)) <= set(kind.entry.columns())


@examples(100)
@given(data=st.data())
def test_a_kind_with_odd_values(tmp_path: Path, data: st.DataObject) -> None:
    """Any value or key replaced by any other."""
    check(tmp_path, data.draw(mutated(FILES)))


@examples(30)
@given(data=st.data())
def test_a_kind_with_odd_bytes(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes replaced, put in, taken out and repeated."""
    check(tmp_path, data.draw(corrupted_bytes(FILES)))
