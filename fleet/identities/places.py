"""Places of generated sensors: a point near a city, and the city's name in an id and in an address."""

from __future__ import annotations

from functools import lru_cache
from math import asin, atan2, cos, degrees, hypot, pi, radians, sin, sqrt
from unicodedata import normalize

from fleet.catalogue.cities import City

EARTH_RADIUS_METRES = 6_371_008.8
"""Mean radius of the Earth in metres (IUGG R1)."""

COORDINATE_DECIMALS = 6
ROUNDING_METRES = 0.08
"""Metres by which rounding to `COORDINATE_DECIMALS` can move a point: half of 0.11 m each way."""


def scatter_point(latitude: float, longitude: float, radius: float, area: float, turn: float) -> tuple[float, float]:
    """Return a point within `radius` metres of a place, as (latitude, longitude) in degrees, to six decimals.

    `area` and `turn` are in [0, 1): the share of the disc's area that is nearer than the point, and the direction as
    a share of the full circle, from north by east. Uniform ones give points uniform over the spherical cap, whose
    area grows with sin^2(angle / 2). Longitudes are wrapped into [-180, 180]; the poles need no special case. This
    is the destination-point formula, with atan2 for asin so that it stays exact near the poles.
    """
    reach = min(max(radius - ROUNDING_METRES, 0.0) / EARTH_RADIUS_METRES, pi)
    angle = 2 * asin(sqrt(area) * sin(reach / 2))
    bearing = 2 * pi * turn
    phi, lam = radians(latitude), radians(longitude)
    ahead, aside = sin(angle) * cos(bearing), sin(angle) * sin(bearing)
    up = sin(phi) * cos(angle) + cos(phi) * ahead
    out = cos(phi) * cos(angle) - sin(phi) * ahead
    north = degrees(atan2(up, hypot(out, aside)))
    east = (degrees(lam + atan2(aside, out)) + 180) % 360 - 180
    return round(north, COORDINATE_DECIMALS), round(east, COORDINATE_DECIMALS)


# Letters that Unicode does not take apart into an ASCII letter and an accent.
ASCII_LETTERS = str.maketrans(
    {"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Ð": "D", "ð": "d", "Ø": "O", "ø": "o", "ı": "i", "ħ": "h", "Ħ": "H"}
    | {"Æ": "Ae", "æ": "ae", "Œ": "Oe", "œ": "oe", "ß": "ss", "Þ": "Th", "þ": "th", "ə": "e", "Ə": "E"}
)


@lru_cache(maxsize=8192)
def city_code(name: str) -> str:
    """Return three capital letters for a city: `SAO` for São Paulo, `XIA` for Xi'an, padded with X: `HOX`, `XXX`."""
    plain = normalize("NFKD", name.translate(ASCII_LETTERS))
    return "".join(character for character in plain if "A" <= character.upper() <= "Z")[:3].upper().ljust(3, "X")


def state_code(city: City) -> str | None:
    """Return the region's abbreviation if GeoNames has one ("CO"); most of its regions are numbers."""
    return city.admin1 if city.admin1.isalpha() else None


def city_address(city: City) -> str:
    """Return `Denver, CO, USA` in the United States, `Lyon, FR` elsewhere."""
    if city.country == "US" and state_code(city):
        return f"{city.name}, {city.admin1}, USA"
    return f"{city.name}, {city.country}" if city.country else city.name
