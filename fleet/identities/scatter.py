"""Scatter: points spread evenly over a disc on the sphere."""

from __future__ import annotations

from math import asin, atan2, cos, degrees, hypot, pi, radians, sin, sqrt

EARTH_RADIUS_METRES = 6_371_008.8
"""Mean radius of the Earth in metres (IUGG R1)."""

COORDINATE_DECIMALS = 6
ROUNDING_METRES = 0.08
"""Metres by which rounding to `COORDINATE_DECIMALS` can move a point: half of 0.11 m each way."""


def scatter_point(latitude: float, longitude: float, radius: float, area: float, turn: float) -> tuple[float, float]:
    """A point within `radius` metres of a place, as (latitude, longitude) in degrees, to six decimals.

    `area` and `turn` are in [0, 1): the share of the disc's area that is nearer than the point, and the direction as
    a share of the full circle, from north by east. Uniform ones give points uniform over the spherical cap, whose area
    grows with sin^2(angle / 2). Longitudes are wrapped into [-180, 180]; the poles are places like any other.
    The destination-point formula, with atan2 for asin so that it stays exact near the poles.
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
