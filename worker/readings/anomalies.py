"""The types of anomaly: one class each, which declares all that the program knows of the type.

To add a type, write one class and put it into `ANOMALY_CLASSES`. The section of the config with its JSON schema, the effects that
a catalogue may give, the size of an injection, the help texts and the OpenAPI document are made from the declaration. Only its
colour (`fleet/web/static/tokens.css`) and its documentation are elsewhere.

`draw` turns four addressed uniforms into an episode's channels and parameters, which are recorded; `apply` changes the values by
those recorded parameters alone. The results are then clipped to the channel's physical limits and rounded to its decimals.
numpy is not imported here, because checking a config takes less time than that import.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from worker.spec import AnomalySpec, Channel

if TYPE_CHECKING:
    from worker.readings.healthy import HealthyReadings
    from worker.readings.random_streams import FloatArray

Parameters = dict[str, float]
DurationUnit = Literal["seconds", "readings"]
Scaling = Callable[[float, float], float]


class Draws(NamedTuple):
    """Four independent uniforms in [0, 1) that belong to one episode."""

    channel: float
    size: float
    sign: float
    phase: float


class EligibleChannels(NamedTuple):
    """The channels that a type may change, and the odds with which a one-channel type picks among them. If `only` is not
    None, it is the index of the one channel that any type is confined to."""

    channels: tuple[Channel, ...]
    odds: tuple[float, ...]
    only: int | None = None

    def restrict(self, chosen: tuple[int, ...]) -> tuple[int, ...]:
        """The indices that a type has chosen, or the index it is confined to."""
        return chosen if self.only is None else (self.only,)

    def pick(self, draw: float) -> int:
        """The index of one channel, drawn by the odds."""
        if self.only is not None:
            return self.only
        position = draw * sum_in_order(self.odds)
        for index, odds in enumerate(self.odds):
            position -= odds
            if position < 0:
                return index
        return len(self.odds) - 1


def sum_in_order(numbers: Iterable[float]) -> float:
    """The sum from left to right. Not `sum`: since Python 3.12 it compensates, and the last bit would depend on
    the version."""
    result = 0.0
    for number in numbers:
        result += number
    return result


class EpisodeSegment(NamedTuple):
    """The part of an episode that lies in a block. The arrays have shape (channels, readings).

    `base` is the healthy mean (with the daily pattern), `deviation` the healthy noise around it, `values` the
    healthy values, to be changed in place; `offset` counts readings from the episode's first, `length` is the
    episode's, `rate` readings per second. `noise` returns standard normals for the readings of a channel by its index, which
    are independent of the healthy noise; it is None by the rules of version 1. `at_start` computes the healthy reading with
    which the episode begins, wherever the segment lies.
    """

    base: FloatArray
    deviation: FloatArray
    values: FloatArray
    offset: FloatArray
    length: int
    rate: float
    noise: Callable[[int], FloatArray] | None
    at_start: Callable[[], HealthyReadings]


def unscaled(value: float, severity: float) -> float:  # noqa: ARG001 - one signature for all
    return value


def proportional(value: float, severity: float) -> float:
    return value * severity


def fraction_of_percent(value: float, severity: float) -> float:
    return value / 100 * severity


def excess_over_one(value: float, severity: float) -> float:
    """1 + (value - 1) x severity, written so that a severity of 1 changes no bit."""
    return value * severity + (1 - severity)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a config or the catalogue may set for a type, under `name`.

    `default` applies where neither sets it; it is None for an alternative to a parameter that has one. A value lies between
    `minimum` and `maximum`; with `positive` the minimum itself is excluded. The worker receives, and epochs record,
    `scale(value, severity)` under the name `stored`.
    """

    name: str
    stored: str
    default: float | None
    minimum: float
    maximum: float
    scale: Scaling
    positive: bool = False

    def allows(self, value: float) -> bool:
        return self.minimum <= value <= self.maximum and not (self.positive and value == self.minimum)


@dataclass(frozen=True, slots=True)
class InjectionSize:
    """The `size` of an injection: the stored parameters that it sets, its bounds (0 is never allowed), and its meaning in a
    few words."""

    stored: tuple[str, ...]
    minimum: float
    maximum: float
    meaning: str

    def allows(self, size: float) -> bool:
        return self.minimum <= size <= self.maximum and size != 0


