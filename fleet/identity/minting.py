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

from fleet.configuration.catalogue import SensorType
from fleet.errors import UserError
from fleet.geography.cities import City
from fleet.geography.draws import SPAN, Draws, shuffled
from fleet.geography.place_names import address, letters, state
from fleet.geography.scatter import scattered
from fleet.identity.hardware import DEPLOYMENTS, INSTALLED_BY, MADE, SHELF, serial
from fleet.identity.identities import Minted, StoredIdentity, sensor_type_of
from worker.spec import Identity


@dataclass(frozen=True)
class Mint:
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

    def identity(self, number: int, taken: Container[str] = ()) -> StoredIdentity:
        """Identity `number`, with an id that is not in `taken` (the given ids and those of lower numbers)."""
        draws = Draws(self.seed, number)
        city = self._city(draws)
        deployment = draws.pick(DEPLOYMENTS, "deployment")
        maker = draws.pick(tuple(self._makers), "manufacturer")
        made, installed = lifetime(draws)
        latitude, longitude = scattered(
            city.latitude, city.longitude, self.gps_variation, draws.share("distance"), draws.share("bearing")
        )
        who = Identity(
            sensor_id=self._free_id(number, city, draws, taken),
            firmware_version=self.firmware_version or draws.pick(self.sensor_type.firmware, "firmware"),
            model=draws.pick(self._makers[maker], "model"),
            manufacturer=maker,
            serial_number=serial(maker, made, shuffled(number, self.seed, "serial")),
            manufacture_date=made.isoformat(),
            location=address(city),
            latitude=latitude,
            longitude=longitude,
            timezone=city.timezone,
            deployment_type=deployment.name,
            installation_date=installed.isoformat(),
            height_meters=draws.between(deployment.lowest, deployment.highest, "height") / 10,
            orientation_degrees=float(draws.between(0, 359, "orientation")),
            instance_id=f"i-0{draws.word('instance'):016x}",
            sensor_type=sensor_type_of(self.sensor_type.name),
        )
        return StoredIdentity(
            who,
            type=self.sensor_type.name,
            city=city.name,
            state=state(city),
            country=city.country or None,
            minted=Minted(self.seed, number, self.settings),
        )

    @cached_property
    def settings(self) -> str:
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

    def _city(self, draws: Draws) -> City:
        """A city, as likely as its share of all the people."""
        return self.cities[bisect_right(self._people, draws.between(0, self._people[-1] - 1, "city"))]

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

    def _free_id(self, number: int, city: City, draws: Draws, taken: Container[str]) -> str:
        for attempt in count():
            name = self._id(number, city, draws, attempt)
            if name not in taken:
                break
        return name

    def _id(self, number: int, city: City, draws: Draws, attempt: int) -> str:
        if self.prefix is not None:
            return f"{self.prefix}_{number + attempt:06d}"
        # A shuffle of the numbers, not a draw, so that ids differ without a look at those of all lower numbers.
        digits = draws.between(0, SPAN - 1, f"id {attempt}") if attempt else shuffled(number, self.seed, "id")
        return f"{letters(city.name)}_{digits:06d}"


def lifetime(draws: Draws) -> tuple[date, date]:
    """When a unit was made and when it was installed, which is `SHELF` days later and no later than `INSTALLED_BY`."""
    first, last = MADE
    made = first + timedelta(draws.between(0, (last - first).days, "manufacture date"))
    fewest, most = SHELF
    return made, made + timedelta(draws.between(fewest, min(most, (INSTALLED_BY - made).days), "installation date"))
