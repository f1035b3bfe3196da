"""The declaration of a type of anomaly: a class that states all that the program knows of the type.

The section of the config with its JSON schema, the effects that a catalogue may give, the size of an injection, the help texts
and the OpenAPI document are made from it. The types are in `worker.readings.anomalies`,
`worker.readings.instrument_faults` and `worker.readings.clock_errors`.

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

from worker.readings.signals import Uniform, noise_share
from worker.spec import Channel

if TYPE_CHECKING:
    from worker.readings.episode_segment import EpisodeSegment

Parameters = dict[str, float]
DurationUnit = Literal["seconds", "readings"]
Scaling = Callable[[float, float], float]


MAX_EPISODE_READINGS = 100_000
"""The greatest length of an episode that is no injection. It bounds the size of a page of episodes."""


class Draws(NamedTuple):
    """Four independent uniforms in [0, 1) that belong to one episode."""

    channel: float
    size: float
    sign: float
    phase: float


class EligibleChannels(NamedTuple):
    """The channels that a type may change, and the odds with which a one-channel type picks among them. If `only` is not
    None, it is the index of the one channel that any type is confined to. `noise_deviations` are those of `noise_deviation`,
    computed once for many episodes."""

    channels: tuple[Channel, ...]
    odds: tuple[float, ...]
    only: int | None = None
    noise_deviations: tuple[float, ...] = ()

    def restrict(self, chosen: tuple[int, ...]) -> tuple[int, ...]:
        """The indices that a type has chosen, or the index it is confined to."""
        return chosen if self.only is None else (self.only,)

    def odds_where(self, suits: Callable[[Channel], bool]) -> tuple[float, ...]:
        """The odds of the channels that suit, 0 for others; all odds if none suits."""
        suitable = tuple(odds * suits(each) for odds, each in zip(self.odds, self.channels, strict=True))
        return suitable if any(suitable) else self.odds

    def pick(self, draw: float, suits: Callable[[Channel], bool] | None = None) -> int:
        """The index of one channel, drawn by the odds; among those that suit, if there are any."""
        if self.only is not None:
            return self.only
        if len(self.channels) == 1:
            return 0
        chosen = self.odds if suits is None else self.odds_where(suits)
        position = draw * sum_in_order(chosen)
        for index, odds in enumerate(chosen):
            position -= odds
            if position < 0:
                return index
        return max((index for index, odds in enumerate(chosen) if odds), default=len(chosen) - 1)


def sum_in_order(numbers: Iterable[float]) -> float:
    """The sum from left to right. Not `sum`: since Python 3.12 it compensates, and the last bit would depend on
    the version."""
    result = 0.0
    for number in numbers:
        result += number
    return result


def visible_unit(channel: Channel) -> float:
    """The unit of the sizes of anomalies: the channel's standard deviation. Of a channel that does not vary, a fiftieth of its
    range; at least one step of its instrument."""
    spread = channel.std_dev or (channel.maximum - channel.minimum) / 50
    return max(spread, channel.instrument.resolution, 1 / 10.0**channel.decimals)


def noise_deviation(channel: Channel) -> float:
    """The standard deviation of the noise of a healthy channel, without its movement."""
    uniform = (dict(each.parameters) for each in channel.signals if each.name == Uniform.name)
    share = noise_share(channel) + sum_in_order(Uniform.variance_share(parameters) for parameters in uniform)
    return channel.std_dev * sqrt(share)


@lru_cache(maxsize=64)
def noise_deviations(channels: tuple[Channel, ...]) -> tuple[float, ...]:
    return tuple(map(noise_deviation, channels))


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
    to the other types; a type that is not `enabled_by_default` occurs where a config enables it. `channels` says how many an episode changes: one of the sensor's, several, or none because whole
    readings are affected. Of the parameters named in `alternatives` at most one applies.
    """

    name: ClassVar[str]
    weight: ClassVar[float]
    enabled_by_default: ClassVar[bool] = True
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
        """Change `segment.values`, or `segment.times`, in place."""

    @staticmethod
    def suits(channel: Channel) -> bool:  # noqa: ARG004 - one signature for all
        """Return whether the type can be seen in a channel."""
        return True

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