class AnomalyType(ABC):
    """The declaration and the effect of one type; an instance has the stored parameters of one sensor in `values`.

    The docstring of a subclass describes the type in the JSON schema and in the generated documentation. `weight` is relative
    to the other types. `channels` says how many an episode changes: one of the sensor's, several, or none because whole
    readings are affected. Of the parameters named in `alternatives` at most one applies.
    """

    name: ClassVar[str]
    weight: ClassVar[float]
    duration: ClassVar[tuple[float, DurationUnit]]
    channels: ClassVar[Literal["one", "several", "none"]]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    alternatives: ClassVar[frozenset[str]] = frozenset()
    size: ClassVar[InjectionSize | None] = None

    def __init__(self, stored: Mapping[str, float]) -> None:
        """KeyError for a parameter that the type does not have. A missing one has its default."""
        unknown = stored.keys() - {parameter.stored for parameter in self.parameters}
        if unknown:
            raise KeyError(*unknown)
        self.values: Parameters = {**self.stored_parameters(self.default_parameters()), **stored}

    @abstractmethod
    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        """The indices of the channels that the episode affects, and its parameters."""

    @abstractmethod
    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        """Change `segment.values` in place."""

    @classmethod
    def default_parameters(cls) -> Parameters:
        """The defaults by their names in a config."""
        return {each.name: each.default for each in cls.parameters if each.default is not None}

    @classmethod
    def merge_parameters(cls, *sources: Mapping[str, float]) -> Parameters:
        """The parameters of several sources, by their names in a config: a later source overrides an earlier one, and an
        alternative replaces the other."""
        merged: Parameters = {}
        for source in sources:
            replaced = cls.alternatives if cls.alternatives & source.keys() else frozenset[str]()
            merged = {name: value for name, value in merged.items() if name not in replaced} | dict(source)
        return merged

    @classmethod
    def stored_parameters(cls, values: Mapping[str, float], severity: float = 1.0) -> Parameters:
        """The worker's parameters for `values`, which have their names in a config."""
        return {each.stored: each.scale(values[each.name], severity) for each in cls.parameters if each.name in values}

    @classmethod
    def sized_parameters(cls, size: float) -> Parameters:
        """The worker's parameters that an injection of that size sets."""
        return dict.fromkeys(cls.size.stored, size) if cls.size is not None else {}

    @classmethod
    def contradiction(cls, stated: Mapping[str, float]) -> tuple[str, str] | None:
        """The name of a stated parameter that does not go with the others, and the reason; None if all do."""
        one, *others = [each.name for each in cls.parameters if each.name in cls.alternatives & stated.keys()] or [""]
        return (others[0], f"contradicts {one}; a {cls.name} has one of the two") if others else None


class Spike(AnomalyType):
    """The value is multiplied, or divided, by a factor between `multiplier_min` and `multiplier_max`."""

    name = "spike"
    weight = 0.4
    duration = (1, "readings")
    channels = "one"
    parameters = (
        Parameter("multiplier_min", "multiplier_min", 1.5, 1, 1000, excess_over_one),
        Parameter("multiplier_max", "multiplier_max", 3.0, 1, 1000, excess_over_one),
    )
    size = InjectionSize(("multiplier_min", "multiplier_max"), 0.001, 1000.0, "the factor")

    @classmethod
    def contradiction(cls, stated: Mapping[str, float]) -> tuple[str, str] | None:
        values = {**cls.default_parameters(), **stated}
        least, most = values["multiplier_min"], values["multiplier_max"]
        if least <= most:
            return None
        if "multiplier_min" in stated:
            return "multiplier_min", f"{least:g} is more than multiplier_max {most:g}"
        return "multiplier_max", f"{most:g} is less than multiplier_min {least:g}"

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        least, most = self.values["multiplier_min"], self.values["multiplier_max"]
        factor = least + draws.size * (most - least)
        factor = factor if draws.sign < 0.5 else 1 / factor
        return (eligible.pick(draws.channel),), {"factor": round(factor, 6)}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        segment.values[channels[0]] *= parameters["factor"]


class Trend(AnomalyType):
    """The value drifts up or down, by half of `max_change_percent` to all of it at the last reading."""

    name = "trend"
    weight = 0.2
    duration = (300.0, "seconds")
    channels = "one"
    parameters = (Parameter("max_change_percent", "max_change", 50.0, 0, 100_000, fraction_of_percent),)
    size = InjectionSize(("max_change",), -100.0, 100.0, "the fraction at the end")

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        change = self.values["max_change"] * (0.5 + 0.5 * draws.size)
        return (eligible.pick(draws.channel),), {"change": round(change if draws.sign < 0.5 else -change, 6)}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        progress = (segment.offset + 1) / segment.length
        segment.values[channels[0]] *= 1 + parameters["change"] * progress


