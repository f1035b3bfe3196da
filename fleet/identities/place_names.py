"""Place names: how a city is spelled in a sensor's id and in its address."""

from __future__ import annotations

from functools import lru_cache
from unicodedata import normalize

from fleet.catalogue.cities import City

# Letters that Unicode does not take apart into an ASCII letter and an accent.
ASCII_LETTERS = str.maketrans(
    {"Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Ð": "D", "ð": "d", "Ø": "O", "ø": "o", "ı": "i", "ħ": "h", "Ħ": "H"}
    | {"Æ": "Ae", "æ": "ae", "Œ": "Oe", "œ": "oe", "ß": "ss", "Þ": "Th", "þ": "th", "ə": "e", "Ə": "E"}
)


@lru_cache(maxsize=8192)
def city_code(name: str) -> str:
    """Three capital letters for a city: `SAO` for São Paulo, `XIA` for Xi'an, filled up with X: `HOX`, `XXX`."""
    plain = normalize("NFKD", name.translate(ASCII_LETTERS))
    return "".join(character for character in plain if "A" <= character.upper() <= "Z")[:3].upper().ljust(3, "X")


def state_code(city: City) -> str | None:
    """The region's abbreviation where GeoNames has one ("CO"); most of its regions are numbers."""
    return city.admin1 if city.admin1.isalpha() else None


def city_address(city: City) -> str:
    """`Denver, CO, USA` in the United States, `Lyon, FR` elsewhere."""
    if city.country == "US" and state_code(city):
        return f"{city.name}, {city.admin1}, USA"
    return f"{city.name}, {city.country}" if city.country else city.name
