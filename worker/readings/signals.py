"""The signals that the healthy movement of a channel is composed of: one class each, which declares its parameters.

To add a signal, write one class and put it into `SIGNAL_CLASSES`. A kind of sensor states signals by their names
(`configs/kinds/`); the check of a kind and its messages are made from the declaration. numpy is not imported here, because
checking a config takes less time than that import.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

SignalParameters = Mapping[str, float | str]

QUANTITIES = ("temperature", "humidity", "pressure")
"""The quantities of the weather at a place."""

WEATHER_EVENTS = ("storm", "front", "clear")
"""The weather events at a place. Between two events there is none."""

DAY_SECONDS = 86_400.0
MAX_SECONDS = 3650 * DAY_SECONDS
MAX_AMOUNT = 1e12


@dataclass(frozen=True, slots=True)
class SignalParameter:
    """A parameter that a kind of sensor may set for a signal.

    `default` applies where the kind does not set it; None means that it must be set. A number lies between `minimum` and
    `maximum`. With `unit` "seconds" a duration such as 6h is accepted too; with "channel" the value is the name of
    another channel of the kind; with "channel's" the number is in the unit of the channel. With `choices` the value is one
    of them.
    """

    name: str
    default: float | str | None
    minimum: float = 0.0
    maximum: float = MAX_AMOUNT
    unit: Literal["", "seconds", "channel", "channel's"] = ""
    choices: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        return bool(self.choices) or self.unit == "channel"


SHARE = SignalParameter("share", None, 0.0, 1.0)


class Signal(ABC):
    """The declaration of one signal. The docstring of a subclass describes the signal in the generated documentation."""

    name: ClassVar[str]
    parameters: ClassVar[tuple[SignalParameter, ...]]

    @classmethod
    def variance_share(cls, parameters: SignalParameters) -> float:
        """Return the part of the channel's variance that the signal has; 0 for a signal that comes on top of it."""
        return float(parameters.get("share", 0.0))

    @classmethod
    def contradiction(cls, parameters: SignalParameters) -> tuple[str, str] | None:  # noqa: ARG003
        """Return the name of a parameter that contradicts another one, and the reason; None if none does."""
        return None


class Slow(Signal):
    """A slow movement of the sensor's own surroundings, with a correlation time."""

    name = "slow"
    parameters = (SHARE, SignalParameter("correlation", 6 * 3600.0, 1e-3, MAX_SECONDS, "seconds"))


class Weather(Signal):
    """The movement of the weather at the sensor's place, the same for all sensors of the place."""

    name = "weather"
    parameters = (SHARE, SignalParameter("quantity", None, choices=QUANTITIES))


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
    channel in the three states, relative to each other. `response` is the time with which the channel follows a change of
    the state, `dwell` the mean time in a state, which is the same for all channels of a sensor that state the same."""

    name = "machine"
    parameters = (
        SHARE,
        SignalParameter("idle", 0.0, -1000.0, 1000.0),
        SignalParameter("running", 1.0, -1000.0, 1000.0),
        SignalParameter("maintenance", 0.0, -1000.0, 1000.0),
        SignalParameter("response", 0.0, 0.0, MAX_SECONDS, "seconds"),
        SignalParameter("dwell", 2 * 3600.0, 1.0, MAX_SECONDS, "seconds"),
    )


class Walk(Signal):
    """A random walk; `step` is its largest change from one reading to the next, in the unit of the channel."""

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
    """A drift with the age of the sensor, on top of the others; `per_year` is in the unit of the channel."""

    name = "drift"
    parameters = (SignalParameter("per_year", None, -MAX_AMOUNT, MAX_AMOUNT, "channel's"),)


class WeatherEvents(Signal):
    """Weather events at the sensor's place, on top of the others: what a `storm`, a `front` and a `clear` sky add, in the
    unit of the channel. The time between two events is `interval` on average; an event lasts from `shortest` to `longest`.
    All channels of a place that state the same times see the same events."""

    name = "weather_events"
    parameters = (
        *(SignalParameter(event, 0.0, -MAX_AMOUNT, MAX_AMOUNT, "channel's") for event in WEATHER_EVENTS),
        SignalParameter("interval", 3 * DAY_SECONDS, 1.0, MAX_SECONDS, "seconds"),
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