class Pattern(AnomalyType):
    """A sine of `frequency` hertz is added to temperature and its opposite to vibration (or to the first two channels of a
    sensor without these). Its amplitude is `amplitude_percent` of the mean, or `amplitude` standard deviations. Where
    readings are too rare to show the frequency it is an eighth of the rate."""

    name = "pattern"
    weight = 0.1
    duration = (600.0, "seconds")
    channels = "several"
    parameters = (
        Parameter("frequency", "frequency", 0.1, 0, 1_000_000, unscaled, positive=True),
        Parameter("amplitude", "amplitude", None, 0, 100_000, proportional, positive=True),
        Parameter("amplitude_percent", "amplitude_percent", 20.0, 0, 100_000, proportional),
    )
    alternatives = frozenset(("amplitude", "amplitude_percent"))
    size = InjectionSize(("amplitude",), 0.001, 100_000.0, "amplitude in standard deviations")
    opposed: ClassVar[tuple[str, str]] = ("temperature", "vibration")

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        names = [channel.name for channel in eligible.channels]
        chosen = tuple(names.index(name) for name in self.opposed if name in names)
        channels = chosen or tuple(range(min(2, len(names))))
        unit = "amplitude" if self.values.get("amplitude") else "amplitude_percent"
        return eligible.restrict(tuple(sorted(channels))), {
            unit: self.values[unit],
            "frequency": self.values["frequency"],
            "phase": round(draws.phase, 6),
        }

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        from worker.readings.seasonality import sine  # imports numpy

        frequency = min(parameters["frequency"], segment.rate / 8)
        wave = sine(segment.offset * (frequency / segment.rate) + parameters["phase"])
        for direction, index in zip((1.0, -1.0), channels, strict=False):
            channel = eligible.channels[index]
            if "amplitude" in parameters:
                amplitude = parameters["amplitude"] * channel.std_dev
            else:
                amplitude = parameters["amplitude_percent"] / 100 * abs(channel.mean)
            segment.values[index] += direction * amplitude * wave


class MissingData(AnomalyType):
    """The readings are not delivered; their sequence numbers are used up."""

    name = "missing_data"
    weight = 0.1
    duration = (30.0, "seconds")
    channels = "none"

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        return (), {}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        """Change nothing: the generator leaves the rows out."""


class Noise(AnomalyType):
    """The deviation of all channels is amplified as if Gaussian noise of `noise_factor` times the mean, at least half a
    standard deviation, had been added; the factor of vibration is multiplied by `vibration_gain`."""

    # The deviation is amplified rather than new noise drawn, so that a reading stays a function of its address.

    name = "noise"
    weight = 0.2
    duration = (180.0, "seconds")
    channels = "several"
    parameters = (
        Parameter("noise_factor", "factor", 0.10, 0, 100_000, proportional),
        Parameter("vibration_gain", "vibration_gain", 1.0, 0, 100_000, unscaled),
    )
    size = InjectionSize(("factor",), 0.001, 1000.0, "a fraction of the mean")

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        vibration_gain = self.values["vibration_gain"]
        gain = {"vibration_gain": vibration_gain} if vibration_gain != 1.0 else {}
        chosen = eligible.restrict(tuple(range(len(eligible.channels))))
        return chosen, {"noise_factor": round(self.values["factor"], 6), **gain}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        for index in channels:
            channel = eligible.channels[index]
            if channel.std_dev == 0:
                continue
            factor = parameters["noise_factor"]
            if channel.name == "vibration":
                factor *= parameters.get("vibration_gain", 1.0)
            ratio = max(factor * abs(channel.mean) / channel.std_dev, 0.5)
            gain = sqrt(1 + ratio * ratio)
            segment.values[index] = segment.base[index] + segment.deviation[index] * gain


ANOMALY_CLASSES: tuple[type[AnomalyType], ...] = (Spike, Trend, Pattern, MissingData, Noise)
ANOMALY_TYPES = tuple(each.name for each in ANOMALY_CLASSES)


def anomaly_class(name: str) -> type[AnomalyType]:
    """The class of the type of that name. KeyError if there is none."""
    return dict(zip(ANOMALY_TYPES, ANOMALY_CLASSES, strict=True))[name]


@lru_cache(maxsize=1024)
def build_anomaly(spec: AnomalySpec) -> AnomalyType:
    """The type that `spec` names, with its parameters. KeyError if it has an unknown type or parameter. Sensors with equal
    specs share the result."""
    return anomaly_class(spec.kind)(dict(spec.parameters))


def eligible_channels(spec: AnomalySpec, channels: tuple[Channel, ...]) -> EligibleChannels:
    odds = dict(spec.channel_odds)
    return EligibleChannels(channels, tuple(odds.get(channel.name, 1.0) for channel in channels))
