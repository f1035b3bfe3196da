"""The attributes of readings: columns that follow from the values by rules, such as status, quality and alert level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from worker.readings.random_streams import FloatArray, RandomStreams
from worker.readings.signals import WEATHER_EVENTS
from worker.readings.weather import NO_EVENT
from worker.schedule import IntArray
from worker.spec import AttributeRule, AttributeValue, Channel, ReadingAttribute

NO_WEATHER_EVENT = "none"
MAX_TABLE_VALUES = 4096
"""With more numbers in the range of a rule, only those that are drawn are in a table."""

ValueTable = tuple[AttributeValue, ...]


class AttributeColumn(Sequence[AttributeValue]):
    """The values of an attribute in consecutive readings: `table[codes[i]]`. Most columns of an attribute share a table."""

    def __init__(self, table: ValueTable, codes: IntArray) -> None:
        self.table, self.codes = table, codes

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, index: int) -> AttributeValue: ...
    @overload
    def __getitem__(self, index: slice) -> AttributeColumn: ...
    def __getitem__(self, index: int | slice) -> AttributeValue | AttributeColumn:
        if isinstance(index, slice):
            return AttributeColumn(self.table, self.codes[index])
        return self.table[int(self.codes[index])]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AttributeColumn) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[AttributeValue]:
        return map(self.table.__getitem__, self.codes.tolist())


def joined(columns: Sequence[AttributeColumn]) -> AttributeColumn:
    """Return columns of one attribute as one."""
    first = columns[0]
    if len(columns) == 1:
        return first
    if all(column.table is first.table for column in columns):
        return AttributeColumn(first.table, np.concatenate([column.codes for column in columns]))
    table: list[AttributeValue] = []
    codes = []
    for column in columns:
        codes.append(column.codes + len(table))
        table += column.table
    return AttributeColumn(tuple(table), np.concatenate(codes))


class AttributeColumns:
    """The attributes of one sensor's readings."""

    def __init__(
        self, streams: RandomStreams, channels: tuple[Channel, ...], attributes: tuple[ReadingAttribute, ...]
    ) -> None:
        self._streams, self._attributes = streams, attributes
        self._index = {channel.name: index for index, channel in enumerate(channels)}

    def values(
        self, first: int, anomalous: npt.NDArray[np.bool_], values: FloatArray, events: npt.NDArray[np.int8] | None
    ) -> tuple[AttributeColumn, ...]:
        """Return the columns of consecutive readings. `values` has shape (channels, readings)."""
        return tuple(self._column(attribute, first, anomalous, values, events) for attribute in self._attributes)

    def _column(
        self,
        attribute: ReadingAttribute,
        first: int,
        anomalous: npt.NDArray[np.bool_],
        values: FloatArray,
        events: npt.NDArray[np.int8] | None,
    ) -> AttributeColumn:
        count = len(anomalous)
        tables = rule_tables(attribute)
        table, codes = tables.table, np.zeros(count, dtype=np.int64)
        left = np.ones(count, dtype=np.bool_)
        draws: FloatArray | None = None
        for rule, offset in zip(attribute.rules, tables.offsets, strict=True):
            chosen = left & self._applies(rule, anomalous, values, events)
            if not chosen.any():
                continue
            if offset is not None and len(rule.values) == 1:
                codes[chosen] = offset
            else:
                if draws is None:
                    draws = self._streams.uniforms(f"{attribute.name}/attribute", first, count)
                if offset is None:
                    steps, places = np.unique(drawn_steps(rule, draws[chosen]), return_inverse=True)
                    codes[chosen] = len(table) + places
                    table += numbers(rule, attribute, steps)
                else:
                    codes[chosen] = offset + drawn_places(rule, draws[chosen])
            left &= ~chosen
        return AttributeColumn(table, codes)

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


class RuleTables(NamedTuple):
    """The values that an attribute can have, NULL first, and where those of each rule begin. An offset is None if a rule has too
    many, which are not in the table."""

    table: ValueTable
    offsets: tuple[int | None, ...]


@lru_cache(maxsize=1024)
def rule_tables(attribute: ReadingAttribute) -> RuleTables:
    table: ValueTable = (None,)
    offsets: list[int | None] = []
    for rule in attribute.rules:
        least, most = least_step(rule), np.rint(rule.high * 10.0**rule.decimals)
        if rule.values or most - least < MAX_TABLE_VALUES:
            offsets.append(len(table))
            table += rule.values or numbers(rule, attribute, np.arange(least, most + 1.0))
        else:
            offsets.append(None)
    return RuleTables(table, tuple(offsets))


def drawn_places(rule: AttributeRule, draws: FloatArray) -> IntArray:
    """Return the places, among the values that a rule can give, of those that uniforms draw."""
    if not rule.values:
        return (drawn_steps(rule, draws) - least_step(rule)).astype(np.int64)
    weights = rule.weights or (1.0,) * len(rule.values)
    bounds = np.cumsum(np.array(weights, dtype=np.float64))
    places: IntArray = np.minimum(np.searchsorted(bounds, draws * bounds[-1], side="right"), len(rule.values) - 1)
    return places


def drawn_steps(rule: AttributeRule, draws: FloatArray) -> FloatArray:
    """Return the numbers that uniforms draw from the range of a rule, in units of its last decimal."""
    return np.rint((rule.low + draws * (rule.high - rule.low)) * 10.0**rule.decimals)


def least_step(rule: AttributeRule) -> float:
    return float(np.rint(rule.low * 10.0**rule.decimals))


def numbers(rule: AttributeRule, attribute: ReadingAttribute, steps: FloatArray) -> ValueTable:
    values = steps / 10.0**rule.decimals
    return tuple(values.astype(np.int64).tolist() if attribute.column_type == "INTEGER" else values.tolist())
