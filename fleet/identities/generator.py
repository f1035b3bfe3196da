"""A generator of identities: one for each sensor of a fleet, from the seed and the sensor's number alone.

Identity number 7 is the same in every fleet with that seed and those settings, whatever the number of sensors and the first
number: a fleet of 10 and one of 100 share their first ten. Every field has its own draw, so a field that is added later changes
no other. To add a manufacturer's style of serial numbers, or a way to deploy a sensor, add a line to its table.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate, count
from typing import NamedTuple, TypeVar

from fleet.catalogue.attributes import pick
from fleet.catalogue.catalogue import SensorType
from fleet.catalogue.cities import City
from fleet.errors import UserError
from fleet.identities.files import IdentityOrigin, StoredIdentity, sensor_type_label
from fleet.identities.places import city_address, city_code, scatter_point, state_code
from worker.spec import Identity

Choice = TypeVar("Choice")

NUMBER_COUNT = 1_000_000


class IdentityRandom:
    """The random numbers of identity `number` in a fleet with `seed`: one 64-bit word for each purpose.

    A word is a BLAKE2b hash of its address (RFC 7693): the same on every machine and with every version of every
    library, and independent of the other words. Readings, which need millions, use `worker.readings.random_streams`.
    """

    def __init__(self, seed: int, number: int) -> None:
        self._address = blake2b(f"{seed}/{number}/".encode(), digest_size=8, person=b"fleet-identity")

    def random_bits(self, purpose: str) -> int:
        """Return a whole number, uniform in [0, 2^64)."""
        drawn = self._address.copy()
        drawn.update(purpose.encode())
        return int.from_bytes(drawn.digest(), "little")

    def random_fraction(self, purpose: str) -> float:
        """Return a number uniform in [0, 1)."""
        return (self.random_bits(purpose) >> 11) * 2.0**-53

    def random_integer(self, first: int, last: int, purpose: str) -> int:
        """Return a whole number, uniform from `first` to `last` inclusive (to within their span / 2^64)."""
        return first + (self.random_bits(purpose) * (last - first + 1) >> 64)

    def choose(self, options: Sequence[Choice], purpose: str) -> Choice:
        """Return one of the options, of which there is at least one."""
        return options[self.random_integer(0, len(options) - 1, purpose)]


class SensorRandom(IdentityRandom):
    """The random numbers of a sensor that was not generated, from its id alone."""

    def __init__(self, sensor_id: str) -> None:
        self._address = blake2b(f"{sensor_id}/".encode(), digest_size=8, person=b"fleet-sensor")


def permute(number: int, seed: int, purpose: str, size: int = NUMBER_COUNT) -> int:
    """Return the image of `number` (modulo `size`, at most a million) under a permutation of 0..size - 1.

    It is a Feistel network on 20 bits with four rounds, applied until the value is in the range.
    """
    value = number % size
    while True:
        left, right = divmod(value, 1024)
        for turn in range(4):
            address = f"{seed}/{purpose}/{turn}/{right}".encode()
            mask = int.from_bytes(blake2b(address, digest_size=2, person=b"fleet-shuffle").digest(), "little") % 1024
            left, right = right, left ^ mask
        value = left * 1024 + right
        if value < size:
            return value


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
    """A way to deploy a sensor, and its range of heights above the ground in decimetres."""

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
    """Format a serial number in the style of its maker; different for each `number` below a million."""
    return SERIAL_NUMBER_FORMATS.get(maker, DEFAULT_SERIAL_NUMBER_FORMAT).format(maker=maker, made=made, number=number)


@dataclass(frozen=True)
class IdentityGenerator:
    """The settings of generated identities. `cities` are those to choose from (at least one is inhabited), by
    population.

    `gps_variation` is the radius of the scatter in metres. Ids are `ABC_123456` after the city, or with a `prefix`
    `PREFIX_000007` after the number. `manufacturer`, `model` and `firmware_version` are drawn from the catalogue if
    None. With an `unknown_place`, all sensors have that location, no coordinates and the time zone UTC.
    """

    seed: int
    cities: tuple[City, ...]
    sensor_type: SensorType
    gps_variation: float = 100.0
    prefix: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware_version: str | None = None
    unknown_place: str | None = None

    def generate(self, number: int, taken: Container[str] = ()) -> StoredIdentity:
        """Generate identity `number`, with an id that is not in `taken` (provided ids and those of lower numbers)."""
        rng = IdentityRandom(self.seed, number)
        city = self._city(rng)
        deployment = rng.choose(DEPLOYMENTS, "deployment")
        maker = rng.choose(tuple(self._makers), "manufacturer")
        made, installed = draw_lifetime(rng)
        latitude, longitude = scatter_point(
            city.latitude,
            city.longitude,
            self.gps_variation,
            rng.random_fraction("distance"),
            rng.random_fraction("bearing"),
        )
        attributes = self.sensor_type.attributes(rng.random_fraction, Identity(""))
        variant = str(dict(attributes).get(self.sensor_type.entry.variant_attribute, ""))
        who = Identity(
            sensor_id=self._free_id(number, city, variant, rng, taken),
            firmware_version=self.firmware_version or rng.choose(self.sensor_type.firmware, "firmware"),
            model=rng.choose(self._makers[maker], "model"),
            manufacturer=maker,
            serial_number=format_serial_number(maker, made, permute(number, self.seed, "serial")),
            manufacture_date=made.isoformat(),
            location=city_address(city),
            latitude=latitude,
            longitude=longitude,
            timezone=city.timezone,
            deployment_type=deployment.name,
            installation_date=installed.isoformat(),
            height_meters=rng.random_integer(deployment.min_decimetres, deployment.max_decimetres, "height") / 10,
            orientation_degrees=float(rng.random_integer(0, 359, "orientation")),
            instance_id=f"i-0{rng.random_bits('instance'):016x}",
            sensor_type=sensor_type_label(self.sensor_type.name),
            attributes=attributes,
        )
        origin = IdentityOrigin(self.seed, number, self.settings_fingerprint)
        if self.unknown_place is not None:
            who = replace(who, location=self.unknown_place, latitude=None, longitude=None, timezone="UTC")
            return StoredIdentity(who, type=self.sensor_type.name, origin=origin)
        return StoredIdentity(
            who,
            type=self.sensor_type.name,
            city=city.name,
            state=state_code(city),
            country=city.country or None,
            origin=origin,
        )

    @cached_property
    def settings_fingerprint(self) -> str:
        """A fingerprint of all settings except the seed. Identities with another one were generated by other rules."""
        sensor_type = self.sensor_type
        rules = (
            *(
                self.cities,
                sensor_type.name,
                tuple(sensor_type.models.items()),
                sensor_type.firmware,
                float(self.gps_variation),
            ),
            *(self.prefix, self.manufacturer, self.model, self.firmware_version),
            *(() if self.unknown_place is None else (self.unknown_place,)),
            *self._further_rules(),
        )
        return blake2b(repr(rules).encode(), digest_size=6).hexdigest()

    def _further_rules(self) -> Iterator[str]:
        """Yield the rules that a kind may have besides those of version 0.1.0."""
        entry = self.sensor_type.entry
        if entry.id_pattern is not None:
            yield entry.id_pattern
        if entry.attributes:
            yield repr(entry.attributes)
        if entry.variants:
            yield repr([(name, variant.weight, variant.attributes) for name, variant in entry.variants.items()])

    def fingerprint_of(self, number: int) -> str:
        """Return the fingerprint of the settings by which an identity is generated."""
        return self.settings_fingerprint

    @cached_property
    def _people(self) -> list[int]:
        return list(accumulate(city.population for city in self.cities))

    def _city(self, rng: IdentityRandom) -> City:
        """Draw a city with a probability proportional to its population."""
        return self.cities[bisect_right(self._people, rng.random_integer(0, self._people[-1] - 1, "city"))]

    @cached_property
    def _makers(self) -> Mapping[str, tuple[str, ...]]:
        """The manufacturers to choose from, each with the models to choose from."""
        makers = {
            maker: tuple(model for model in models if self.model in (None, model))
            for maker, models in self.sensor_type.models.items()
            if self.manufacturer in (None, maker)
        }
        makers = {maker: models for maker, models in makers.items() if models}
        if not makers:
            there_are = "; ".join(f"{maker}: {', '.join(models)}" for maker, models in self.sensor_type.models.items())
            wanted = " ".join(name for name in (self.manufacturer, self.model) if name)
            raise UserError(f"no {self.sensor_type.name} sensor is a '{wanted}'; there are {there_are}")
        return makers

    def _free_id(self, number: int, city: City, variant: str, rng: IdentityRandom, taken: Container[str]) -> str:
        for attempt in count():
            name = self._id(number, city, variant, rng, attempt)
            if name not in taken:
                break
        return name

    def _id(self, number: int, city: City, variant: str, rng: IdentityRandom, attempt: int) -> str:
        if self.prefix is not None:
            return f"{self.prefix}_{number + attempt:06d}"
        code, pattern = city_code(self.unknown_place or city.name), self.sensor_type.entry.id_pattern
        if pattern is None:
            return f"{code}_{self._digits(number, 6, rng, attempt)}"
        known = pattern.replace("{city}", code).replace("{variant}", variant_code(variant))
        return DIGITS.sub(lambda found: self._digits(number, int(found[1]), rng, attempt), known)

    def _digits(self, number: int, width: int, rng: IdentityRandom, attempt: int) -> str:
        """Return `width` digits, or six if the numbers of that width do not suffice."""
        # A shuffle of the numbers, not a draw, so that ids differ without a look at those of all lower numbers.
        if attempt:
            return f"{rng.random_integer(0, NUMBER_COUNT - 1, f'id {attempt}'):06d}"
        if number < 10**width:
            return f"{permute(number, self.seed, 'id', 10**width):0{width}d}"
        return f"{permute(number, self.seed, 'id'):06d}"


DIGITS = re.compile(r"\{digits:([1-6])\}")


def variant_code(variant: str) -> str:
    """Return the first three characters of a variant that can be part of an id."""
    return "".join(character for character in variant if character.isascii() and character.isalnum())[:3]


@dataclass(frozen=True)
class MixedGenerator:
    """A generator of sensors of several kinds, each drawn with a probability proportional to its weight.

    The kind of identity number 7 depends on the seed, the number and the weights alone.
    """

    seed: int
    generators: tuple[IdentityGenerator, ...]
    weights: tuple[float, ...]

    def generate(self, number: int, taken: Container[str] = ()) -> StoredIdentity:
        """Generate identity `number`, with an id that is not in `taken`."""
        return self._generator_of(number).generate(number, taken)

    def fingerprint_of(self, number: int) -> str:
        """Return the fingerprint of the settings by which an identity is generated."""
        return self._generator_of(number).settings_fingerprint

    def _generator_of(self, number: int) -> IdentityGenerator:
        return pick(self.generators, self.weights, IdentityRandom(self.seed, number).random_fraction("kind"))


AnyGenerator = IdentityGenerator | MixedGenerator


def draw_lifetime(rng: IdentityRandom) -> tuple[date, date]:
    """Draw the dates of manufacture and installation, which is `STORAGE_DAYS` days later and at most
    `LAST_INSTALLATION_DATE`."""
    first, last = MANUFACTURE_DATES
    made = first + timedelta(rng.random_integer(0, (last - first).days, "manufacture date"))
    fewest, most = STORAGE_DAYS
    return made, made + timedelta(
        rng.random_integer(fewest, min(most, (LAST_INSTALLATION_DATE - made).days), "installation date")
    )
