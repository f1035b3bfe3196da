"""A plot of sensors as lines of text for a terminal: a character of braille shows two points side by side, four heights each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from string import ascii_lowercase

import numpy as np
from rich.style import Style
from rich.text import Text

from fleet.escaping import escape_short
from fleet.history.table import BoolArray
from fleet.monitoring.stats import format_value
from fleet.plots.palette import colours
from fleet.plots.points import PlottedEpisode, SensorPoints
from worker.readings.random_streams import FloatArray
from worker.schedule import SECOND_US, IntArray, format_time

LABEL_WIDTH = 10
CHANNEL_ROWS = 5
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""The bits of a character of braille (U+2800) by row and column."""

HEALTHY_STYLE = Style(dim=True)


def terminal_points(width: int) -> int:
    """Return how many points fit into lines of `width` characters."""
    return 2 * max(width - LABEL_WIDTH - 1, 10)


def terminal_lines(sensors: Sequence[SensorPoints], width: int, start_us: int, end_us: int) -> Iterator[Text]:
    """Yield the lines of a plot from `start_us` to `end_us`."""
    counts = Counter(episode.type for points in sensors for episode in points.episodes)
    letters = dict(zip([kind for kind, _ in counts.most_common()], ascii_lowercase, strict=False))
    for points in sensors:
        yield from sensor_lines(points, TimeAxis(terminal_points(width), start_us, max(end_us, start_us + 1)), letters)
        yield Text()
    yield from legend(counts, letters, width)


