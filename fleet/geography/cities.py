"""The table of cities that sensors stand in: reading it, and choosing from it.

A table of one's own is a TSV file with the columns of `configs/cities.tsv` in any order (`geonameid` and any further
ones are passed over), or JSON: a list of objects, the same under the key `cities`, or an object of name -> object.
In JSON a city needs no more than name, latitude and longitude: without `population` it counts 1, without `timezone`
it is in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from fleet.documents import parse_json, quoted, read_text, refuse, writable
from fleet.errors import UserError
from fleet.geography.timezones import timezones
from fleet.packaged import packaged

COLUMNS = ("name", "country", "admin1", "latitude", "longitude", "population", "timezone")
SPELLINGS = {"city": "name", "lat": "latitude", "lon": "longitude", "lng": "longitude", "state": "admin1"}
DEFAULTS = {"country": "", "admin1": "", "population": 1, "timezone": "UTC"}
LONGEST_NAME, LONGEST_CODE = 100, 40  # together they are an address
TEXT: tuple[tuple[type, ...], str] = ((str,), "text")
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
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


@dataclass(frozen=True, slots=True)
class Filters:
    """Which cities may be chosen: the `number_of_cities` largest of those that pass the others."""

    number_of_cities: int | None = None
    min_population: int | None = None
    max_population: int | None = None
    include_countries: tuple[str, ...] = ()
    exclude_countries: tuple[str, ...] = ()

    def __str__(self) -> str:
        fields = ((name, getattr(self, name)) for name in self.__slots__)
        return ", ".join(f"{name}={shown(value)}" for name, value in fields if value not in (None, ()))


def shown(value: int | tuple[str, ...]) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def choose_from(cities: Iterable[City], filters: Filters) -> tuple[City, ...]:
    """The cities that pass, largest first (equal ones in the order of the table).

    Country codes are compared without case. UserError if nothing is left, or if `include_countries` names a country
    that the table does not have.
    """
    table = tuple(cities)
    include = {country.upper() for country in filters.include_countries}
    exclude = {country.upper() for country in filters.exclude_countries}
    missing = include - {city.country.upper() for city in table}
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
        and (not include or city.country.upper() in include)
        and city.country.upper() not in exclude
    ]
    left.sort(key=lambda city: -city.population)
    chosen = tuple(left[: filters.number_of_cities])
    if not chosen:
        raise UserError(f"no city is left of {len(table)} ({filters})")
    if not chosen[0].population:
        raise UserError(f"all {len(chosen)} cities have population 0, so none can be chosen by population")
    return chosen


def cities_at(cities: Iterable[City], location: str) -> tuple[City, ...]:
    """The largest inhabited city that a location such as "Denver", "New York" or "Denver, CO, USA" names, if any."""
    name = location.partition(",")[0].strip().casefold()
    named = [city for city in cities if city.population and city.name.casefold() in (name, f"{name} city")]
    return tuple(sorted(named, key=lambda city: -city.population)[:1])


def read_cities(path: Path | None = None) -> tuple[City, ...]:
    """The cities of the file, in its order; the packaged table without one. UserError says what is wrong where."""
    if path is None:
        path = packaged("cities.tsv")
    text = read_text(path)
    cities = from_json(text, path) if text.lstrip()[:1] in ("[", "{") else from_table(text, path)
    if not cities:
        raise UserError(f"{path}: no cities in it")
    return cities


def from_table(text: str, path: Path) -> tuple[City, ...]:
    """The cities of a TSV text. The packaged 5000 take a few milliseconds, so the fields are not models."""
    lines = text.split("\n")
    header = lines[0].split("\t")
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise UserError(f"{path}:1: no column {', '.join(missing)} (needed, tab-separated: {', '.join(COLUMNS)})")
    pick = itemgetter(*(header.index(name) for name in COLUMNS))
    refuse_unwritable(text, path)
    known = timezones()
    cities = []
    for number, line in enumerate(islice(lines, 1, None), start=2):
        if not line.strip():
            continue
        try:
            name, country, admin1, latitude, longitude, population, timezone = pick(line.split("\t"))
            city = City(name, country, admin1, float(latitude), float(longitude), int(population), timezone)
        except (IndexError, ValueError):
            raise UserError(f"{path}:{number}: {unreadable(line.split(chr(9)), header)}") from None
        if not sound(city, known):
            key, allowed = fault(city)
            raise UserError(f"{path}:{number}: {key}: {quoted(getattr(city, key))} {allowed}")
        cities.append(city)
    return tuple(cities)


def refuse_unwritable(text: str, path: Path) -> None:
    """UserError if there is something in the table that could not stand in a line of another file."""
    if writable(text.replace("\t", "").replace("\n", "")):
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not writable(line.replace("\t", "")):
            raise UserError(f"{path}:{number}: {quoted(line)} has control characters in it")


def unreadable(fields: list[str], header: list[str]) -> str:
    """Why a line of the table is not a city."""
    if len(fields) < len(header):
        return f"{len(fields)} fields, the header has {len(header)}"
    row = dict(zip(header, fields, strict=False))
    for key in ("latitude", "longitude"):
        try:
            float(row[key])
        except ValueError:
            return f"{key}: {quoted(row[key])} is not a number"
    return f"population: {quoted(row['population'])} is not a whole number"


def sound(city: City, known: frozenset[str]) -> bool:
    return (
        -90 <= city.latitude <= 90
        and -180 <= city.longitude <= 180
        and city.population >= 0
        and city.timezone in known
        and city.name.strip() != ""
        and len(city.name) <= LONGEST_NAME
        and not city.country.isspace()
        and len(city.country) <= LONGEST_CODE
        and len(city.admin1) <= LONGEST_CODE
    )


def fault(city: City) -> tuple[str, str]:
    """The field that makes a city unsound, and what is allowed there."""
    if not -90 <= city.latitude <= 90:
        return "latitude", "is not a latitude (-90 to 90 degrees)"
    if not -180 <= city.longitude <= 180:
        return "longitude", "is not a longitude (-180 to 180 degrees)"
    if city.population < 0:
        return "population", "is negative"
    if not city.name.strip() or city.country.isspace():
        return ("country", "is blank") if city.name.strip() else ("name", "is empty")
    for key, most in (("name", LONGEST_NAME), ("country", LONGEST_CODE), ("admin1", LONGEST_CODE)):
        if len(getattr(city, key)) > most:
            return key, f"is longer than {most} characters"
    return "timezone", "is not a time zone (such as America/Denver)"


def from_json(text: str, path: Path) -> tuple[City, ...]:
    """The cities of a JSON text."""
    document = parse_json(text, path)
    inner: tuple[str | int, ...] = ()
    if isinstance(document, dict) and isinstance(document.get("cities"), list):
        document, inner = document["cities"], ("cities",)
    entries = enumerate(document) if isinstance(document, list) else document.items()
    return tuple(from_entry(entry, (*inner, key), text, path) for key, entry in entries)


def from_entry(entry: Any, keys: tuple[str | int, ...], text: str, path: Path) -> City:
    """One city of a JSON text; `keys` lead to it. A field that is null is taken as left out."""
    if not isinstance(entry, dict):
        refuse(path, text, keys, entry, "is not an object with latitude and longitude")
    fields: dict[str, Any] = dict(DEFAULTS) if isinstance(keys[-1], int) else {**DEFAULTS, "name": keys[-1]}
    spelled = {}
    for key, value in entry.items():
        name = SPELLINGS.get(key, key)
        if value is None or name not in COLUMNS:
            continue
        kinds, kind = KINDS.get(name, TEXT)
        if not isinstance(value, kinds) or isinstance(value, bool) or unwritable(value):
            refuse(path, text, (*keys, key), value, f"is not {kind}")
        fields[name], spelled[name] = value, key
    for name in COLUMNS:
        if name not in fields:
            refuse(path, text, keys, entry, f"has no {name}")
    city = City(**fields)
    if not sound(city, timezones()):
        name, allowed = fault(city)
        refuse(path, text, (*keys, spelled.get(name, name)), getattr(city, name), allowed)
    return city._replace(latitude=float(city.latitude), longitude=float(city.longitude))


def unwritable(value: object) -> bool:
    return isinstance(value, str) and not writable(value)
