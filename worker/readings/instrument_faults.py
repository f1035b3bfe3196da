"""Faults of an instrument, by which detectors are judged: types of anomaly that are off by default.

Their sizes are in standard deviations of the channel or in parts of its range, so that they suit any kind of sensor.
"""

from __future__ import annotations

from abc import abstractmethod
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from worker.readings.anomaly_type import (
    AnomalyType,
    Draws,
    EligibleChannels,
    InjectionSize,
    Parameter,
    Parameters,
    excess_over_one,
    fraction_of_percent,
    noise_deviation,
    proportional,
    unscaled,
    visible_unit,
)
from worker.spec import Channel

if TYPE_CHECKING:
    from worker.readings.episode_segment import EpisodeSegment

NO_LIMIT = 1e12
"""A physical limit of this size is none: it is the default of a kind of sensor."""

COUPLING_SIGNALS = frozenset(("follows", "machine", "weather", "weather_events"))
"""Parts of a signal that a channel has in common with others."""

RESET_DISTANCE = 3.0
"""The least distance of a reset value from the mean, in standard deviations: a value within the usual ones shows nothing."""

UNCOMPENSATED_REFERENCE = 80.0
"""Standard deviations of a channel that is no pressure, of which its error is a part at least: 5 % is 4 deviations."""


def direction(draws: Draws) -> float:
    return 1.0 if draws.sign < 0.5 else -1.0


class ChannelFault(AnomalyType):
    """A fault of one channel."""

    enabled_by_default = False
    channels = "one"

    @abstractmethod
    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        """The parameters of an episode in a channel."""

    @abstractmethod
    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        """Change `segment.values[index]`, the values of the channel, in place."""

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        index = eligible.pick(draws.channel, self.suits)
        return (index,), self.recorded(draws, eligible.channels[index])

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        for index in channels:
            self.change(segment, index, eligible.channels[index], parameters)


class StuckValue(ChannelFault):
    """One channel keeps the value that it has at the first reading of the episode."""

    name = "stuck_value"
    weight = 0.1
    duration = (300.0, "seconds")

    @staticmethod
    def suits(channel: Channel) -> bool:
        return channel.std_dev > 0

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        segment.values[index] = segment.first_value(index)


class StuckAtLimit(ChannelFault):
    """One channel stays at its minimum or at its maximum."""

    name = "stuck_at_limit"
    weight = 0.1
    duration = (120.0, "seconds")

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {"limit": channel.maximum if direction(draws) > 0 else channel.minimum}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        segment.values[index] = parameters["limit"]


class Drift(ChannelFault):
    """One channel moves away from its true value in proportion to time, up or down, by `size` standard deviations at the last
    reading."""

    name = "drift"
    weight = 0.1
    duration = (3600.0, "seconds")
    parameters = (Parameter("size", "size", 4.0, 0, 1000, proportional, positive=True),)
    size = InjectionSize(("size",), -1000.0, 1000.0, "standard deviations at the end")

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {"size": round(direction(draws) * self.values["size"], 6)}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        progress = (segment.offset + 1) / segment.length
        segment.values[index] += progress * (parameters["size"] * visible_unit(channel))


class LevelShift(ChannelFault):
    """One channel is off by `size` standard deviations, up or down, from the first reading to the last."""

    name = "level_shift"
    weight = 0.1
    duration = (300.0, "seconds")
    parameters = (Parameter("size", "size", 3.0, 0, 1000, proportional, positive=True),)
    size = InjectionSize(("size",), -1000.0, 1000.0, "standard deviations")

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {"size": round(direction(draws) * self.values["size"], 6)}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        segment.values[index] += parameters["size"] * visible_unit(channel)


class VarianceChange(ChannelFault):
    """The noise of one channel around its movement is `factor` times as large: at least a third of a standard deviation."""

    name = "variance_change"
    weight = 0.1
    duration = (300.0, "seconds")
    parameters = (Parameter("factor", "factor", 5.0, 1, 1000, excess_over_one, positive=True),)
    size = InjectionSize(("factor",), 1.0, 1000.0, "the factor")

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {"factor": round(self.values["factor"], 6)}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        factor = parameters["factor"]
        added = max(noise_deviation(channel) * sqrt(factor * factor - 1), visible_unit(channel) / 3)
        segment.values[index] += segment.normals(index, channel.std_dev) * added


class Clipping(ChannelFault):
    """One channel does not go beyond a level, above or below, which is `depth` standard deviations inside of its value at the
    first reading."""

    name = "clipping"
    weight = 0.1
    duration = (21600.0, "seconds")
    parameters = (Parameter("depth", "depth", 0.25, 0, 1000, proportional, positive=True),)
    size = InjectionSize(("depth",), -1000.0, 1000.0, "standard deviations between the first value and the level")

    @staticmethod
    def suits(channel: Channel) -> bool:
        return channel.std_dev > 0

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {"depth": round(direction(draws) * self.values["depth"], 6)}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        level = segment.first_value(index) - parameters["depth"] * visible_unit(channel)
        bounds = (None, level) if parameters["depth"] > 0 else (level, None)
        segment.values[index] = segment.values[index].clip(*bounds)