class TimeAxis:
    """The columns of dots of a plot."""

    def __init__(self, dots: int, start_us: int, end_us: int) -> None:
        self.dots, self.start_us, self.end_us = dots, start_us, end_us

    def columns(self, times_us: IntArray) -> IntArray:
        """Return the columns of dots in which times are; some may lie outside."""
        shares = (times_us - self.start_us) / (self.end_us - self.start_us)
        columns: IntArray = np.floor(shares * (self.dots - 1) + 0.5).astype(np.int64)
        return columns

    def cells(self, episode: PlottedEpisode) -> slice:
        """Return the characters that an episode covers, at least one."""
        first, last = self.columns(np.array([episode.start_us, episode.end_us])).clip(0, self.dots - 1)
        return slice(int(first) // 2, int(last) // 2 + 1)


def sensor_lines(points: SensorPoints, axis: TimeAxis, letters: dict[str, str]) -> Iterator[Text]:
    width = axis.dots // 2 + LABEL_WIDTH + 1
    identity = points.identity
    kind = (identity.sensor_type or "").replace("_", " ")
    facts = filter(None, (kind, identity.location, identity.firmware_version))
    title = Text.assemble((escape_short(points.sensor_id), "bold"), "  ", " · ".join(map(escape_short, facts)))
    title.truncate(width, overflow="ellipsis")
    yield title
    if points.episodes:
        yield lane(points, axis, letters)
    for row, (name, unit) in enumerate(points.channels):
        yield Text(f"{name.replace('_', ' ')} {unit}".strip())
        yield from channel_lines(points, row, axis)
    yield time_line(axis)


def lane(points: SensorPoints, axis: TimeAxis, letters: dict[str, str]) -> Text:
    """Return a line with the letter of an episode's type in each character; of several the shortest is shown."""
    cells: list[tuple[str, Style]] = [(" ", Style())] * (axis.dots // 2)
    for episode in sorted(points.episodes, key=lambda each: each.start_us - each.end_us):
        covered = axis.cells(episode)
        letter = (letters.get(episode.type, "?"), type_style(episode.type))
        cells[covered] = [letter] * (covered.stop - covered.start)
    return Text.assemble(" " * (LABEL_WIDTH + 1), *cells)


def type_style(kind: str) -> Style:
    """Return the style of a type of anomaly: between its colours in the light and the dark theme, for any background."""
    colour = colours().get(kind)
    if colour is None:
        return Style()
    parts = [(int(colour.light[at : at + 2], 16) + int(colour.dark[at : at + 2], 16)) // 2 for at in (1, 3, 5)]
    return Style(color="#{:02x}{:02x}{:02x}".format(*parts))


def channel_lines(points: SensorPoints, row: int, axis: TimeAxis) -> Iterator[Text]:
    """Yield the lines of a channel, with its highest and lowest value at the left."""
    columns = axis.columns(points.times_us)
    lowest, highest, healthy = points.lowest[row], points.highest[row], points.healthy[row]
    everything = np.concatenate([lowest, highest, healthy])
    everything = everything[np.isfinite(everything)]
    if not len(everything):
        yield Text(" " * (LABEL_WIDTH + 1) + "no reading is recorded")
        return
    low, high = float(everything.min()), float(everything.max())
    recorded = braille(columns, heights(lowest, low, high), heights(highest, low, high), axis.dots, points.breaks)
    middle = heights(healthy, low, high)
    clean = braille(columns, middle, middle, axis.dots, points.breaks)
    styles: list[Style | None] = [None] * (axis.dots // 2)
    name = points.channels[row][0]
    for episode in sorted(points.episodes, key=lambda each: each.start_us - each.end_us):
        if not episode.channels or name in episode.channels:
            covered = axis.cells(episode)
            styles[covered] = [type_style(episode.type)] * (covered.stop - covered.start)
    for number in range(CHANNEL_ROWS):
        ends = {0: format_value(high), CHANNEL_ROWS - 1: format_value(low)}
        line = Text(f"{ends.get(number, ''):>{LABEL_WIDTH}} ")
        for cell, style in enumerate(styles):
            bits = int(recorded[number, cell]), int(clean[number, cell])
            shown = (style or Style()) if bits[0] else HEALTHY_STYLE
            line.append(chr(0x2800 + (bits[0] | bits[1])) if any(bits) else " ", shown)
        yield line


def heights(values: FloatArray, low: float, high: float) -> FloatArray:
    """Return the rows of dots of values, 0 at the top, NaN without a value."""
    most = 4 * CHANNEL_ROWS - 1
    if high == low:
        return np.where(np.isfinite(values), most // 2, np.nan)
    return np.rint((high - values) / (high - low) * most)


def braille(columns: IntArray, bottoms: FloatArray, tops: FloatArray, dots: int, breaks: Sequence[int]) -> IntArray:
    """Return the bits of each character, of vertical lines that are joined to those beside them."""
    grid = np.zeros((4 * CHANNEL_ROWS, dots), dtype=np.bool_)
    before: tuple[int, int, int, int] | None = None
    for number, (column, bottom, top) in enumerate(zip(columns.tolist(), bottoms.tolist(), tops.tolist(), strict=True)):
        if np.isnan(bottom) or not 0 <= column < dots:
            before = None
            continue
        first, last = int(top), int(bottom)
        grid[first : last + 1, column] = True
        if before is not None and number not in breaks:
            join(grid, before, (column, first, last))
        before = (column, first, last, number)
    bits = grid.reshape(CHANNEL_ROWS, 4, dots // 2, 2) * DOTS[np.newaxis, :, np.newaxis, :]
    summed: IntArray = bits.sum(axis=(1, 3))
    return summed


def join(grid: BoolArray, before: tuple[int, int, int, int], now: tuple[int, int, int]) -> None:
    """Join two vertical lines, each a column and its first and last row, by a straight one between their middles."""
    column, first, last = now
    if column - before[0] > 1:  # fewer points than columns
        count = column - before[0]
        rows = np.linspace((before[1] + before[2]) / 2, (first + last) / 2, count + 1)
        for step in range(count):
            low, high = sorted((round(rows[step]), round(rows[step + 1])))
            grid[low : high + 1, before[0] + step] = True
    elif first > before[2]:
        grid[before[2] : first, before[0]] = True
    elif last < before[1]:
        grid[last + 1 : before[1] + 1, before[0]] = True


def time_line(axis: TimeAxis) -> Text:
    """Return the line with the times at which the plot begins and ends."""
    long = axis.end_us - axis.start_us > 2 * 86400 * SECOND_US
    start, end = format_time(axis.start_us), format_time(axis.end_us)
    texts = (start[:16], end[:16]) if long else (start[:19], end[11:19] if start[:10] == end[:10] else end[:19])
    first, last = (text.replace("T", " ") for text in texts)
    room = axis.dots // 2 - len(last)
    return Text(" " * (LABEL_WIDTH + 1) + f"{first:<{room}}{last}", style="dim")


def legend(counts: Counter[str], letters: dict[str, str], width: int) -> Iterator[Text]:
    """Yield lines with the letters of the types and how many episodes of each there are."""
    line = Text()
    for kind, count in counts.most_common():
        entry = Text.assemble(
            (f"{letters.get(kind, '?')} {kind.replace('_', ' ')}", type_style(kind)), f" {count:,}   "
        )
        if len(line) + len(entry.plain.rstrip()) > width and len(line):
            yield line
            line = Text()
        line.append_text(entry)
    if len(line):
        yield line
