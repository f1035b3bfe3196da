"""The attributes of readings: columns that follow from the values by rules, such as status, quality and alert level."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from worker.readings.random_streams import FloatArray, RandomStreams
from worker.readings.signals import WEATHER_EVENTS
from worker.readings.weather import NO_EVENT
from worker.spec import AttributeRule, AttributeValue, Channel, ReadingAttribute

ObjectArray = npt.NDArray[np.object_]
NO_WEATHER_EVENT = "none"


class AttributeColumns:
    """The attributes of one sensor's readings."""

    def __init__(
        self, streams: RandomStreams, channels: tuple[Channel, ...], attributes: tuple[ReadingAttribute, ...]
    ) -> None:
        self._streams, self._attributes = streams, attributes
        self._index = {channel.name: index for index, channel in enumerate(channels)}

    def values(
        self, first: int, anomalous: npt.NDArray[np.bool_], values: FloatArray, events: npt.NDArray[np.int8] | None
    ) -> tuple[list[AttributeValue], ...]:
        """Return the columns of consecutive readings. `values` has shape (channels, readings)."""
        return tuple(self._column(attribute, first, anomalous, values, events) for attribute in self._attributes)

    def _column(
        self,
        attribute: ReadingAttribute,
        first: int,
        anomalous: npt.NDArray[np.bool_],
        values: FloatArray,
        events: npt.NDArray[np.int8] | None,
    ) -> list[AttributeValue]:
        count = len(anomalous)
        column: ObjectArray = np.full(count, None, dtype=object)
        left = np.ones(count, dtype=np.bool_)
        draws: FloatArray | None = None
        for rule in attribute.rules:
            chosen = left & self._applies(rule, anomalous, values, events)
            if not chosen.any():
                continue
            if draws is None and len(rule.values) != 1:
                draws = self._streams.uniforms(f"{attribute.name}/attribute", first, count)
            column[chosen] = rule_values(rule, attribute, int(chosen.sum()), None if draws is None else draws[chosen])
            left &= ~chosen
        result: list[AttributeValue] = column.tolist()
        return result

    def _applies(
        self,
        rule: AttributeRule,
        anomalous: npt.NDArray[np.bool_],
        values: FloatArray,
        events: npt.NDArray[np.int8] | None,
    ) -> npt.NDArray[np.bool_]:
        result = np.ones(len(anomalous), dtype=np.bool_)
        if rule.anomalous is not None:
            result &= anomalous if rule.anomalous else ~anomalous
        if rule.weather is not None:
            wanted = NO_EVENT if rule.weather == NO_WEATHER_EVENT else WEATHER_EVENTS.index(rule.weather)
            result &= events == wanted if events is not None else np.bool_(wanted == NO_EVENT)
        if rule.channel is not None:
            channel = values[self._index[rule.channel]]
            if rule.at_least is not None:
                result &= channel >= rule.at_least
            if rule.below is not None:
                result &= channel < rule.below
        return result


def rule_values(
    rule: AttributeRule, attribute: ReadingAttribute, count: int, draws: FloatArray | None
) -> AttributeValue | ObjectArray:
    """Return the values that a rule gives to `count` readings, whose uniforms are `draws`."""
    if len(rule.values) == 1:
        return rule.values[0]
    assert draws is not None
    result: ObjectArray = np.empty(count, dtype=object)
    if rule.values:
        weights = rule.weights or (1.0,) * len(rule.values)
        bounds = np.cumsum(np.array(weights, dtype=np.float64))
        indices = np.minimum(np.searchsorted(bounds, draws * bounds[-1], side="right"), len(rule.values) - 1)
        result[:] = [rule.values[index] for index in indices.tolist()]
        return result
    scale = 10.0**rule.decimals
    numbers = np.rint((rule.low + draws * (rule.high - rule.low)) * scale) / scale
    result[:] = numbers.astype(np.int64).tolist() if attribute.column_type == "INTEGER" else numbers.tolist()
    return result
