"""Minting: a new identity for every sensor of a fleet, out of the seed and the sensor's number alone.

Identity number 7 is the same in every fleet with that seed and those settings, however many sensors the fleet has and
whichever number it begins with: a fleet of 10 and one of 100 share their first ten. Every field has its own draw, so
a field that is added later changes no other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate, count

from fleet.catalogue.catalogue import SensorType
from fleet.catalogue.cities import City
from fleet.errors import UserError
from fleet.identities.draws import NUMBER_COUNT, IdentityRandom, permute
from fleet.identities.hardware import (
    DEPLOYMENTS,
    LAST_INSTALLATION_DATE,
    MANUFACTURE_DATES,
    STORAGE_DAYS,
    format_serial_number,
)
from fleet.identities.identities import IdentityOrigin, StoredIdentity, sensor_type_label
from fleet.identities.place_names import city_address, city_code, state_code
from fleet.identities.scatter import scatter_point
from worker.spec import Identity


@dataclass(frozen=True)
class IdentityGenerator:
    """The settings of minting. `cities` are those to choose from (at least one with people in it), by population.

    `gps_variation` is the radius of the scatter in metres. Ids are `ABC_123456` after the city, or with a `prefix`
    `PREFIX_000007` after the number. `manufacturer`, `model` and `firmware_version` are the catalogue's at random,
    unless given.
    """

    seed: int
    cities: tuple[City, ...]
    sensor_type: SensorType
    gps_variation: float = 100.0
    prefix: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    firmware_version: str | None = None

    def generate(self, number: int, taken: Container[str] = ()) -> StoredIdentity:
        """Identity `number`, with an id that is not in `taken` (the given ids and those of lower numbers)."""
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
        who = Identity(
            sensor_id=self._free_id(number, city, rng, taken),
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
        )
        return StoredIdentity(
            who,
            type=self.sensor_type.name,
            city=city.name,
            state=state_code(city),
            country=city.country or None,
            minted=IdentityOrigin(self.seed, number, self.settings_fingerprint),
        )

    @cached_property
    def settings_fingerprint(self) -> str:
        """A fingerprint of everything but the seed: identities that differ in it were minted by other rules."""
        kind = self.sensor_type
        rules = (
            *(self.cities, kind.name, tuple(kind.models.items()), kind.firmware, float(self.gps_variation)),
            *(self.prefix, self.manufacturer, self.model, self.firmware_version),
        )
        return blake2b(repr(rules).encode(), digest_size=6).hexdigest()

    @cached_property
    def _people(self) -> list[int]:
        return list(accumulate(city.population for city in self.cities))

    def _city(self, rng: IdentityRandom) -> City:
        """A city, as likely as its share of all the people."""
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
            asked = " ".join(name for name in (self.manufacturer, self.model) if name)
            raise UserError(f"no {self.sensor_type.name} sensor is a '{asked}'; there are {there_are}")
        return makers

    def _free_id(self, number: int, city: City, rng: IdentityRandom, taken: Container[str]) -> str:
        for attempt in count():
            name = self._id(number, city, rng, attempt)
            if name not in taken:
                break
        return name

    def _id(self, number: int, city: City, rng: IdentityRandom, attempt: int) -> str:
        if self.prefix is not None:
            return f"{self.prefix}_{number + attempt:06d}"
        # A shuffle of the numbers, not a draw, so that ids differ without a look at those of all lower numbers.
        digits = (
            rng.random_integer(0, NUMBER_COUNT - 1, f"id {attempt}") if attempt else permute(number, self.seed, "id")
        )
        return f"{city_code(city.name)}_{digits:06d}"


def draw_lifetime(rng: IdentityRandom) -> tuple[date, date]:
    """When a unit was made and when it was installed, which is `STORAGE_DAYS` days later and no later than `LAST_INSTALLATION_DATE`."""
    first, last = MANUFACTURE_DATES
    made = first + timedelta(rng.random_integer(0, (last - first).days, "manufacture date"))
    fewest, most = STORAGE_DAYS
    return made, made + timedelta(
        rng.random_integer(fewest, min(most, (LAST_INSTALLATION_DATE - made).days), "installation date")
    )
