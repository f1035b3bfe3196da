"""The movement of channels: the signals of their kind, as a config and the sensor's other channels change them."""

from __future__ import annotations

from dataclasses import replace
from math import copysign, sqrt

from fleet.catalogue.signals import InstrumentSection, followed_channel
from worker.readings.signals import Follows, Slow, Walk, WeatherEvents, signal_class
from worker.spec import IDEAL_INSTRUMENT, Channel, Instrument, SignalSpec

DEFAULT_CORRELATION = 6 * 3600.0


def without_movement(channel: Channel) -> Channel:
    return replace(channel, signals=(), instrument=IDEAL_INSTRUMENT, daily_peak=15.0, daily_trough=None)


def without_absent(channel: Channel, names: tuple[str, ...]) -> Channel:
    """Return a channel that follows one that the sensor does not have with a slow movement of its own instead."""
    followed = followed_channel(channel.signals)
    if followed is None or followed in names:
        return channel
    signals = tuple(slow_like(spec) if spec.name == Follows.name else spec for spec in channel.signals)
    return replace(channel, signals=merge_slow(signals))


def slow_like(spec: SignalSpec) -> SignalSpec:
    """Return a slow signal with the variance of another one."""
    return slow_signal(signal_class(spec.name).variance_share(dict(spec.parameters)))


def slow_signal(share: float, correlation: float = DEFAULT_CORRELATION) -> SignalSpec:
    return SignalSpec(Slow.name, (("share", share), ("correlation", correlation)))


def merge_slow(signals: tuple[SignalSpec, ...]) -> tuple[SignalSpec, ...]:
    """Return signals of which at most one is slow: two of them are one with the variance of both."""
    slow = [dict(spec.parameters) for spec in signals if spec.name == Slow.name]
    if len(slow) < 2:
        return signals
    share = min(1.0, sum(float(each["share"]) for each in slow))
    merged = slow_signal(share, float(slow[0]["correlation"]))
    return (merged, *(spec for spec in signals if spec.name != Slow.name))


def movement_signals(
    of_kind: tuple[SignalSpec, ...], correlation: float | None, scale: float
) -> tuple[SignalSpec, ...]:
    """Return the signals of a channel: those of its kind, or the ones that a correlation time stands for."""
    if scale == 0:  # constant values
        return ()
    if correlation is None:
        return tuple(scale_signal(spec, scale) for spec in of_kind)
    return (slow_signal(1.0, correlation),) if correlation else ()


def walking(signals: tuple[SignalSpec, ...], step: float) -> tuple[SignalSpec, ...]:
    """Return signals whose movement is a walk with that largest step; what comes on top of the movement stays."""
    moving = sum(share_of(spec) for spec in signals)
    walk = SignalSpec(Walk.name, (("step", step), ("share", min(moving, 1.0) or 1.0)))
    return (walk, *(spec for spec in signals if not share_of(spec)))


def with_noise(signals: tuple[SignalSpec, ...], noise: float) -> tuple[SignalSpec, ...]:
    """Return signals that leave noise of that deviation, a fraction of the channel's."""
    moving, total = 1.0 - min(noise, 1.0) ** 2, sum(share_of(spec) for spec in signals)
    if total == 0:
        return (slow_signal(moving), *signals) if moving else signals
    return tuple(with_share(spec, min(1.0, share_of(spec) / total * moving)) for spec in signals)


def with_share(spec: SignalSpec, share: float) -> SignalSpec:
    """Return a signal with another share of the variance; one that comes on top of the others is returned as it is."""
    if not share_of(spec):
        return spec
    values = dict(spec.parameters)
    if spec.name == Follows.name:
        values["correlation"] = copysign(sqrt(share), float(values["correlation"]))
    else:
        values["share"] = share
    return SignalSpec(spec.name, tuple(values.items()))


def without_events(signals: tuple[SignalSpec, ...]) -> tuple[SignalSpec, ...]:
    return tuple(spec for spec in signals if spec.name != WeatherEvents.name)


def share_of(spec: SignalSpec) -> float:
    return signal_class(spec.name).variance_share(dict(spec.parameters))


def scale_signal(spec: SignalSpec, scale: float) -> SignalSpec:
    """Return a signal of a channel whose standard deviation a config has changed by a factor: what is in the unit of the
    channel changes with it, as the config may be in another unit."""
    absolute = {each.name for each in signal_class(spec.name).parameters if each.unit == "channel's"}
    if scale == 1 or not absolute:
        return spec
    return SignalSpec(
        spec.name,
        tuple((name, float(value) * scale if name in absolute else value) for name, value in spec.parameters),
    )


def scale_instrument(section: InstrumentSection, scale: float) -> Instrument:
    instrument = section.instrument()
    if scale == 1:
        return instrument
    return replace(
        instrument,
        offset=instrument.offset * scale,
        resolution=instrument.resolution * scale,
        warm_up=instrument.warm_up * scale,
    )
