"""Make `fleet/web/static/lights.bin.gz`, the night sky of the map, from the city table (GeoNames, CC BY 4.0).

Five bytes a city, the largest first: longitude and latitude as little-endian int16 (a hundredth of a degree), and how
bright it is (0 to 255, by the logarithm of its people). After them, five bytes each with brightness 0, a coarse raster of
the land that people live on: the points of a grid of 1.5 degrees that have a city near.
"""

from __future__ import annotations

import csv
import gzip
import math
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEP = 1.5
NEAR = 2.6


def main() -> None:
    with (ROOT / "configs" / "cities.tsv").open(encoding="utf-8") as table:
        lines = [line for line in table if not line.startswith("#")]
    cities = [
        (float(city["longitude"]), float(city["latitude"]), int(city["population"]))
        for city in csv.DictReader(lines, delimiter="\t")
    ]
    cities.sort(key=lambda city: -city[2])
    points = [(longitude, latitude, brightness(people)) for longitude, latitude, people in cities] + land(cities)
    packed = b"".join(struct.pack("<hhB", round(x * 100), round(y * 100), light) for x, y, light in points)
    target = ROOT / "fleet" / "web" / "static" / "lights.bin.gz"
    target.write_bytes(gzip.compress(packed, 9, mtime=0))
    print(f"{target}: {len(cities)} cities, {len(points) - len(cities)} points of land, {target.stat().st_size} bytes")


def brightness(people: int) -> int:
    """1 at a hundred thousand, 255 at thirty million."""
    return max(1, min(255, round(255 * (math.log10(people) - 5) / 2.5)))


def land(cities: list[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    found = []
    for row in range(round(180 / STEP)):
        latitude = 90 - STEP / 2 - row * STEP
        narrow = math.cos(math.radians(latitude))
        close = [city for city in cities if abs(city[1] - latitude) < NEAR]
        for column in range(round(360 / STEP)):
            longitude = -180 + STEP / 2 + column * STEP
            if any(math.hypot((x - longitude) * narrow, y - latitude) < NEAR for x, y, _ in close):
                found.append((longitude, latitude, 0))
    return found


if __name__ == "__main__":
    main()
