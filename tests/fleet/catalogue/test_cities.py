"""Reading a table of cities and choosing from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.catalogue.cities import City, CityFilters, cities_named, filter_cities, read_cities, timezones
from fleet.errors import UserError

pytestmark = pytest.mark.claim("000.testing.6")

HEADER = "name\tcountry\tadmin1\tlatitude\tlongitude\tpopulation\ttimezone"
ROW = "Lyon\tFR\t84\t45.7485\t4.8467\t522250\tEurope/Paris"


def city(name: str, country: str, population: int) -> City:
    return City(name, country, "", 0.0, 0.0, population, "UTC")


TABLE = (city("A", "US", 100), city("B", "DE", 400), city("C", "US", 300), city("D", "FR", 300))


def failure(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_cities(path)
    return str(caught.value)


@pytest.mark.claim("000.advanced-features.2")
def test_the_packaged_table_is_there() -> None:
    """Without a path the packaged table is read, accents and all, and every row of it is sound."""
    cities = read_cities()

    assert len(cities) == 5000
    assert cities[0] == City("Shanghai", "CN", "23", 31.2222, 121.4581, 24874500, "Asia/Shanghai")
    assert "São Paulo" in {city.name for city in cities}
    assert {city.timezone for city in cities} <= timezones()


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    """A table of one's own needs the columns, not their order; unknown columns and blank lines are passed over."""
    path = tmp_path / "mine.tsv"
    path.write_bytes(
        b"timezone\tnote\tlongitude\tlatitude\tpopulation\tname\tcountry\tadmin1\r\n"
        b"Europe/Paris\thm\t4.8467\t45.7485\t522250\tLyon\tFR\t84\r\n\r\n"
    )

    assert read_cities(path) == (City("Lyon", "FR", "84", 45.7485, 4.8467, 522250, "Europe/Paris"),)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (ROW.replace("45.7485", "north"), 'mine.tsv:3: latitude: "north" is not a number'),
        (ROW.replace("45.7485", "nan"), "mine.tsv:3: latitude: NaN is not a latitude (-90 to 90 degrees)"),
        (ROW.replace("45.7485", "95"), "mine.tsv:3: latitude: 95.0 is not a latitude (-90 to 90 degrees)"),
        (ROW.replace("4.8467", "181"), "mine.tsv:3: longitude: 181.0 is not a longitude (-180 to 180 degrees)"),
        (ROW.replace("4.8467", ""), 'mine.tsv:3: longitude: "" is not a number'),
        (ROW.replace("522250", "-5"), "mine.tsv:3: population: -5 is negative"),
        (ROW.replace("522250", "5.5"), 'mine.tsv:3: population: "5.5" is not a whole number'),
        (ROW.replace("Paris", "Lyon"), 'mine.tsv:3: timezone: "Europe/Lyon" is not a time zone'),
        (ROW.replace("Lyon", " "), 'mine.tsv:3: name: " " is empty'),
        (ROW.replace("Lyon", "L" * 101), f'mine.tsv:3: name: "{"L" * 56}... is longer than 100 characters'),
        (ROW.replace("FR", " "), 'mine.tsv:3: country: " " is blank'),
        (ROW.replace("FR", "F\x1b[31m"), "has control characters in it"),
        ("Lyon\tFR", "mine.tsv:3: 2 fields, the header has 7"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    """The error of a table has file, line, column's name, value, and what is allowed."""
    path = tmp_path / "mine.tsv"
    path.write_text(f"{HEADER}\n{ROW}\n{row}\n")

    assert complaint in failure(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "no column name"),
        (b"name\tcountry\n", "mine.tsv:1: no column admin1, latitude, longitude, population, timezone"),
        (HEADER.encode(), "no cities in it"),
        (b"[]", "no cities in it"),
        (b"\x89PNG\xff\x00", "not a text file"),
        (b"name\0", "not a text file"),
        (b"[{]", "mine.tsv:1:3: invalid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"A": {"lat": 1, "lon": 1}, "A": {"lat": 1, "lon": 2}}', 'the key "A" occurs twice'),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "mine.tsv"
    path.write_bytes(content)

    assert complaint in failure(path)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    assert failure(tmp_path) == f"{tmp_path}: is a directory, not a file"
    assert failure(tmp_path / "none") == f"{tmp_path / 'none'}: no such file"


LYON = {"lat": 45.75, "lon": 4}


@pytest.mark.parametrize(
    "document",
    [
        [{"name": "Lyon", **LYON}],
        {"cities": [{"city": "Lyon", "latitude": 45.75, "lng": 4, "population": None, "mayor": 5}]},
        {"Lyon": {"latitude": 45.75, "longitude": 4.0}},
        {"cities": {"lat": 45.75, "lon": 4.0, "name": "Lyon"}},  # a city called "cities", in the third shape
    ],
)
@pytest.mark.claim("001.configuration-options.16")
def test_json_comes_in_three_shapes(tmp_path: Path, document: object) -> None:
    """A list, a list under `cities`, or an object by name; name and coordinates are all that a city needs."""
    path = tmp_path / "cities.json"
    path.write_text(json.dumps(document))

    assert read_cities(path) == (City("Lyon", "", "", 45.75, 4.0, 1, "UTC"),)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ('{"name": "B", "lat": 95, "lon": 1}', "cities.json:2:22: cities[1].lat: 95 is not a latitude"),
        ('{"name": "B", "lat": NaN, "lon": 1}', "cities.json:2:22: cities[1].lat: NaN is not a latitude"),
        ('{"name": "B", "lat": "1", "lon": 1}', 'cities.json:2:22: cities[1].lat: "1" is not a number'),
        ('{"name": "B", "lat": true, "lon": 1}', "cities.json:2:22: cities[1].lat: true is not a number"),
        ('{"name": "B", "lat": 1}', "cities.json:2:1: cities[1]: "),
        ('{"name": "B", "lat": 1, "lon": 1, "population": 1.5}', "cities[1].population: 1.5 is not a whole number"),
        ('{"name": "B", "lat": 1, "lon": 1, "timezone": "X"}', 'cities[1].timezone: "X" is not a time zone'),
        ('{"name": "\\ud800", "lat": 1, "lon": 1}', "cities[1].name: "),
        ("7", "cities.json:2:1: cities[1]: 7 is not an object"),
    ],
)
def test_a_bad_json_city_is_named(tmp_path: Path, entry: str, complaint: str) -> None:
    """The error of a JSON table has file, line, column, key and value."""
    path = tmp_path / "cities.json"
    path.write_text('{"cities": [{"name": "A", "lat": 1, "lon": 1},\n' + entry + "]}")

    assert complaint in failure(path)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (CityFilters(), "BCDA"),
        (CityFilters(number_of_cities=2), "BC"),
        (CityFilters(min_population=300), "BCD"),
        (CityFilters(max_population=300), "CDA"),
        (CityFilters(include_countries=("us", "FR")), "CDA"),
        (CityFilters(exclude_countries=("US",)), "BD"),
        (CityFilters(number_of_cities=1, exclude_countries=("DE",)), "C"),
        (CityFilters(number_of_cities=99), "BCDA"),
    ],
)
@pytest.mark.claim("000.advanced-features.2")
def test_the_largest_of_those_that_pass_are_chosen(filters: CityFilters, names: str) -> None:
    """`number_of_cities` counts what the other filters leave, largest first, equal ones as in the table."""
    assert names == "".join(city.name for city in filter_cities(TABLE, filters))