class Dropout(ChannelFault):
    """Single readings of one channel, each with `probability`, fall to its physical limit `lowest`, or to 0 if it has none.
    The first reading of the episode always does."""

    name = "dropout"
    weight = 0.1
    duration = (60.0, "seconds")
    parameters = (Parameter("probability", "probability", 0.3, 0, 1, unscaled, positive=True),)
    size = InjectionSize(("probability",), 0.001, 1.0, "the part of the readings")

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        fallen = channel.lowest if channel.lowest > -NO_LIMIT else 0.0
        return {"probability": self.values["probability"], "value": fallen}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        fallen = segment.normals(index, channel.std_dev) < normal_quantile(parameters["probability"])
        segment.values[index][fallen | (segment.offset == 0)] = parameters["value"]


class Decoupling(ChannelFault):
    """One channel no longer follows the others: it moves in the opposite direction, mirrored at its value at the first
    reading."""

    name = "decoupling"
    weight = 0.1
    duration = (21600.0, "seconds")

    @staticmethod
    def suits(channel: Channel) -> bool:
        return any(signal.name in COUPLING_SIGNALS for signal in channel.signals)

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        segment.values[index] = 2.0 * segment.first_value(index) - segment.values[index]


class OutOfRange(ChannelFault):
    """One channel is beyond its maximum or below its minimum, by up to `excess_percent` of its range."""

    name = "out_of_range"
    weight = 0.1
    duration = (1, "readings")
    parameters = (Parameter("excess_percent", "excess", 20.0, 0, 100_000, fraction_of_percent, positive=True),)
    size = InjectionSize(("excess",), -1000.0, 1000.0, "the part of the range beyond the limit")

    @staticmethod
    def suits(channel: Channel) -> bool:
        return any(room_beyond(channel))

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        above, below = room_beyond(channel)
        side = direction(draws) if above == below else 1.0 if above else -1.0
        return {"excess": round(side * self.values["excess"] * (0.1 + 0.9 * draws.size), 6)}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        """The values of a longer episode vary between half of the excess and all of it."""
        excess = parameters["excess"] * (channel.maximum - channel.minimum)
        limit = channel.maximum if excess > 0 else channel.minimum
        segment.values[index] = limit + excess
        if segment.length > 1:
            varied = abs(segment.normals(index, channel.std_dev) / 3.0).clip(0.0, 1.0)
            segment.values[index] -= varied * (0.5 * excess)


class PowerUp(AnomalyType):
    """The instrument has just been switched on: for a few readings all channels have the constant that its registers contain
    after a reset. It lies a quarter of the range above the minimum or below the maximum, farther from the mean, and at least
    three standard deviations from it."""

    name = "power_up"
    weight = 0.1
    enabled_by_default = False
    duration = (3, "readings")
    channels = "several"

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        return eligible.restrict(tuple(range(len(eligible.channels)))), {}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        for index in channels:
            segment.values[index] = reset_value(eligible.channels[index])


class Uncompensated(ChannelFault):
    """The pressure is wrong by half of `error_percent` to all of it, because the instrument has not measured the temperature
    that it needs to compensate. Of a sensor that has no pressure, another channel, by at least 80 times that fraction of its
    standard deviation."""

    name = "uncompensated"
    weight = 0.1
    duration = (10, "readings")
    parameters = (Parameter("error_percent", "error", 5.0, 0, 1000, fraction_of_percent, positive=True),)
    size = InjectionSize(("error",), -10.0, 10.0, "the fraction by which the value is wrong")

    @staticmethod
    def suits(channel: Channel) -> bool:
        return "pressure" in channel.name

    def recorded(self, draws: Draws, channel: Channel) -> Parameters:
        return {"error": round(direction(draws) * self.values["error"] * (0.5 + 0.5 * draws.size), 6)}

    def change(self, segment: EpisodeSegment, index: int, channel: Channel, parameters: Parameters) -> None:
        values = segment.values[index]
        if self.suits(channel):
            values *= 1.0 + parameters["error"]
        else:
            values += parameters["error"] * abs(values).clip(UNCOMPENSATED_REFERENCE * visible_unit(channel))


def normal_quantile(part: float) -> float:
    """Return the standard normal's quantile, rounded so that it has the same bits on every machine."""
    return round(NormalDist().inv_cdf(part), 9) if part < 1 else NO_LIMIT


def room_beyond(channel: Channel) -> tuple[bool, bool]:
    """Return whether the physical limits leave room above the channel's maximum and below its minimum."""
    return channel.highest > channel.maximum, channel.lowest < channel.minimum


def reset_value(channel: Channel) -> float:
    quarter = (channel.maximum - channel.minimum) / 4
    least = RESET_DISTANCE * visible_unit(channel)
    low = min(channel.minimum + quarter, channel.mean - least)
    high = max(channel.maximum - quarter, channel.mean + least)
    return low if channel.mean - low > high - channel.mean else high


INSTRUMENT_FAULTS: tuple[type[AnomalyType], ...] = (
    StuckValue,
    StuckAtLimit,
    Drift,
    LevelShift,
    VarianceChange,
    Clipping,
    Dropout,
    Decoupling,
    OutOfRange,
    PowerUp,
    Uncompensated,
)
