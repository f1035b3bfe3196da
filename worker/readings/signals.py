"""The parts of a healthy signal: one class each, which declares its parameters.

The deviation of a channel from its mean is a sum of parts. Each has a share of the variance, `std_dev` squared; what they leave
is white noise. A part that comes on top (`weekly`, `drift`, `weather_events`) has no share.

To add a part, write one class here, put it into `SIGNAL_CLASSES`, and compute it in `worker.readings.movement`. A kind of
sensor states parts by their names (`configs/kinds/`); the check of a kind and its messages are made from the declaration. numpy
is not imported here, because checking a config takes less time than that import.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

from worker.spec import Channel, SignalSpec

SignalValue = float | str
SignalParameters = Mapping[str, SignalValue]

QUANTITIES = ("temperature", "humidity", "pressure")
"""The quantities of the weather at a place, in the order of their streams: a new one goes to the end."""

WEATHER_EVENTS = ("storm", "front", "clear")
"""The weather events at a place. Between two events there is none."""

DAY_SECONDS = 86_400.0
MIN_CORRELATION_SECONDS = 120.0
MAX_SECONDS = 3650 * DAY_SECONDS
MAX_AMOUNT = 1e12


@dataclass(frozen=True, slots=True)
class SignalParameter:
    """A parameter that a kind of sensor may set for a part.

    `default` applies where the kind does not set it; None means that it must be set. A number lies between `minimum` and
    `maximum`. With `unit` "seconds" a duration such as 6h is accepted too; with "channel" the value is the name of
    another channel of the kind; with "channel's" the number is in the unit of the channel. With `choices` the value is
    one of them.
    """

    name: str
    default: SignalValue | None
    minimum: float = 0.0
    maximum: float = MAX_AMOUNT
    unit: Literal["", "seconds", "channel", "channel's"] = ""
    choices: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        return bool(self.choices) or self.unit == "channel"


SHARE = SignalParameter("share", None, 0.0, 1.0)
"""The part's share of the channel's variance."""


class Signal(ABC):
    """The declaration of one part; an instance has the parameters of one channel in `values`. The docstring of a subclass
    describes the part in the generated documentation."""

    name: ClassVar[str]
    parameters: ClassVar[tuple[SignalParameter, ...]]

    def __init__(self, stated: SignalParameters) -> None:
        """KeyError for a parameter that the part does not have, or a required one that is missing."""
        unknown = stated.keys() - {parameter.name for parameter in self.parameters}
        if unknown:
            raise KeyError(*unknown)
        self.values: dict[str, SignalValue] = {}
        for parameter in self.parameters:
            value = stated.get(parameter.name, parameter.default)
            if value is None:
                raise KeyError(parameter.name)
            self.values[parameter.name] = value

    def number(self, name: str) -> float:
        return float(self.values[name])

    @classmethod
    def variance_share(cls, parameters: SignalParameters) -> float:
        """Return the part of the channel's variance that the signal has; 0 for a signal that comes on top of it."""
        default = next((each.default for each in cls.parameters if each.name == "share"), 0.0)
        return float(parameters.get("share", default or 0.0))

    @classmethod
    def contradiction(cls, parameters: SignalParameters) -> tuple[str, str] | None:  # noqa: ARG003
        """Return the name of a parameter that contradicts another one, and the reason; None if none does."""
        return None

    @property
    def share(self) -> float:
        return self.variance_share(self.values)


class Slow(Signal):
    """A slow movement of the sensor's own surroundings. Values farther apart than `correlation` are nearly independent."""

    name = "slow"
    parameters = (
        SHARE,
        SignalParameter("correlation", 6 * 3600.0, MIN_CORRELATION_SECONDS, MAX_SECONDS, "seconds"),
    )


class Weather(Signal):
    """The movement of the weather at the sensor's place, the same for all sensors of a city, similar in cities nearby."""

    name = "weather"
    parameters = (
        SHARE,
        SignalParameter("quantity", None, choices=QUANTITIES),
        SignalParameter("correlation", 4 * DAY_SECONDS, MIN_CORRELATION_SECONDS, MAX_SECONDS, "seconds"),
    )


class Follows(Signal):
    """The movement of another channel of the sensor, to which it has the given correlation."""

    name = "follows"
    parameters = (
        SignalParameter("channel", None, unit="channel"),
        SignalParameter("correlation", None, -1.0, 1.0),
    )

    @classmethod
    def variance_share(cls, parameters: SignalParameters) -> float:
        return float(parameters["correlation"]) ** 2


