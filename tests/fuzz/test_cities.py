"""Tables of cities of any content: refused in one line that names the place, or good for identities."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.catalogue.catalogue import load_catalogue
from fleet.catalogue.cities import CITY_COLUMNS, CityFilters, filter_cities, read_cities
from fleet.errors import UserError
from fleet.identities.files import read_identity, write_identity
from fleet.identities.generator import IdentityGenerator
from fleet.resources import resource_path
from tests.fuzz.bounds import assert_line, examples, processor_time_limit
from tests.fuzz.json_texts import mutated

pytestmark = pytest.mark.thorough

LINES = resource_path("cities.tsv").read_text().splitlines()[:6]
CITY = {"latitude": 52.5, "longitude": 13.4, "population": 3_426_354, "timezone": "Europe/Berlin", "country": "DE"}
DOCUMENTS = (
    [{"name": "Berlin", **CITY}, {"city": "Bonn", "lat": 50.7, "lng": 7.1, "state": "NW"}],
    {"cities": [{"name": "Berlin", **CITY}]},
    {"Berlin": CITY, "Bonn": {"latitude": 50, "longitude": 7}},
)
FIELDS = (
    *("", " ", "nan", "inf", "-inf", "1e400", "90", "-90", "180.0000001", "0", "-1", "1_000", "٣", "0x1", "1.5", "+5"),
    *("9" * 30, "9" * 5000, "x" * 201, "x" * 5000, "\x1b[31m", "\x85", "\u2028", "\x9b", "\0", "\ufeff", "é", "🦆"),
    *("UTC", "utc", "../UTC", "Factory", "US", "DE", "D", "DEU", '"Berlin"', "a\tb", "\t", "a\rb", "a\nb"),
)
ENDS = ("\n", "\r\n", "\r", "\n\n", "\x0b", "\u2028")


@st.composite
def tables(draw: st.DrawFn) -> str:
    """The first cities of the packaged table with one to four fields, columns or line ends changed."""
    rows = [line.split("\t") for line in LINES]
    end = draw(st.sampled_from(ENDS)) if draw(st.integers(0, 9)) == 0 else "\n"
    for _ in range(draw(st.integers(1, 4))):
        row = draw(st.sampled_from(rows))
        number = draw(st.integers(0, len(row)))
        field = draw(st.sampled_from((*FIELDS, *CITY_COLUMNS)) | st.text(max_size=10))
        match draw(st.sampled_from(("replace", "replace", "replace", "insert", "cut"))):
            case "replace":
                row[number : number + 1] = [field]
            case "insert":
                row.insert(number, field)
            case "cut":
                del row[number:]
    return end.join("\t".join(row) for row in rows)


def check(folder: Path, text: str) -> None:
    """The cities that are accepted make identities that can be written and read again."""
    path = folder / "cities"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with processor_time_limit():
        try:
            cities = filter_cities(read_cities(path), CityFilters(number_of_cities=10))
        except UserError as error:
            assert_line(str(error), f"{path}:", "no city is left", "all ")
            return
        generator = IdentityGenerator(1, cities, load_catalogue().sensor_type("environmental"))
        for number in range(4):
            sensor = generator.generate(number)
            written = write_identity(folder, sensor)
            assert read_identity(written) == sensor
            written.unlink()


@examples(200)
@given(text=tables())
def test_a_table_with_odd_fields(tmp_path: Path, text: str) -> None:
    """Any field replaced, put in or left out."""
    check(tmp_path, text)


@examples(200)
@given(text=mutated(DOCUMENTS, ("name", "city", "lat", "latitude", "cities", "timezone", "population")))
def test_a_document_with_odd_values(tmp_path: Path, text: str) -> None:
    """Any value or key of a JSON table replaced by any other."""
    check(tmp_path, text)
