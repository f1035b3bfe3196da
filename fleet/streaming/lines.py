"""The lines of a stream: readings of many sensors as JSON texts, in the order of time.

A line is put together from parts: the constant parts of its sensor, set once, and the texts of its columns.
`"".join` of the parts of some thousand lines takes a third of the time that `json.dumps` takes for the values alone.
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
    attribute_texts,
    number_texts,
    time_texts,
)
from worker.readings.attributes import ObjectArray
from worker.readings.generator import MISSING_DATA_INDEX, Block
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray

SHARED_SOURCES = ("time", "flag", "type", "seq")
"""The sources of columns that all sensors have."""

PARTS = {"time": 3, "channel": 2, "attribute": 1, "flag": 1, "type": 1, "seq": 1}
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
        text = "".join(self._parts[first * self._width : end * self._width])
        return Lines(text, end - first, end - first - missing, anomalies)


SharedTexts = Mapping[str, Sequence[ObjectArray]]
"""The texts, in parts, of the columns of all sensors by their source, shape (readings, sensors)."""


class SensorGroup:
    """The sensors whose lines have the same columns, and the readings of theirs that are formatted next."""

    def __init__(self, columns: tuple[Column, ...], numbers: list[int], sensors: Sequence[StreamSensor]) -> None:
        self.columns, self.numbers = columns, numbers
        mine = [sensors[number].settings for number in numbers]
        self._decimals = [DecimalTexts(channels) for channels in zip(*(each.channels for each in mine), strict=True)]
        self._attributes = [AttributeTexts(each.column_type) for each in mine[0].attributes]
        self._values: list[FloatArray] = []
        self._texts: list[ObjectArray] = []

    @property
    def width(self) -> int:
        return 1 + sum(PARTS[column.source] + 1 for column in self.columns)

    def load(self, blocks: Sequence[Block]) -> None:
        """Take the blocks of all sensors of the stream, all with the same sequence numbers."""
        mine = [blocks[number] for number in self.numbers]
        self._values = [np.stack([block.values[index] for block in mine]) for index in range(len(self._decimals))]
        self._texts = [
            attribute_texts(texts, [block.attributes[index] for block in mine])
            for index, texts in enumerate(self._attributes)
        ]

    def fill(self, parts: ObjectArray, rows: slice, shared: SharedTexts) -> None:
        """Write the texts of the columns of `rows` into `parts`, shape (readings, sensors of the stream, width)."""
        where: slice | list[int] = self.numbers if len(self.numbers) < parts.shape[1] else slice(None)
        place = 1
        for column in self.columns:
            for texts in self._column_texts(column, rows, shared):
                parts[:, where, place] = texts[:, where] if column.source in SHARED_SOURCES else texts
                place += 1
            place += 1

    def _column_texts(self, column: Column, rows: slice, shared: SharedTexts) -> Sequence[ObjectArray]:
        if column.source == "channel":
            parts = self._decimals[column.place].texts(self._values[column.place][:, rows])
            return [part.T for part in parts]
        if column.source == "attribute":
            return [self._texts[column.place][:, rows].T]
        return shared[column.source]


class LineFormatter:
    """Formats readings of the sensors of a stream, at most `max_rows` of each sensor at a time."""

    def __init__(self, sensors: Sequence[StreamSensor], max_rows: int) -> None:
        pieces = [line_pieces(record_of(*sensor)) for sensor in sensors]
        numbers: dict[tuple[object, ...], list[int]] = {}
        for number, (_, columns) in enumerate(pieces):
            types = [each.column_type for each in sensors[number].settings.attributes]
            numbers.setdefault((*(column[:2] for column in columns), *types), []).append(number)
        self._groups = [SensorGroup(pieces[mine[0]].columns, mine, sensors) for mine in numbers.values()]
        self._width = max(group.width for group in self._groups)
        self._parts = np.full((max_rows, len(sensors), self._width), "", dtype=object)
        for number, each in enumerate(pieces):
            self._parts[:, number] = constant_parts(each, self._width)
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


def constant_parts(pieces: LinePieces, width: int) -> ObjectArray:
    """Return the parts of a line with its constant texts in their places, padded to `width`."""
    parts: ObjectArray = np.full(width, "", dtype=object)
    place = 0
    for text, column in zip(pieces.texts, (*pieces.columns, None), strict=True):
        parts[place] = text
        if column is not None:
            place += 1 + PARTS[column.source]
    return parts
