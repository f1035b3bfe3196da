"""The kinds of anomaly: one class each, its parameters and its effect in one place.

To add a kind: one class with `name`, `draw` and `apply`, and one entry in `ANOMALY_CLASSES`.

`draw` turns four addressed uniforms into the episode's channels and parameters, which go on record; `apply` changes
values by those parameters alone. Values that `apply` leaves are then clipped to the channel's physical limits and
rounded to its decimals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from worker.readings.random_streams import FloatArray
from worker.readings.seasonality import sine
from worker.spec import AnomalySpec, Channel

Parameters = dict[str, float]


class Draws(NamedTuple):
    """Four independent uniforms in [0, 1) that belong to one episode."""

    channel: float
    size: float
    sign: float
    phase: float


class EligibleChannels(NamedTuple):
    """What a kind may change: the channels and the odds with which a one-channel kind picks among them. `only` is the
    index of the one channel that is left to any kind, None for all."""

    channels: tuple[Channel, ...]
    odds: tuple[float, ...]
    only: int | None = None

    def restrict(self, chosen: tuple[int, ...]) -> tuple[int, ...]:
        """The indices of channels that a kind has chosen, or of the only one."""
        return chosen if self.only is None else (self.only,)

    def pick(self, draw: float) -> int:
        """The index of a channel, by the odds."""
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
    episode's, `rate` readings per second.
    """

    base: FloatArray
    deviation: FloatArray
    values: FloatArray
    offset: FloatArray
    length: int
    rate: float


class AnomalyType(Protocol):
    name: ClassVar[str]

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        """The indices of the channels that the episode affects, and its parameters."""

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        """Change `segment.values` in place."""


@dataclass(frozen=True, slots=True)
class Spike:
    """One channel is multiplied by a factor, or divided by it."""

    name: ClassVar[str] = "spike"
    multiplier_min: float = 1.5
    multiplier_max: float = 3.0

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        factor = self.multiplier_min + draws.size * (self.multiplier_max - self.multiplier_min)
        factor = factor if draws.sign < 0.5 else 1 / factor
        return (eligible.pick(draws.channel),), {"factor": round(factor, 6)}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        segment.values[channels[0]] *= parameters["factor"]


@dataclass(frozen=True, slots=True)
class Trend:
    """One channel drifts away; at the episode's last reading it is off by `change`, a fraction of its value.

    `change` is drawn between half of `max_change` and `max_change`, up or down.
    """

    name: ClassVar[str] = "trend"
    max_change: float = 0.5

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        change = self.max_change * (0.5 + 0.5 * draws.size)
        return (eligible.pick(draws.channel),), {"change": round(change if draws.sign < 0.5 else -change, 6)}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        progress = (segment.offset + 1) / segment.length
        segment.values[channels[0]] *= 1 + parameters["change"] * progress


@dataclass(frozen=True, slots=True)
class Pattern:
    """A sine is added to temperature and its opposite to vibration (or to the first two channels there are).

    The amplitude is `amplitude` standard deviations of the channel if given, else `amplitude_percent` of its mean.
    `frequency` is in Hz, lowered to an eighth of the rate where readings are too rare to show it.
    """

    name: ClassVar[str] = "pattern"
    amplitude_percent: float = 20.0
    amplitude: float = 0.0
    frequency: float = 0.1
    opposed: ClassVar[tuple[str, str]] = ("temperature", "vibration")

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        names = [channel.name for channel in eligible.channels]
        chosen = tuple(names.index(name) for name in self.opposed if name in names)
        channels = chosen or tuple(range(min(2, len(names))))
        size = {"amplitude": self.amplitude} if self.amplitude else {"amplitude_percent": self.amplitude_percent}
        return eligible.restrict(tuple(sorted(channels))), {
            **size,
            "frequency": self.frequency,
            "phase": round(draws.phase, 6),
        }

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        frequency = min(parameters["frequency"], segment.rate / 8)
        wave = sine(segment.offset * (frequency / segment.rate) + parameters["phase"])
        for direction, index in zip((1.0, -1.0), channels, strict=False):
            channel = eligible.channels[index]
            if "amplitude" in parameters:
                amplitude = parameters["amplitude"] * channel.std_dev
            else:
                amplitude = parameters["amplitude_percent"] / 100 * abs(channel.mean)
            segment.values[index] += direction * amplitude * wave


@dataclass(frozen=True, slots=True)
class MissingData:
    """The readings of the episode are not delivered; their sequence numbers are used up."""

    name: ClassVar[str] = "missing_data"

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        return (), {}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        """Nothing to change: generation leaves the rows out."""


@dataclass(frozen=True, slots=True)
class Noise:
    """All channels jitter: their healthy deviation is amplified as if Gaussian noise of `factor` times the mean
    (at least half a standard deviation) had been added. `vibration_gain` multiplies the factor for vibration.

    What is there is amplified rather than new noise drawn, so that the reading stays a function of its address.
    """

    name: ClassVar[str] = "noise"
    factor: float = 0.1
    vibration_gain: float = 1.0

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        gain = {"vibration_gain": self.vibration_gain} if self.vibration_gain != 1.0 else {}
        chosen = eligible.restrict(tuple(range(len(eligible.channels))))
        return chosen, {"noise_factor": round(self.factor, 6), **gain}

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
            gain = float(np.sqrt(1 + ratio * ratio))
            segment.values[index] = segment.base[index] + segment.deviation[index] * gain


ANOMALY_CLASSES: tuple[type[AnomalyType], ...] = (Spike, Trend, Pattern, MissingData, Noise)
ANOMALY_TYPES = tuple(kind.name for kind in ANOMALY_CLASSES)


def build_anomaly(spec: AnomalySpec) -> AnomalyType:
    """The kind that `spec` names, with its parameters. Raises KeyError or TypeError for what it does not know."""
    return dict(zip(ANOMALY_TYPES, ANOMALY_CLASSES, strict=True))[spec.kind](**dict(spec.parameters))


def eligible_channels(spec: AnomalySpec, channels: tuple[Channel, ...]) -> EligibleChannels:
    odds = dict(spec.channel_odds)
    return EligibleChannels(channels, tuple(odds.get(channel.name, 1.0) for channel in channels))
