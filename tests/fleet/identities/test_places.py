"""Points spread over a disc on the sphere, judged by statistics with fixed seeds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fleet.identities.places import EARTH_RADIUS_METRES, scatter_point

pytestmark = pytest.mark.claim("000.configuration-file.12", "000.testing.6")

POINTS = 20_000
PLACES = {
    "equator": (0.0, 0.0),
    "Reykjavik": (64.1355, -21.8954),
    "Suva, by the antimeridian": (-18.1416, 179.9999),
    "north pole": (90.0, 0.0),
    "near the south pole": (-89.9999, 20.0),
}
FloatArray = npt.NDArray[np.float64]


def cloud(place: tuple[float, float], radius: float) -> FloatArray:
    draws = np.random.default_rng(7).random((POINTS, 2))
    return np.array([scatter_point(*place, radius, area, turn) for area, turn in draws.tolist()])


def polar(place: tuple[float, float], points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance (haversine) in metres and bearing as a share of the circle, from the place to each point."""
    phi, lam = np.radians(place)
    phis, lams = np.radians(points).T
    half = np.sin((phis - phi) / 2) ** 2 + np.cos(phi) * np.cos(phis) * np.sin((lams - lam) / 2) ** 2
    east = np.sin(lams - lam) * np.cos(phis)
    north = np.cos(phi) * np.sin(phis) - np.sin(phi) * np.cos(phis) * np.cos(lams - lam)
    return 2 * EARTH_RADIUS_METRES * np.arcsin(np.sqrt(half)), np.arctan2(east, north) / (2 * np.pi) % 1


def unevenness(shares: FloatArray) -> float:
    """The Kolmogorov-Smirnov statistic against the uniform distribution, times the root of the sample's size.

    Exceeds 1.95 by chance once in a thousand.
    """
    ordered, count = np.sort(shares), len(shares)
    above = np.arange(1, count + 1) / count - ordered
    below = ordered - np.arange(count) / count
    return float(max(above.max(), below.max()) * np.sqrt(count))


@pytest.mark.parametrize("radius", [100.0, 5_000.0])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.claim("000.advanced-features.3")
def test_points_are_uniform_in_the_disc(place: tuple[float, float], radius: float) -> None:
    """Area and bearing are uniform wherever the disc is, and no point is beyond the radius.

    At the pole the bearing is that of the meridian, so there the points' longitudes are judged by the same measure.
    """
    distances, bearings = polar(place, cloud(place, radius))

    assert distances.max() <= radius
    assert unevenness((distances / radius) ** 2) < 1.95
    assert unevenness(bearings) < 1.95


def test_a_cap_as_wide_as_a_continent_is_still_even() -> None:
    """On a sphere it is the cap's area that is uniform, sin^2 of half the angle, not the square of the distance."""
    radius = 8_000_000.0
    distances, _ = polar((64.0, -21.0), cloud((64.0, -21.0), radius))
    area = np.sin(distances / EARTH_RADIUS_METRES / 2) ** 2 / np.sin(radius / EARTH_RADIUS_METRES / 2) ** 2

    assert unevenness(area) < 1.95
    assert unevenness((distances / radius) ** 2) > 1.95


def test_longitudes_are_widened_by_latitude() -> None:
    """In Reykjavik 100 metres are 2.29 times as many degrees of longitude as at the equator."""
    spreads = [cloud(PLACES[name], 100.0).std(axis=0) for name in ("equator", "Reykjavik")]

    assert spreads[1][1] / spreads[0][1] == pytest.approx(1 / np.cos(np.radians(64.1355)), rel=1e-3)
    assert spreads[1][0] == pytest.approx(spreads[0][0], rel=1e-3)


def test_coordinates_stay_on_the_map() -> None:
    """Longitudes wrap at the antimeridian, latitudes never pass a pole, and both have at most six decimals."""
    for place in PLACES.values():
        points = cloud(place, 50_000.0)
        assert np.abs(points[:, 0]).max() <= 90
        assert np.abs(points[:, 1]).max() <= 180
        assert (points == points.round(6)).all()

    across = cloud(PLACES["Suva, by the antimeridian"], 5_000.0)[:, 1]
    assert ((across > 179.9) | (across < -179.9)).all()
    assert 0.3 < (across < 0).mean() < 0.7


def test_no_scatter_is_the_place_itself() -> None:
    assert scatter_point(64.1355, -21.8954, 0.0, 0.7, 0.3) == (64.1355, -21.8954)
