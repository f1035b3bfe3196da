"""A plot of sensors as a figure of matplotlib: a group of panels for each sensor, one for each channel, above each other.

Matplotlib is an extra of the package. Only this module and `files.py` import it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.history.table import BoolArray
from fleet.plots.palette import colours
from fleet.plots.points import PlottedEpisode, SensorPoints
from worker.readings.random_streams import FloatArray
from worker.schedule import IntArray

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.dates import UTC, AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
except ImportError as error:
    raise UserError(f"a plot in a file needs an extra: pip install 'sensor-fleet[plot]' ({error})") from error

DAY_US = 86_400_000_000
LEFT, RIGHT, TOP, BOTTOM = 0.95, 0.2, 0.12, 0.1
LEGEND_ROW, HEADER, LABELS, LANE, PANEL, GAP, TIMES = 0.2, 0.3, 0.15, 0.11, 1.0, 0.07, 0.42
"""Inches."""

LETTER = 0.062
"""The width of a letter of a label, in inches."""

MOST_MARKED_POINTS = 150
MOST_LABELS = 60

STYLE = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "fleet",
    "path.simplify": False,  # it leaves out the reading of a spike
}

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """The width of a figure in inches, and the range of its time axis in microseconds since 1970."""

    width: float
    start_us: int
    end_us: int

    @property
    def limits(self) -> Span:
        return self.start_us / DAY_US, max(self.end_us, self.start_us + 1) / DAY_US

    @property
    def panel_width(self) -> float:
        return self.width - LEFT - RIGHT

    @property
    def least_days(self) -> float:
        """The least width of what is drawn of an episode, so that it can be seen: about a pixel."""
        return (self.limits[1] - self.limits[0]) / (self.panel_width * 110)


def draw_figure(sensors: Sequence[SensorPoints], layout: Layout, *, titles: bool = True, legend: bool = True) -> Figure:
    """Draw the sensors, with or without their names and what the colours mean. The colours are those of the light theme; a
    page can put those of its own theme in their place."""
    with rc_context(STYLE):
        counts = Counter(episode.type for points in sensors for episode in points.episodes)
        legend_rows = -(-(len(counts) + 2) // legend_columns(layout)) if legend else 0
        heights = [group_height(points, titles=titles) for points in sensors]
        height = TOP + legend_rows * LEGEND_ROW + sum(heights) + BOTTOM
        figure = Figure(figsize=(layout.width, height), dpi=110, facecolor=light("panel"))
        if legend:
            draw_legend(figure, counts, legend_columns(layout), 1 - TOP / height)
        top = height - TOP - legend_rows * LEGEND_ROW
        for points, group in zip(sensors, heights, strict=True):
            draw_sensor(figure, points, layout, top, titles=titles)
            top -= group
        return figure


def legend_columns(layout: Layout) -> int:
    return max(2, round(layout.panel_width / 1.35))


def light(name: str) -> str:
    return colours()[name].light


def type_colour(name: str) -> str:
    """Return the colour of a type of anomaly; a database may name one that is not known."""
    return colours()[name].light if name in colours() else light("quiet")


def group_height(points: SensorPoints, *, titles: bool) -> float:
    return HEADER * titles + LABELS + LANE + len(points.channels) * (PANEL + GAP) + TIMES


def draw_legend(figure: Figure, counts: Counter[str], columns: int, top: float) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=light("text"), linewidth=1.2, label="recorded"),
        Line2D([], [], color=light("faint"), linewidth=0.8, label="without anomalies"),
    ]
    for kind, count in counts.most_common():
        label = f"{kind.replace('_', ' ')} ({count:,})"
        handles.append(Patch(facecolor=type_colour(kind), label=label, linewidth=0))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(LEFT / figure.get_figwidth(), top),
        ncols=columns,
        frameon=False,
        borderaxespad=0.0,
        borderpad=0.0,
        handlelength=1.4,
        columnspacing=1.2,
        labelcolor=light("text"),
    )


def draw_sensor(figure: Figure, points: SensorPoints, layout: Layout, top: float, *, titles: bool) -> None:
    """Draw the panels of a sensor below `top`, in inches from the bottom of the figure."""
    if titles:
        draw_title(figure, points, top)
        top -= HEADER
    lane = panel(figure, layout, top - LABELS - LANE, LANE)
    draw_lane(lane, points, layout)
    top -= LABELS + LANE
    for row, (name, unit) in enumerate(points.channels):
        top -= GAP + PANEL
        axes = panel(figure, layout, top, PANEL)
        draw_channel(axes, points, row, layout)
        axes.set_ylabel(channel_label(name, unit))
        axes.yaxis.set_label_coords(-0.68 / layout.panel_width, 0.5)
        show_times(axes, last=row == len(points.channels) - 1)


def channel_label(name: str, unit: str) -> str:
    """Return the name of a channel and its unit in two lines."""
    words = name.replace("_", " ")
    first, space, rest = words.partition(" ") if len(words) > 14 else (words, "", "")
    return f"{first}\n{rest}{space}{unit}".strip()


def draw_title(figure: Figure, points: SensorPoints, top: float) -> None:
    width, height = figure.get_figwidth(), figure.get_figheight()
    y = (top - HEADER + 0.06) / height
    shown = figure.text(LEFT / width, y, escape_short(points.sensor_id), color=light("text"), weight="bold", size=10)
    identity = points.identity
    kind = (identity.sensor_type or "").replace("_", " ")
    facts = filter(None, (kind, identity.location, identity.manufacturer, identity.model, identity.firmware_version))
    text = " · ".join(escape_short(each) for each in facts)
    if points.step > 1:
        text += f" · {points.readings:,} readings, {points.step:,} to a point, from the lowest to the highest"
    x = LEFT / width + (0.095 * len(shown.get_text()) + 0.15) / width
    figure.text(x, y, text, color=light("quiet"), size=8)


def panel(figure: Figure, layout: Layout, bottom: float, height: float) -> Axes:
    """Add axes without a frame, at a height in inches."""
    width, whole = figure.get_figwidth(), figure.get_figheight()
    axes = figure.add_axes((LEFT / width, bottom / whole, layout.panel_width / width, height / whole))
    axes.set_xlim(*layout.limits)
    axes.set_facecolor("none")
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(light("edge"))
    axes.tick_params(colors=light("quiet"), color=light("edge"), length=3, width=0.6, labelsize=7)
    axes.yaxis.label.set_color(light("text"))
    return axes


def show_times(axes: Axes, *, last: bool) -> None:
    """Draw the grid, and below the last panel of a sensor the times."""
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.grid(True, color=light("grid-line"), linewidth=0.6)
    axes.set_axisbelow(True)
    if last:
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
        offset = axes.xaxis.get_offset_text()
        offset.set_color(light("quiet"))
        offset.set_fontsize(7)
    else:
        axes.tick_params(labelbottom=False)


# Episodes


def draw_lane(axes: Axes, points: SensorPoints, layout: Layout) -> None:
    """Draw all episodes as a bar, and above it the names of those that leave room for it, the longest first."""
    axes.axis("off")
    axes.set_ylim(0, 1)
    for kind, spans in spans_by_type(points.episodes, layout):
        axes.broken_barh(
            [(start, end - start) for start, end in spans], (0, 1), facecolor=type_colour(kind), linewidth=0
        )
    low, high = layout.limits
    days_per_inch = (high - low) / layout.panel_width
    taken: list[Span] = []
    for episode in sorted(points.episodes, key=lambda each: each.start_us - each.end_us):
        name = episode.type.replace("_", " ")
        half = (len(name) * LETTER / 2 + 0.04) * days_per_inch
        middle = (max(episode.start_us / DAY_US, low) + min(episode.end_us / DAY_US, high)) / 2
        middle = min(max(middle, low + half), high - half)
        if len(taken) < MOST_LABELS and all(middle + half < start or middle - half > end for start, end in taken):
            taken.append((middle - half, middle + half))
            axes.text(middle, 1.15, name, ha="center", va="bottom", size=7, color=type_colour(episode.type))


def spans_by_type(episodes: Iterable[PlottedEpisode], layout: Layout) -> Iterator[tuple[str, list[Span]]]:
    """Yield for each type the spans of its episodes, in days. Each is at least a pixel wide; those without a pixel between
    them are joined."""
    spans: dict[str, list[Span]] = {}
    low, high = layout.limits
    for episode in episodes:
        start, end = max(episode.start_us / DAY_US, low), min(episode.end_us / DAY_US, high)
        if start >= end:
            continue
        missing = max(0.0, layout.least_days - (end - start)) / 2
        start, end = start - missing, end + missing
        some = spans.setdefault(episode.type, [])
        if some and start - some[-1][1] < layout.least_days / 2:
            some[-1] = (some[-1][0], max(some[-1][1], end))
        else:
            some.append((start, end))
    yield from spans.items()


# Values


def draw_channel(axes: Axes, points: SensorPoints, row: int, layout: Layout) -> None:
    """Draw a channel: its episodes as shades, its recorded values, and its values without anomalies."""
    name = points.channels[row][0]
    episodes = [each for each in points.episodes if not each.channels or name in each.channels]
    for kind, spans in spans_by_type(episodes, layout):
        bars = [(start, end - start) for start, end in spans]
        axes.broken_barh(
            bars, (0, 1), facecolor=type_colour(kind), alpha=0.16, linewidth=0, transform=axes.get_xaxis_transform()
        )
    times, lowest, highest, healthy = broken_at_gaps(points, row)
    decimated = points.step > 1
    axes.plot(times, healthy, color=light("faint"), linewidth=0.8, zorder=2.6 if decimated else 2.1)
    if decimated:
        axes.plot(np.repeat(times, 2), zigzag(lowest, highest), color=light("text"), linewidth=0.8, zorder=2.3)
        lonely = isolated(lowest)
        axes.vlines(times[lonely], lowest[lonely], highest[lonely], color=light("text"), linewidth=0.8, zorder=2.3)
    else:
        marker = "." if len(points.times_us) <= MOST_MARKED_POINTS else ""
        axes.plot(times, lowest, color=light("text"), linewidth=1.0, marker=marker, markersize=3, zorder=2.3)
        lonely = isolated(lowest)
        axes.plot(
            times[lonely], lowest[lonely], color=light("text"), linestyle="", marker=".", markersize=2, zorder=2.3
        )
        draw_struck(axes, episodes, times, lowest)
    axes.margins(x=0, y=0.1)
    axes.set_xlim(*layout.limits)
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    axes.locator_params(axis="y", nbins=4)
    if not np.isfinite(lowest).any():
        axes.text(0.5, 0.5, "no reading is recorded", transform=axes.transAxes, ha="center", color=light("quiet"))


def draw_struck(axes: Axes, episodes: Iterable[PlottedEpisode], times: FloatArray, values: FloatArray) -> None:
    """Draw the readings of episodes in the colours of their types."""
    by_type: dict[str, FloatArray] = {}
    for episode in episodes:
        inside = (times >= episode.start_us / DAY_US) & (times <= episode.end_us / DAY_US)
        struck = by_type.setdefault(episode.type, np.full(len(values), np.nan))
        struck[inside] = values[inside]
    for kind, struck in by_type.items():
        around = np.isfinite(struck)
        around[1:] |= np.isfinite(struck[:-1])
        around[:-1] |= np.isfinite(struck[1:])
        axes.plot(times, np.where(around, values, np.nan), color=type_colour(kind), linewidth=1.0, zorder=2.4)
        marker = "o" if len(times) <= MOST_MARKED_POINTS else "."
        axes.plot(times, struck, color=type_colour(kind), linestyle="", marker=marker, markersize=2.5, zorder=2.5)


def broken_at_gaps(points: SensorPoints, row: int) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return the times in days, and the values of a channel, with a NaN where time was left out."""
    times = middles(points) / DAY_US
    columns = points.lowest[row], points.highest[row], points.healthy[row]
    if points.breaks:
        columns = tuple(np.insert(values, points.breaks, np.nan) for values in columns)  # type: ignore[assignment] # three again
        times = np.insert(times, points.breaks, times[list(points.breaks)])
    return times, *columns


def middles(points: SensorPoints) -> FloatArray:
    """Return the times of the middle of each point."""
    times: IntArray = points.times_us
    if points.step == 1 or len(times) < 2:
        return times.astype(np.float64)
    return times + np.append(np.diff(times), times[-1] - times[-2]) / 2


def zigzag(lowest: FloatArray, highest: FloatArray) -> FloatArray:
    """Return the lowest and the highest value of each point in turn."""
    return np.stack([lowest, highest], axis=1).ravel()


def isolated(values: FloatArray) -> BoolArray:
    """Return which values have none beside them, so that no line leads to them."""
    there = np.isfinite(values)
    before, after = np.append([False], there[:-1]), np.append(there[1:], [False])
    alone: BoolArray = there & ~before & ~after
    return alone
