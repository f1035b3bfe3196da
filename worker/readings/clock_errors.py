"""Errors of a device's clock: types of anomaly that change the time that readings record, and no value.

They are off by default. The true time of a reading is its timestamp minus the error, which follows from the recorded
parameters. The first and last reading of an episode, and the times in its record, are those of the schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.readings.anomaly_type import (
    AnomalyType,
    Draws,
    EligibleChannels,
    InjectionSize,
    Parameter,
    Parameters,
    proportional,
)
from worker.spec import Settings

if TYPE_CHECKING:
    from worker.readings.episode_segment import EpisodeSegment

MAX_ERROR_SECONDS = 10 * 365 * 86_400
"""No simulation begins before 1980, so no recorded time is before 1970."""


class ClockError(AnomalyType):
    """A wrong clock. Whole readings are affected."""

    enabled_by_default = False
    channels = "none"

    def complete(self, parameters: Parameters, readings: int, before: int, utc_offset: float) -> Parameters:
        """Return the parameters that are recorded of an episode of that many readings, the first `before` of which are before
        its epoch. `utc_offset` is local time minus UTC when it begins, in seconds."""
        return parameters


class DrawnClockError(ClockError):
    """A wrong clock whose error is drawn: half of `seconds` to all of it, too late or too early."""

    size = InjectionSize(("seconds",), -MAX_ERROR_SECONDS, MAX_ERROR_SECONDS, "seconds")

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        seconds = self.values["seconds"] * (0.5 + 0.5 * draws.size)
        return (), {"seconds": round(seconds if draws.sign < 0.5 else -seconds, 6)}


class ClockJump(DrawnClockError):
    """The clock is wrong by half of `seconds` to all of it, fast or slow, from the first reading to the last."""

    name = "clock_jump"
    weight = 0.1
    duration = (600.0, "seconds")
    parameters = (Parameter("seconds", "seconds", 300.0, 0.001, MAX_ERROR_SECONDS, proportional),)

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        segment.times[:] += microseconds(parameters["seconds"])


class ClockDrift(DrawnClockError):
    """The clock runs too fast or too slow: its error grows in proportion to time, to half of `seconds` to all of it at the last
    reading."""

    name = "clock_drift"
    weight = 0.1
    duration = (3600.0, "seconds")
    parameters = (Parameter("seconds", "seconds", 30.0, 0.001, MAX_ERROR_SECONDS, proportional),)

    def complete(self, parameters: Parameters, readings: int, before: int, utc_offset: float) -> Parameters:
        begun = {"before": float(before)} if before else {}
        return {**parameters, "readings": float(readings), **begun}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        error = (segment.offset + 1) / parameters["readings"] * microseconds(parameters["seconds"])
        segment.times[:] += error.round().astype("int64")


class WrongZone(ClockError):
    """The clock shows local time instead of UTC: it is wrong by the UTC offset of the sensor's time zone when the episode
    begins; by one hour where that is 0."""

    name = "wrong_zone"
    weight = 0.1
    duration = (3600.0, "seconds")

    def draw(self, draws: Draws, eligible: EligibleChannels) -> tuple[tuple[int, ...], Parameters]:
        return (), {}

    def complete(self, parameters: Parameters, readings: int, before: int, utc_offset: float) -> Parameters:
        return {"seconds": utc_offset or 3600.0}

    def apply(
        self, segment: EpisodeSegment, channels: tuple[int, ...], parameters: Parameters, eligible: EligibleChannels
    ) -> None:
        segment.times[:] += microseconds(parameters["seconds"])


def microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


CLOCK_ERRORS: tuple[type[ClockError], ...] = (ClockJump, ClockDrift, WrongZone)
CLOCK_ERROR_NAMES = frozenset(each.name for each in CLOCK_ERRORS)


def records_due_times(settings: Settings) -> bool:
    """Return whether every reading records the time at which it is due: there is no jitter, and no clock is ever wrong."""
    specs = settings.anomalies if settings.injection is None else (settings.injection.anomaly,)
    return not settings.jitter and CLOCK_ERROR_NAMES.isdisjoint(spec.kind for spec in specs)
