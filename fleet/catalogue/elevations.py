"""Elevations: how high a place lies, which is how high the nearest city of the packaged table lies."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from fleet.resources import resource_path

MAX_DISTANCE_DEGREES = 0.5
"""Degrees of latitude, 56 km: a place that is farther from every city counts as lying at sea level."""


@lru_cache(maxsize=1)
def elevation_grid() -> dict[tuple[int, int], list[tuple[float, float, float]]]:
    """Latitude, longitude and elevation of the packaged cities, by their whole degrees."""
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
    """Metres above the sea of the nearest city within half a degree, 0 if there is none.

    Degrees of longitude count as far as those of latitude; it takes no cosine, which differs between machines.
    """
    nearest, height = MAX_DISTANCE_DEGREES * MAX_DISTANCE_DEGREES, 0.0
    row, column = int(latitude // 1), int(longitude // 1)
    for cell in ((row + up, column + over) for up in (-1, 0, 1) for over in (-1, 0, 1)):
        for other, meridian, elevation in elevation_grid().get(cell, ()):
            distance = (latitude - other) ** 2 + (longitude - meridian) ** 2
            if distance < nearest:
                nearest, height = distance, elevation
    return height
