"""The climate of a place: the effect of latitude and altitude on temperature and pressure, from published tables.

Temperature at sea level is that of the parallel: the means of year, January and July of J. von Hann and W. Meinardus as
climatology handbooks reprint them (B. Haurwitz and J. M. Austin, "Climatology", New York 1944), interpolated linearly.
Their means over the globe and over each hemisphere are 14.3, 15.2 and 13.3 degC. Altitude follows the International
Standard Atmosphere (ISO 2533:1975): 6.5 K per kilometre, and the barometric formula p = p0 (1 - L h / T0)^5.25588.
Coasts, currents and winds are not modelled.

All results are computed with + - * / on floats, so that a city has the same climate on every machine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from functools import lru_cache
from typing import NamedTuple

from fleet.resources import resource_path

STANDARD_TEMPERATURE = 15.0
"""degC at sea level in the standard atmosphere: there climate changes nothing."""
LAPSE_RATE = 6.5e-3
"""Kelvin per metre."""
BAROMETRIC_EXPONENT = 5.25588
MAX_ALTITUDE_METRES, MIN_ALTITUDE_METRES = 11_000.0, -5_000.0
"""Metres between which the formulas hold."""
BINOMIAL_TERMS = 24
"""Of a series in L h / T0, which is below 0.25: the rest is below 1e-15."""


class Parallel(NamedTuple):
    """Mean temperatures at sea level, degC; `latitude` is positive in the north."""

    latitude: float
    year: float
    january: float
    july: float


PARALLELS = (
    Parallel(-90, -33.1, -13.5, -47.8),
    Parallel(-80, -27.0, -10.8, -39.5),
    Parallel(-70, -13.6, -3.5, -23.0),
    Parallel(-60, -3.4, 2.1, -9.1),
    Parallel(-50, 5.8, 8.1, 3.4),
    Parallel(-40, 11.9, 15.6, 9.0),
    Parallel(-30, 18.4, 21.9, 14.7),
    Parallel(-20, 22.9, 25.4, 20.0),
    Parallel(-10, 25.3, 26.3, 23.9),
    Parallel(0, 26.2, 26.4, 25.6),
    Parallel(10, 26.7, 25.8, 26.9),
    Parallel(20, 25.3, 21.8, 28.0),
    Parallel(30, 20.4, 14.5, 27.3),
    Parallel(40, 14.1, 5.0, 24.0),
    Parallel(50, 5.8, -7.1, 18.1),
    Parallel(60, -1.1, -16.1, 14.1),
    Parallel(70, -10.7, -26.3, 7.3),
    Parallel(80, -17.2, -32.2, 2.0),
    Parallel(90, -22.7, -41.0, -1.0),
)


class Climate(NamedTuple):
    """The differences between a place and sea level in the standard atmosphere.

    `temperature_offset` is added to the mean temperature of the year; `seasonal_amplitude` is added in July and
    subtracted in January, both in kelvin; pressure is multiplied by `pressure_factor`. All are rounded, so that the
    sensors of a city share theirs.
    """

    temperature_offset: float
    seasonal_amplitude: float
    pressure_factor: float


def climate_of(latitude: float, altitude: float) -> Climate:
    """Return the climate at a latitude in degrees and an altitude in metres above sea level."""
    above = min(max(altitude, MIN_ALTITUDE_METRES), MAX_ALTITUDE_METRES)
    parallel = interpolate_parallel(latitude)
    return Climate(
        temperature_offset=round(parallel.year - STANDARD_TEMPERATURE - LAPSE_RATE * above, 1),
        seasonal_amplitude=round((parallel.july - parallel.january) / 2, 1),
        pressure_factor=round(pressure_ratio(above), 5),
    )


def interpolate_parallel(latitude: float) -> Parallel:
    """Return the temperatures of any parallel, interpolated linearly in the table."""
    upper = min(max(bisect_right(PARALLELS, latitude, key=lambda parallel: parallel.latitude), 1), len(PARALLELS) - 1)
    south, north = PARALLELS[upper - 1 : upper + 1]
    part = (latitude - south.latitude) / (north.latitude - south.latitude)
    return Parallel(*(low + part * (high - low) for low, high in zip(south, north, strict=True)))


def pressure_ratio(altitude: float) -> float:
    """Return pressure at an altitude in metres divided by that at sea level: (1 - x)^5.25588 by its binomial series."""
    x = LAPSE_RATE * altitude / (STANDARD_TEMPERATURE + 273.15)
    share = term = 1.0
    for order in range(BINOMIAL_TERMS):
        term *= (order - BAROMETRIC_EXPONENT) / (order + 1) * x
        share += term
    return share


MAX_DISTANCE_DEGREES = 0.5
"""Degrees of latitude, 56 km: a place farther than this from every city counts as at sea level."""


@lru_cache(maxsize=1)
def elevation_grid() -> dict[tuple[int, int], list[tuple[float, float, float]]]:
    """Return latitude, longitude and elevation of the packaged cities, by their whole degrees."""
    header, *lines = resource_path("cities.tsv").read_text(encoding="utf-8").splitlines()
    columns = header.split("\t")
    north, east, up = (columns.index(name) for name in ("latitude", "longitude", "elevation"))
    cells = defaultdict(list)
    for line in lines:
        fields = line.split("\t")
        latitude, longitude = float(fields[north]), float(fields[east])
        cells[int(latitude // 1), int(longitude // 1)].append((latitude, longitude, float(fields[up])))
    return dict(cells)


@lru_cache(maxsize=16_384)
def elevation_of(latitude: float, longitude: float) -> float:
    """Return the elevation in metres of the nearest packaged city within half a degree, 0 if there is none.

    A degree of longitude counts as much as one of latitude, which avoids a cosine: that differs between machines.
    """
    nearest, height = MAX_DISTANCE_DEGREES * MAX_DISTANCE_DEGREES, 0.0
    row, column = int(latitude // 1), int(longitude // 1)
    for cell in ((row + up, column + over) for up in (-1, 0, 1) for over in (-1, 0, 1)):
        for other, meridian, elevation in elevation_grid().get(cell, ()):
            distance = (latitude - other) ** 2 + (longitude - meridian) ** 2
            if distance < nearest:
                nearest, height = distance, elevation
    return height
