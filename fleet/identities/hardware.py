"""Hardware: what a sensor's maker stamps on it, when it was made, and how it is put up.

To add a maker's style of serial numbers, or a way to deploy a sensor, add a line to the table.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

MANUFACTURE_DATES = (date(2020, 1, 1), date(2025, 6, 30))
"""First and last day of manufacture: a fixed window, so that the same seed gives the same dates in any year."""

LAST_INSTALLATION_DATE = date(2025, 12, 31)
STORAGE_DAYS = (7, 540)
"""Fewest and most days between manufacture and installation."""

SERIAL_NUMBER_FORMATS = {
    "DataLogger": "DataLogger-{number:06d}",
    "DataSense": "DS{made:%y}-{number:06d}",
    "MonitorPro": "MP{number:06d}-{made:%m%y}",
    "SensorTech": "ST-{made:%y%m}-{number:06d}",
    "VibrationPlus": "VP.{made:%Y}.{number:06d}",
}
DEFAULT_SERIAL_NUMBER_FORMAT = "{maker}-{number:06d}"


class Deployment(NamedTuple):
    """A way to put up a sensor, and how far above the ground, in decimetres."""

    name: str
    min_decimetres: int
    max_decimetres: int


DEPLOYMENTS = (
    Deployment("fixed", 10, 60),
    Deployment("fixed_indoor", 12, 40),
    Deployment("fixed_outdoor", 20, 100),
    Deployment("rooftop", 60, 600),
    Deployment("mobile_unit", 5, 90),
)


def format_serial_number(maker: str, made: date, number: int) -> str:
    """The serial number in the style of its maker; different for each `number` below a million."""
    return SERIAL_NUMBER_FORMATS.get(maker, DEFAULT_SERIAL_NUMBER_FORMAT).format(maker=maker, made=made, number=number)
