"""The types of anomaly that occur by default, and the list of all types.

To add a type, write one class (`worker.readings.anomaly_type` has its declaration) and put it at the end of `ANOMALY_CLASSES`.
Only its colour (`fleet/web/static/tokens.css`) and its documentation are elsewhere. Types that are off by default are in
`worker.readings.instrument_faults`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import copysign, sqrt
from typing import TYPE_CHECKING, ClassVar

from worker.readings.anomaly_type import (
    AnomalyType,
    Draws,
    EligibleChannels,
    InjectionSize,
    Parameter,
    Parameters,
    excess_over_one,
    fraction_of_percent,
    noise_deviations,
    proportional,
    unscaled,
    visible_unit,
)
from worker.readings.clock_errors import CLOCK_ERRORS
from worker.readings.instrument_faults import INSTRUMENT_FAULTS
from worker.spec import AnomalySpec, Channel

if TYPE_CHECKING:
    from worker.readings.episode_segment import EpisodeSegment

LEAST_VISIBLE = 2.0
"""A value nearer to 0 than this many standard deviations is scaled as if it were that far: a multiple of nearly 0 shows nothing."""


NOISE_REFERENCE = 20.0
"""Deviations of a channel's own noise of which `noise_factor` is a part at least: a factor of 0.1 is twice its own noise."""


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
        values, factor = segment.values[channels[0]], parameters["factor"]
        least = LEAST_VISIBLE * visible_unit(eligible.channels[channels[0]])
        if segment.noise is None or min(map(abs, values.tolist())) >= least:
            values *= factor
            return
        for number, value in enumerate(values.tolist()):
            values[number] = value * factor if abs(value) >= least else value + copysign(least, value) * (factor - 1)


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
        if segment.noise is not None:
            least = LEAST_VISIBLE * visible_unit(eligible.channels[channels[0]])
            first = segment.first_value(channels[0])
            if abs(first) < least:
                segment.values[channels[0]] += copysign(least, first) * parameters["change"] * progress
                return
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
                if segment.noise is not None:
                    amplitude = max(amplitude, visible_unit(channel))
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
    """Gaussian noise is added to all channels. Its deviation is `noise_factor` times the mean, or times 20 deviations of the
    channel's own noise if that is more, and at least half a standard deviation; the factor of vibration is multiplied by
    `vibration_gain`."""

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
        noise = segment.noise
        for index in channels:
            channel = eligible.channels[index]
            factor = parameters["noise_factor"]
            if channel.name == "vibration":
                factor *= parameters.get("vibration_gain", 1.0)
            if noise is not None:
                reference = max(abs(channel.mean), NOISE_REFERENCE * eligible.noise_deviations[index])
                segment.values[index] += noise(index) * max(factor * reference, visible_unit(channel) / 2)
            elif channel.std_dev:  # version 1 amplifies the deviation as if noise had been added
                ratio = max(factor * abs(channel.mean) / channel.std_dev, 0.5)
                gain = sqrt(1 + ratio * ratio)
                segment.values[index] = segment.base[index] + segment.deviation[index] * gain


OFF_BY_DEFAULT: tuple[type[AnomalyType], ...] = (*INSTRUMENT_FAULTS, *CLOCK_ERRORS)
ANOMALY_CLASSES: tuple[type[AnomalyType], ...] = (Spike, Trend, Pattern, MissingData, Noise, *OFF_BY_DEFAULT)
"""All types. Databases and records have their names, counters their places: a new type goes to the end."""
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
    each = tuple(odds.get(channel.name, 1.0) for channel in channels)
    return EligibleChannels(channels, each, noise_deviations=noise_deviations(channels))
