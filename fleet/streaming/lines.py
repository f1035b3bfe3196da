"""The lines of a stream: readings of many sensors as JSON texts, in the order of time.

A line is put together from parts: the constant texts of its sensor, set once, and the texts of its columns, looked up in
tables for some thousand lines at a time. A line costs 0.2 us, as much as `repr` of a single number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleet.streaming.records import Column, LinePieces, line_pieces, record_of
from fleet.streaming.sensors import StreamSensor
from fleet.streaming.value_texts import (
    FLAG_TEXTS,
    TYPE_TEXTS,
    AttributeTexts,
    DecimalTexts,
    ObjectArray,
    number_texts,
    time_texts,
)
from worker.readings.generator import MISSING_DATA_INDEX, Block
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray
from worker.spec import ColumnType

PARTS = {"time": 2, "channel": 2, "attribute": 1, "flag": 1, "type": 1, "seq": 1}
"""How many texts a column is put together from."""


class Lines(NamedTuple):
    """The text of consecutive readings: a line for each but the missing ones, which `readings` includes and `records` does
    not."""

    text: str
    readings: int
    records: int
    anomalies: int


class FormattedReadings:
    """Readings as parts of lines. Any range of them can be joined."""

    def __init__(self, parts: list[str], width: int, kinds: npt.NDArray[np.int8]) -> None:
        self._parts, self._width, self._kinds = parts, width, kinds
        self._missing = kinds == MISSING_DATA_INDEX
        for number in np.flatnonzero(self._missing).tolist():
            parts[number * width : (number + 1) * width] = [""] * width

    def __len__(self) -> int:
        return len(self._kinds)

    def lines(self, first: int, end: int) -> Lines:
        missing = int(np.count_nonzero(self._missing[first:end]))
        anomalies = int(np.count_nonzero(self._kinds[first:end] >= 0)) - missing
        whole = end - first == len(self)
        text = "".join(self._parts if whole else self._parts[first * self._width : end * self._width])
        return Lines(text, end - first, end - first - missing, anomalies)


SharedTexts = Mapping[str, Sequence[ObjectArray]]
"""The texts, in parts, of the columns of all sensors by their source, shape (readings, sensors)."""


class AttributeRun:
    """Attributes that follow each other in a line, with the same constant texts between them in the lines of all sensors."""

    def __init__(self) -> None:
        self.behind = ""
        self.loaded: ObjectArray = np.empty((0, 0), dtype=object)
        self._places: list[int] = []
        self._types: list[ColumnType] = []
        self._before: list[str] = []
        self._texts: AttributeTexts | None = None

    def add(self, column: Column, column_type: ColumnType, before: str) -> None:
        self._places.append(column.place)
        self._types.append(column_type)
        self._before.append(before)

    def load(self, blocks: Sequence[Block]) -> None:
        """Take the blocks of the sensors."""
        self._texts = self._texts or AttributeTexts(self._types, self._before, self.behind)
        self.loaded = self._texts.texts([[block.attributes[place] for place in self._places] for block in blocks])


class SensorGroup:
    """The sensors whose lines have the same columns, and the readings of theirs that are formatted next.

    The parts of a line are the constant text before a column, the texts of the column, and so on. The constant texts around
    attributes are in the texts of the attributes if all sensors have the same.
    """

    def __init__(self, numbers: list[int], sensors: Sequence[StreamSensor], pieces: Sequence[LinePieces]) -> None:
        self._numbers = numbers
        self._columns = pieces[numbers[0]].columns
        mine = [sensors[number].settings for number in numbers]
        self._decimals = [
            DecimalTexts([channel.decimals for channel in channels])
            for channels in zip(*(each.channels for each in mine), strict=True)
        ]
        types = [attribute.column_type for attribute in mine[0].attributes]
        constants = [*zip(*(pieces[number].texts for number in numbers), strict=True)]
        shared = [texts[0] if len(set(texts)) == 1 else None for texts in constants]
        self._runs: list[AttributeRun] = []
        self._constants: dict[int, tuple[str, ...]] = {}
        self._places: list[tuple[int, Column | AttributeRun]] = []
        place = 0
        for number, column in enumerate(self._columns):
            before = shared[number]
            last = self._places[-1][1] if self._places else None
            if column.source == "attribute" and before is not None and isinstance(last, AttributeRun):
                last.add(column, types[column.place], before)
                continue
            if column.source != "attribute" or before is None:
                self._constants[place] = constants[number]
                place += 1
            if column.source == "attribute":
                self._runs.append(AttributeRun())
                self._runs[-1].add(column, types[column.place], before or "")
                self._places.append((place, self._runs[-1]))
            else:
                self._places.append((place, column))
            place += PARTS[column.source]
        if self._columns[-1].source == "attribute" and shared[-1] is not None:
            self._runs[-1].behind = shared[-1]
        else:
            self._constants[place] = constants[-1]
            place += 1
        self.width = place
        self._values: list[FloatArray] = []

    def set_constants(self, parts: ObjectArray) -> None:
        """Write the constant texts into parts, shape (readings, sensors of the stream, width)."""
        for place, texts in self._constants.items():
            parts[:, self._numbers, place] = texts

    def load(self, blocks: Sequence[Block]) -> None:
        """Take the blocks of all sensors of the stream, all with the same sequence numbers."""
        mine = [blocks[number] for number in self._numbers]
        self._values = [np.stack([block.values[place] for block in mine]) for place in range(len(self._decimals))]
        for run in self._runs:
            run.load(mine)

    def fill(self, parts: ObjectArray, rows: slice, shared: SharedTexts) -> None:
        """Write the texts of the columns of `rows` into parts."""
        where: slice | list[int] = self._numbers if len(self._numbers) < parts.shape[1] else slice(None)
        for place, column in self._places:
            for number, texts in enumerate(self._column_texts(column, rows, shared, where)):
                parts[:, where, place + number] = texts

    def _column_texts(
        self, column: Column | AttributeRun, rows: slice, shared: SharedTexts, where: slice | list[int]
    ) -> Sequence[ObjectArray]:
        if isinstance(column, AttributeRun):
            return [column.loaded[:, rows].T]
        if column.source == "channel":
            parts = self._decimals[column.place].texts(self._values[column.place][:, rows])
            return [part.T for part in parts]
        return [texts[:, where] for texts in shared[column.source]]


class LineFormatter:
    """Formats readings of the sensors of a stream, at most `max_rows` of each sensor at a time."""

    def __init__(self, sensors: Sequence[StreamSensor], max_rows: int) -> None:
        pieces = [line_pieces(record_of(*sensor)) for sensor in sensors]
        numbers: dict[tuple[object, ...], list[int]] = {}
        for number, (_, columns) in enumerate(pieces):
            types = [each.column_type for each in sensors[number].settings.attributes]
            numbers.setdefault((*(column[:2] for column in columns), *types), []).append(number)
        self._groups = [SensorGroup(mine, sensors, pieces) for mine in numbers.values()]
        self._width = max(group.width for group in self._groups)
        self._parts = np.full((max_rows, len(sensors), self._width), "", dtype=object)
        for group in self._groups:
            group.set_constants(self._parts)
        self._first = 0
        self._times: IntArray = np.empty((0, 0), dtype=np.int64)
        self._kinds: npt.NDArray[np.int8] = np.empty((0, 0), dtype=np.int8)

    def load(self, blocks: Sequence[Block]) -> None:
        """Take the blocks of all sensors, all with the same sequence numbers."""
        self._first = blocks[0].first
        self._times = np.stack([block.times for block in blocks], axis=1)
        self._kinds = np.stack([block.kinds for block in blocks], axis=1)
        for group in self._groups:
            group.load(blocks)

    def format(self, first: int, end: int) -> FormattedReadings:
        """Format the readings `first` .. `end - 1` of each sensor, which must have been loaded."""
        rows = slice(first - self._first, end - self._first)
        parts = self._parts[: end - first]
        kinds = self._kinds[rows]
        shared = {
            "time": [texts.reshape(kinds.shape) for texts in time_texts(self._times[rows].ravel())],
            "flag": [FLAG_TEXTS[(kinds >= 0).view(np.int8)]],
            "type": [TYPE_TEXTS[kinds]],
            "seq": [np.broadcast_to(number_texts(first, end)[:, np.newaxis], kinds.shape)],
        }
        for group in self._groups:
            group.fill(parts, rows, shared)
        return FormattedReadings(parts.ravel().tolist(), self._width, kinds.ravel())
