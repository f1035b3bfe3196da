"""The table of cities in which sensors are placed: reading it, and filtering it.

A user's table is a TSV file with the columns of `configs/cities.tsv` in any order (`geonameid` and further columns
are ignored), or JSON: a list of objects, the same under the key `cities`, or an object of name -> object. In JSON a
city needs only name, latitude and longitude; the default `population` is 1, the default `timezone` UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from fleet.catalogue.countries import country_code
from fleet.errors import UserError
from fleet.resources import resource_path
from fleet.strict_json import is_one_line, parse_json, raise_json_error, read_text_file, short_json

CITY_COLUMNS = ("name", "country", "admin1", "latitude", "longitude", "population", "timezone")
COLUMN_ALIASES = {
    "city": "name",
    "full_name": "name",
    "lat": "latitude",
    "lon": "longitude",
    "lng": "longitude",
    "state": "admin1",
}
COLUMN_DEFAULTS = {"country": "", "admin1": "", "population": 1, "timezone": "UTC"}
MAX_CITY_NAME_LENGTH, MAX_CITY_CODE_LENGTH = 100, 40  # together they are an address
TEXT_TYPE: tuple[tuple[type, ...], str] = ((str,), "text")
COLUMN_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "latitude": ((int, float), "a number"),
    "longitude": ((int, float), "a number"),
    "population": ((int,), "a whole number"),
}


class City(NamedTuple):
    """One city. Angles are degrees; `country` is a two-letter code, `admin1` its GeoNames region ("CO", "23")."""

    name: str
    country: str
    admin1: str
    latitude: float
    longitude: float
    population: int
    timezone: str


WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class CityFilters:
    """The cities that may be chosen: the `number_of_cities` largest among those that pass the other filters."""

    number_of_cities: int | None = None
    min_population: int | None = None
    max_population: int | None = None
    include_countries: tuple[str, ...] = ()
    exclude_countries: tuple[str, ...] = ()

    def __str__(self) -> str:
        fields = ((name, getattr(self, name)) for name in self.__slots__)
        return ", ".join(f"{name}={format_filter(value)}" for name, value in fields if value not in (None, ()))


def format_filter(value: int | tuple[str, ...]) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def filter_cities(cities: Iterable[City], filters: CityFilters) -> tuple[City, ...]:
    """Return the cities that pass, largest first (equal ones in the order of the table).

    Country codes are compared without case, those of three letters as the ones of two. UserError if no city is left, or if `include_countries` names a country
    that the table does not have.
    """
    table = tuple(cities)
    include = {country_code(country) for country in filters.include_countries}
    exclude = {country_code(country) for country in filters.exclude_countries}
    missing = include - {country_code(city.country) for city in table}
    if missing:
        names = ", ".join(sorted(missing))
        raise UserError(f"include_countries: no city of {names} in the table (two-letter codes, such as DE, US, GB)")
    least = filters.min_population or 0
    most = filters.max_population
    left = [
        city
        for city in table
        if city.population >= least
        and (most is None or city.population <= most)
        and (not include or country_code(city.country) in include)
        and country_code(city.country) not in exclude
    ]
    left.sort(key=lambda city: -city.population)
    chosen = tuple(left[: filters.number_of_cities])
    if not chosen:
        raise UserError(f"no city is left of {len(table)} ({filters})")
    if not chosen[0].population:
        raise UserError(f"all {len(chosen)} cities have population 0, so none can be chosen by population")
    return chosen


def cities_named(cities: Iterable[City], location: str) -> tuple[City, ...]:
    """Return the inhabited city that a location names, if any: that of a location such as "New York" or "Denver, CO, USA",
    or else the one with the longest name in a text such as "New York Factory Floor 3". Of several the largest."""
    inhabited = sorted((city for city in cities if city.population), key=lambda city: -city.population)
    name = location.partition(",")[0].strip().casefold()
    for city in inhabited:
        if city.name.casefold() in (name, f"{name} city"):
            return (city,)
    spelled = str.casefold if location.isupper() else str  # "mobile unit" is not in Mobile
    words = word_sequence(spelled(location))
    names = [(spelled(city.name), city) for city in inhabited]
    named = [(name.removesuffix(spelled(" City")), city) for name, city in names]
    found = [(name, city) for name, city in named if word_sequence(name) in words]
    return tuple(city for _, city in sorted(found, key=lambda each: -len(each[0]))[:1])


def word_sequence(text: str) -> str:
    """Return the words of a text, each with a space before and behind it."""
    return f" {' '.join(WORD.findall(text))} "


def read_cities(path: Path | None = None) -> tuple[City, ...]:
    """Read the cities of the file at `path`, in its order, or of the packaged table; UserError with the place of an
    error."""
    if path is None:
        path = resource_path("cities.tsv")
    text = read_text_file(path)
    cities = parse_city_json(text, path) if text.lstrip()[:1] in ("[", "{") else parse_city_table(text, path)
    if not cities:
        raise UserError(f"{path}: no cities in it")
    return cities


def parse_city_table(text: str, path: Path) -> tuple[City, ...]:
    """Parse a TSV text. The packaged 5000 cities take a few milliseconds, which is why no models are used."""
    lines = text.split("\n")
    header = lines[0].split("\t")
    missing = [name for name in CITY_COLUMNS if name not in header]
    if missing:
        raise UserError(f"{path}:1: no column {', '.join(missing)} (needed, tab-separated: {', '.join(CITY_COLUMNS)})")
    pick = itemgetter(*(header.index(name) for name in CITY_COLUMNS))
    reject_control_characters(text, path)
    known = timezones()
    cities = []
    for number, line in enumerate(islice(lines, 1, None), start=2):
        if not line.strip():
            continue
        try:
            name, country, admin1, latitude, longitude, population, timezone = pick(line.split("\t"))
            city = City(name, country, admin1, float(latitude), float(longitude), int(population), timezone)
        except (IndexError, ValueError):
            raise UserError(f"{path}:{number}: {describe_bad_row(line.split(chr(9)), header)}") from None
        if not is_valid(city, known):
            key, allowed = invalid_field(city)
            raise UserError(f"{path}:{number}: {key}: {short_json(getattr(city, key))} {allowed}")
        cities.append(city)
    return tuple(cities)


def reject_control_characters(text: str, path: Path) -> None:
    """Raise UserError for a character in the table that must not occur in a line of another file."""
    if is_one_line(text.replace("\t", "").replace("\n", "")):
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not is_one_line(line.replace("\t", "")):
            raise UserError(f"{path}:{number}: {short_json(line)} has control characters in it")


def describe_bad_row(fields: list[str], header: list[str]) -> str:
    """Describe the first error in a line of the table."""
    if len(fields) < len(header):
        return f"{len(fields)} fields, the header has {len(header)}"
    row = dict(zip(header, fields, strict=False))
    for key in ("latitude", "longitude"):
        try:
            float(row[key])
        except ValueError:
            return f"{key}: {short_json(row[key])} is not a number"
    return f"population: {short_json(row['population'])} is not a whole number"


def is_valid(city: City, known: frozenset[str]) -> bool:
    return (
        -90 <= city.latitude <= 90
        and -180 <= city.longitude <= 180
        and city.population >= 0
        and city.timezone in known
        and city.name.strip() != ""
        and len(city.name) <= MAX_CITY_NAME_LENGTH
        and not city.country.isspace()
        and len(city.country) <= MAX_CITY_CODE_LENGTH
        and len(city.admin1) <= MAX_CITY_CODE_LENGTH
    )


def invalid_field(city: City) -> tuple[str, str]:
    """Return the first invalid field of a city, and the reason."""
    if not -90 <= city.latitude <= 90:
        return "latitude", "is not a latitude (-90 to 90 degrees)"
    if not -180 <= city.longitude <= 180:
        return "longitude", "is not a longitude (-180 to 180 degrees)"
    if city.population < 0:
        return "population", "is negative"
    if not city.name.strip() or city.country.isspace():
        return ("country", "is blank") if city.name.strip() else ("name", "is empty")
    for key, most in (
        ("name", MAX_CITY_NAME_LENGTH),
        ("country", MAX_CITY_CODE_LENGTH),
        ("admin1", MAX_CITY_CODE_LENGTH),
    ):
        if len(getattr(city, key)) > most:
            return key, f"is longer than {most} characters"
    return "timezone", "is not a time zone (such as America/Denver)"


def parse_city_json(text: str, path: Path) -> tuple[City, ...]:
    """Parse a JSON text."""
    document = parse_json(text, path)
    inner: tuple[str | int, ...] = ()
    if isinstance(document, dict) and isinstance(document.get("cities"), list):
        document, inner = document["cities"], ("cities",)
    entries = enumerate(document) if isinstance(document, list) else document.items()
    return tuple(parse_city(entry, (*inner, key), text, path) for key, entry in entries)


def parse_city(entry: Any, keys: tuple[str | int, ...], text: str, path: Path) -> City:
    """Parse one city of a JSON text, found under `keys`. A field that is null counts as absent."""
    if not isinstance(entry, dict):
        raise_json_error(path, text, keys, entry, "is not an object with latitude and longitude")
    fields: dict[str, Any] = (
        dict(COLUMN_DEFAULTS) if isinstance(keys[-1], int) else {**COLUMN_DEFAULTS, "name": keys[-1]}
    )
    spelled = {}
    for key, value in entry.items():
        name = COLUMN_ALIASES.get(key, key)
        if value is None or name not in CITY_COLUMNS or (name != key and entry.get(name) is not None):
            continue
        kinds, kind = COLUMN_TYPES.get(name, TEXT_TYPE)
        if not isinstance(value, kinds) or isinstance(value, bool) or has_control_characters(value):
            raise_json_error(path, text, (*keys, key), value, f"is not {kind}")
        fields[name], spelled[name] = value, key
    for name in CITY_COLUMNS:
        if name not in fields:
            raise_json_error(path, text, keys, entry, f"has no {name}")
    city = City(**fields)
    if not is_valid(city, timezones()):
        name, allowed = invalid_field(city)
        raise_json_error(path, text, (*keys, spelled.get(name, name)), getattr(city, name), allowed)
    return city._replace(latitude=float(city.latitude), longitude=float(city.longitude))


def has_control_characters(value: object) -> bool:
    return isinstance(value, str) and not is_one_line(value)


@cache
def timezones() -> frozenset[str]:
    """Return the names of all time zones, such as `America/Denver`: those of the pinned tzdata package, the same
    everywhere."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())