class Machine(Signal):
    """The state of the machine that the sensor is mounted on: `idle`, `running` and `maintenance` are the levels of the
    channel in the three states, relative to each other. `dwell` is a typical time in a state, `running_part` and
    `maintenance_part` the parts of the time in these states; channels of a sensor that state the same three follow the same
    machine. `response` is the time with which the channel follows a change of the state."""

    name = "machine"
    parameters = (
        SHARE,
        SignalParameter("idle", 0.0, -1000.0, 1000.0),
        SignalParameter("running", 1.0, -1000.0, 1000.0),
        SignalParameter("maintenance", 0.0, -1000.0, 1000.0),
        SignalParameter("response", 0.0, 0.0, MAX_SECONDS, "seconds"),
        SignalParameter("dwell", 2 * 3600.0, MIN_CORRELATION_SECONDS, MAX_SECONDS, "seconds"),
        SignalParameter("running_part", 0.65, 0.01, 0.99),
        SignalParameter("maintenance_part", 0.05, 0.0, 0.5),
    )

    @classmethod
    def contradiction(cls, parameters: SignalParameters) -> tuple[str, str] | None:
        parts = float(parameters["running_part"]), float(parameters["maintenance_part"])
        if parts[0] + parts[1] > 1:
            return "maintenance_part", f"{parts[1]:g} and running_part, {parts[0]:g}, are more than the whole time"
        return None


class Walk(Signal):
    """A random walk; `step` is its largest change from one reading to the next, in the unit of the channel. The channel is
    reflected at its bounds, which keeps the largest step."""

    name = "walk"
    parameters = (SignalParameter("step", None, 1e-9, MAX_AMOUNT, "channel's"), SignalParameter("share", 1.0, 0.0, 1.0))


class Uniform(Signal):
    """Noise that is distributed uniformly, drawn for each reading."""

    name = "uniform"
    parameters = (SHARE,)


class Weekly(Signal):
    """A weekly rhythm on top of the others; `amplitude` is in standard deviations, positive for more on working days."""

    name = "weekly"
    parameters = (SignalParameter("amplitude", None, -100.0, 100.0),)


class Drift(Signal):
    """A drift with the age of the sensor, on top of the others: each sensor has its own rate, at most `per_year` up or down, in
    the unit of the channel."""

    name = "drift"
    parameters = (SignalParameter("per_year", None, 0.0, MAX_AMOUNT, "channel's"),)


class WeatherEvents(Signal):
    """Weather events at the sensor's place, on top of the others: what a `storm`, a `front` and a `clear` sky add, in the
    unit of the channel. One begins in each `interval`, at a random time; it lasts from `shortest` to `longest`. All
    channels of a place that state the same times see the same events."""

    name = "weather_events"
    parameters = (
        *(SignalParameter(event, 0.0, -MAX_AMOUNT, MAX_AMOUNT, "channel's") for event in WEATHER_EVENTS),
        SignalParameter("interval", 3 * DAY_SECONDS, 10.0, MAX_SECONDS, "seconds"),
        SignalParameter("shortest", 2 * 3600.0, 1.0, MAX_SECONDS, "seconds"),
        SignalParameter("longest", 12 * 3600.0, 1.0, MAX_SECONDS, "seconds"),
    )

    @classmethod
    def contradiction(cls, parameters: SignalParameters) -> tuple[str, str] | None:
        shortest, longest = float(parameters["shortest"]), float(parameters["longest"])
        return ("shortest", f"{shortest:g} seconds are more than longest, {longest:g}") if shortest > longest else None


SIGNAL_CLASSES: tuple[type[Signal], ...] = (
    Slow,
    Weather,
    Follows,
    Machine,
    Walk,
    Uniform,
    Weekly,
    Drift,
    WeatherEvents,
)
SIGNAL_NAMES = tuple(each.name for each in SIGNAL_CLASSES)


def signal_class(name: str) -> type[Signal]:
    """Return the class of the signal of that name. KeyError if there is none."""
    return dict(zip(SIGNAL_NAMES, SIGNAL_CLASSES, strict=True))[name]


@lru_cache(maxsize=256)
def build_signal(spec: SignalSpec) -> Signal:
    """Build the part that `spec` names, once for all sensors of a process. KeyError if its name or a parameter is unknown."""
    return signal_class(spec.name)(dict(spec.parameters))


def noise_share(channel: Channel) -> float:
    """Return the share of a channel's variance that is white noise: what its parts leave."""
    left = 1.0
    for spec in channel.signals:
        left -= build_signal(spec).share
    return max(0.0, left)


@lru_cache(maxsize=256)
def dependence_order(channels: tuple[Channel, ...]) -> tuple[int, ...]:
    """Return the indices of the channels, each after those that it follows. ValueError if they follow each other in a circle."""
    indices = {channel.name: index for index, channel in enumerate(channels)}
    leaders = [
        {
            indices[str(value)]
            for spec in channel.signals
            for name, value in spec.parameters
            if name == "channel" and value in indices
        }
        for channel in channels
    ]
    ordered: list[int] = []
    while len(ordered) < len(channels):
        ready = [index for index in range(len(channels)) if index not in ordered and leaders[index] <= set(ordered)]
        if not ready:
            raise ValueError("the channels follow each other in a circle")
        ordered += ready
    return tuple(ordered)