def test_filters_that_leave_nothing_are_named() -> None:
    """The error says how many cities there were and which filters took them."""
    with pytest.raises(UserError) as caught:
        filter_cities(TABLE, CityFilters(number_of_cities=5, min_population=500, exclude_countries=("DE", "FR")))

    assert str(caught.value) == (
        "no city is left of 4 (number_of_cities=5, min_population=500, exclude_countries=DE,FR)"
    )


def test_a_country_that_is_not_in_the_table_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^include_countries: no city of UK, XYZ in the table"):
        filter_cities(TABLE, CityFilters(include_countries=("XYZ", "US", "UK")))


def test_codes_of_three_letters_are_those_of_two() -> None:
    """In the filters and in a table of the user's."""
    table = (city("A", "USA", 5), city("B", "US", 4), city("C", "DE", 3))

    assert {"A", "B"} == {each.name for each in filter_cities(table, CityFilters(include_countries=("usa",)))}
    assert {"A", "B"} == {each.name for each in filter_cities(table, CityFilters(exclude_countries=("DEU",)))}


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("New York Factory Floor 3", "New York City"),
        ("Plant 2, São Paulo", "São Paulo"),
        ("MUNICH HALL 4", "Munich"),
        ("Werk Santa Fe", "Santa Fe"),
        ("denver", "Denver"),
        ("mobile unit 7", None),
        ("Factory Floor 3", None),
    ],
)
def test_the_longest_known_place_in_a_location_is_meant(location: str, name: str | None) -> None:
    """Of the table, in any position, as whole words and with capitals."""
    names = ("York", "New York City", "São Paulo", "Munich", "Santa", "Santa Fe", "Denver", "Mobile", "Hall")
    table = tuple(city(each, "XX", 10 * len(names) - at) for at, each in enumerate(names))

    found = cities_named(table, location)

    assert name == (found[0].name if found else None)


def test_cities_without_people_cannot_be_chosen() -> None:
    with pytest.raises(UserError, match=r"^all 1 cities have population 0"):
        filter_cities((city("A", "US", 0),), CityFilters())
