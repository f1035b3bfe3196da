"""Draw the pictures of docs/anomalies.md and docs/anomalies-by-kind.md: episodes of each type of anomaly, computed by the real
generator.

    uv run --with matplotlib==3.11.2 scripts/anomaly_pictures.py

Each picture shows readings of a sensor with one episode (coloured), and the readings that the same sensor would have had
without it (grey): an `environmental` sensor for each type, and a sheet with all types for each kind of sensor. To add a type: an entry in `PICTURES`, or in
`CLOCK_PICTURES` if it changes times and no values; a kind: an entry in `SHEETS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from worker.readings.anomalies import ANOMALY_TYPES, anomaly_class
from worker.readings.generator import HEALTHY_INDEX, Block, SignalGenerator
from worker.spec import Identity, Injection, Settings

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SEED = 7
SECOND_US = 1_000_000
START_US = 1_767_247_200 * SECOND_US
"""2026-01-01T06:00:00Z"""
IDENTITY = Identity("DOC_000001", sensor_type="environmental")
COLOURS_IN_FILE = 48
COLOURS_IN_SHEET = 160

COLOURS = {
    "spike": "#c98700",
    "trend": "#d9541e",
    "pattern": "#7d56d8",
    "missing_data": "#66758a",
    "noise": "#1a83bf",
    "stuck_value": "#0b7a75",
    "stuck_at_limit": "#8a1f2b",
    "drift": "#b5457a",
    "level_shift": "#5b7f1c",
    "variance_change": "#2b4fb0",
    "clipping": "#7a4a1e",
    "dropout": "#3d4a5c",
    "decoupling": "#a02bb5",
    "out_of_range": "#e0302a",
    "power_up": "#17803d",
    "uncompensated": "#8f8600",
    "clock_jump": "#00798c",
    "clock_drift": "#4f6d8f",
    "wrong_zone": "#6b3fa0",
}
"""The colours of `fleet/web/static/tokens.css` in the light theme, darker where white paper needs it."""

ALL_CHANNELS = ("temperature", "humidity", "pressure", "vibration", "voltage")


@dataclass(frozen=True)
class Picture:
    """What one picture shows: the channels, one above the other, how many readings the episode has and how many there are before
    and after it, the injected channel, the seconds between two readings, the seed of the sensor, whether the channel's
    maximum is drawn, the kind of the sensor and its variant, if the kind has any."""

    channels: tuple[str, ...]
    readings: int
    channel: str | None = None
    before: int = 40
    after: int = 40
    interval: int = 1
    seed: int = SEED
    maximum: bool = False
    kind: str = IDENTITY.sensor_type or ""
    variant: str = ""

    @property
    def identity(self) -> Identity:
        attributes = (("type", self.variant),) if self.variant else ()
        return replace(IDENTITY, sensor_type=self.kind, attributes=attributes)

    @property
    def shown(self) -> int:
        return self.before + self.readings + self.after


PICTURES = {
    "spike": Picture(("vibration",), 1, "vibration", 60, 60),
    "trend": Picture(("temperature",), 300, "temperature", 150, 150),
    "pattern": Picture(("temperature", "vibration"), 60),
    "missing_data": Picture(("temperature",), 30),
    "noise": Picture(ALL_CHANNELS, 60),
    "stuck_value": Picture(("vibration",), 60, "vibration"),
    "stuck_at_limit": Picture(("humidity",), 60, "humidity", maximum=True),
    "drift": Picture(("temperature",), 60, "temperature", 60, 60, 60),
    "level_shift": Picture(("voltage",), 60, "voltage"),
    "variance_change": Picture(("temperature",), 60, "temperature"),
    "clipping": Picture(("temperature",), 120, "temperature", 62, 48, 300),
    "dropout": Picture(("voltage",), 60, "voltage"),
    "decoupling": Picture(("temperature", "humidity"), 288, "humidity", 216, 144, 300),
    "out_of_range": Picture(("voltage",), 1, "voltage", 60, 60, seed=8, maximum=True),
    "power_up": Picture(ALL_CHANNELS, 3, None, 30, 30),
    "uncompensated": Picture(("temperature", "pressure"), 10, None, 30, 30),
}


CLOCK_PICTURES = {
    "clock_jump": Picture(("temperature",), 60, None, 60, 60, 10),
    "clock_drift": Picture(("temperature",), 360, None, 60, 60, 10),
    "wrong_zone": Picture(("temperature",), 60, None, 120, 120, 60),
}


@dataclass(frozen=True)
class Sheet:
    """The panels of a kind of sensor. They take its channels in turn, those of all `variants` if it has any. Decoupling strikes
    the last of the channels in `coupled`, which has a movement in common with the others. `interval` is the seconds between
    two readings, `seeds` those of panels whose sensor is not that of `SEED`."""

    coupled: tuple[str, ...]
    variants: tuple[str, ...] = ("",)
    interval: int = 1
    seeds: Mapping[str, int] = field(default_factory=dict)


SHEETS = {
    "environmental": Sheet(("temperature", "humidity")),
    "temperature_vibration": Sheet(("vibration", "voltage"), seeds={"decoupling": 5}),
    "air_quality": Sheet(("temperature", "humidity"), seeds={"clipping": 5}),
    "wind_turbine": Sheet(("rotor_speed", "power"), seeds={"trend": 5, "drift": 5}),
    "pipeline": Sheet(
        ("temperature",),
        ("flow_rate", "pressure", "temperature", "gas_detector", "vibration"),
        seeds={"clipping": 4},
    ),
    "bme280": Sheet(("temperature", "humidity"), interval=10),
}
PANELS = (
    ("spike", "trend", "missing_data", "stuck_value"),
    ("stuck_at_limit", "drift", "level_shift", "variance_change"),
    ("clipping", "dropout", "out_of_range", "uncompensated"),
    ("pattern", "noise", "power_up", "decoupling"),
)
"""The rows of a sheet. The types of the last one have several channels, so it is taller."""
PANEL_READINGS = {"pattern": 60}
"""The length of an episode that is shorter than by default, to fit."""
SHEET_STYLE = {"font.size": 7, "axes.labelsize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6}


def default_settings(name: str, picture: Picture) -> Settings:
    """The settings of a sensor whose hardware has no effect, with the default of every option, and that type enabled."""
    rate = f"{3600 // picture.interval}/h"
    overrides = {"simulation.readings_per_second": rate, f"anomalies.types.{name}.enabled": True}
    return settings_for(load_config(None, overrides=overrides), load_catalogue(), picture.identity)


def with_episode(settings: Settings, name: str, picture: Picture) -> Settings:
    """The same settings with one episode of the type that is called `name`."""
    (spec,) = (spec for spec in settings.anomalies if spec.kind == name)
    begin = START_US + picture.before * picture.interval * SECOND_US
    end = begin + picture.readings * picture.interval * SECOND_US
    return replace(settings, injection=Injection("picture", spec, begin, end, picture.channel))


def readings(settings: Settings, picture: Picture) -> Block:
    """The readings of a picture. They begin with the second one of the sensor: its instrument has warmed up."""
    return SignalGenerator(picture.seed, IDENTITY, settings, 1, START_US).block(1, picture.shown)


class Shown(NamedTuple):
    """The settings and the readings of a picture of a type, without the episode and with it."""

    name: str
    settings: Settings
    healthy: Block
    block: Block


def compute(name: str, picture: Picture) -> Shown:
    settings = default_settings(name, picture)
    healthy = readings(replace(settings, anomalies=()), picture)
    return Shown(name, settings, healthy, readings(with_episode(settings, name, picture), picture))


def time_axis(picture: Picture) -> tuple[float, str]:
    """The time between two readings on the axis, and the axis's name."""
    if picture.interval == 1:
        return 1.0, "seconds, one reading each"
    if picture.interval == 60:
        return 1.0, "minutes, one reading each"
    return picture.interval / 3600, f"hours, one reading every {picture.interval // 60} minutes"


def draw_channel(axes: Axes, channel: str, shown: Shown, step: float, scale: float = 1.0) -> None:
    """Draw the readings of a channel, `step` apart, with lines of a width times `scale`."""
    name, settings, healthy, block = shown
    index = [known.name for known in settings.channels].index(channel)
    times = np.arange(block.size) * step
    inside = block.kinds != HEALTHY_INDEX
    first, last = int(np.flatnonzero(inside)[0]), int(np.flatnonzero(inside)[-1])
    axes.axvspan((first - 0.5) * step, (last + 0.5) * step, color=COLOURS[name], alpha=0.12, linewidth=0)
    axes.plot(times, healthy.values[index], color="#9aa7b5", linewidth=scale, label="without the anomaly")
    affected = channel in block.episodes[0].channels
    normal = np.where(inside & (affected | (name == "missing_data")), np.nan, block.values[index])
    axes.plot(times, normal, color="#1f2d3d", linewidth=1.4 * scale, label="anomaly_flag = 0")
    if affected:
        around = slice(max(first - 1, 0), last + 2)
        axes.plot(times[around], block.values[index][around], color=COLOURS[name], linewidth=1.4 * scale)
        axes.plot(
            times[inside],
            block.values[index][inside],
            color=COLOURS[name],
            linestyle="none",
            marker="o",
            markersize=3 * scale * scale,
            label=f"anomaly_type = {name}",
        )
    label = channel.replace("_", "_\n") if len(channel) > 12 else channel
    axes.set_ylabel(f"{label}\n{settings.channels[index].unit}")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.margins(x=0.01, y=0.12)


def draw(name: str, picture: Picture, path: Path) -> None:
    shown = compute(name, picture)
    rows = len(picture.channels)
    step, axis = time_axis(picture)
    figure, grid = plt.subplots(rows, 1, sharex=True, squeeze=False, figsize=(8, 1.1 + 1.55 * rows), dpi=100)
    for axes, channel in zip(grid[:, 0], picture.channels, strict=True):
        draw_channel(axes, channel, shown, step)
        if picture.maximum:
            (maximum,) = (each.maximum for each in shown.settings.channels if each.name == channel)
            axes.axhline(maximum, color="#5a6878", linestyle="--", linewidth=1, label="max")
    if name == "missing_data":
        mark_missing(grid[0, 0], picture, step)
    legend = {label: line for axes in grid[:, 0] for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    grid[0, 0].legend(
        [*legend.values()],
        [*legend],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        frameon=False,
        borderaxespad=0.2,
    )
    grid[-1, 0].set_xlabel(axis)
    figure.align_ylabels()
    figure.tight_layout(h_pad=0.4)
    save(figure, path)


def draw_clock(name: str, picture: Picture, path: Path) -> None:
    """Draw a channel by the time that its readings record, and below it the error of that time."""
    shown = compute(name, picture)
    (channel,) = picture.channels
    index = [known.name for known in shown.settings.channels].index(channel)
    minutes = [(times - START_US) / (60 * SECOND_US) for times in (shown.healthy.times, shown.block.times)]
    true, recorded = minutes
    inside = shown.block.kinds != HEALTHY_INDEX
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(8, 3.9), dpi=100)
    values = shown.block.values[index]
    above.plot(true, values, color="#9aa7b5", linewidth=1, label="by the true time")
    normal = {"color": "#1f2d3d", "linestyle": "none", "marker": "o", "markersize": 2}
    struck = {**normal, "color": COLOURS[name], "markersize": 3}
    above.plot(recorded[~inside], values[~inside], **normal, label="anomaly_flag = 0")
    above.plot(recorded[inside], values[inside], **struck, label=f"anomaly_type = {name}")
    above.set_ylabel(f"{channel}\n{shown.settings.channels[index].unit}")
    below.plot(true[~inside], (recorded - true)[~inside], **normal)
    below.plot(true[inside], (recorded - true)[inside], **struck)
    below.set_ylabel("error of timestamp\nminutes")
    below.set_xlabel(f"minutes, one reading every {picture.interval} seconds")
    above.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.2)
    figure.align_ylabels()
    figure.tight_layout(h_pad=0.4)
    save(figure, path)


def mark_missing(axes: Axes, picture: Picture, step: float) -> None:
    middle = (picture.before + picture.readings / 2) * step
    axes.text(middle, axes.get_ylim()[0], "no rows\n", ha="center", va="bottom", color=COLOURS["missing_data"])


def save(figure: Figure, path: Path, colours: int = COLOURS_IN_FILE) -> None:
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    # A palette makes the file a third as large; lines and text need no more colours.
    Image.open(drawn).convert("RGB").quantize(colours).save(path, optimize=True)
    print(f"{path.relative_to(IMAGES.parent.parent)}: {path.stat().st_size / 1000:.0f} KB")


def panels(kind: str, sheet: Sheet) -> Iterator[tuple[str, Picture]]:
    """Yield the types of a sheet with their pictures."""
    sensors = [Picture((), 1, kind=kind, variant=variant, interval=sheet.interval) for variant in sheet.variants]
    channels = [(sensor, channel) for sensor in sensors for channel in default_settings("spike", sensor).channels]
    for number, name in enumerate(name for row in PANELS for name in row):
        declaration = anomaly_class(name)
        suitable = [each for each in channels if declaration.suits(each[1])] or channels
        sensor, channel = suitable[number % len(suitable)]
        shown: tuple[str, ...] = (channel.name,)
        struck: str | None = channel.name
        if name == "decoupling":
            shown, struck = sheet.coupled, sheet.coupled[-1]
            sensor = next(each for each, channel in channels if channel.name == struck)
        elif declaration.channels == "several":
            shown, struck = compute(name, replace(sensor, before=1, after=1)).block.episodes[0].channels, None
        elif declaration.channels == "none":
            struck = None
        yield name, panel(name, replace(sensor, channels=shown, channel=struck, seed=sheet.seeds.get(name, SEED)))


def panel(name: str, picture: Picture) -> Picture:
    """The same picture with an episode of the default length, and half of it before and after."""
    duration, unit = anomaly_class(name).duration
    interval, count = picture.interval, round(duration)
    if unit == "seconds":
        most = 400 if name not in PANEL_READINGS else duration
        interval = next(each for each in (1, 10, 60) if each >= interval and duration / each <= most)
        count = PANEL_READINGS.get(name) or round(duration / interval)
    around = max(count // 2, 40)
    return replace(picture, readings=count, interval=interval, before=around, after=around)


def draw_sheet(kind: str, sheet: Sheet, path: Path) -> None:
    figure = plt.figure(figsize=(13, 11), dpi=100)
    grid = figure.add_gridspec(len(PANELS), len(PANELS[0]), height_ratios=[1] * (len(PANELS) - 1) + [1.9])
    for cell, (name, picture) in zip(grid, panels(kind, sheet), strict=True):
        shown = compute(name, picture)
        unit, step = panel_axis(picture)
        axes = cell.subgridspec(len(picture.channels), 1, hspace=0.12).subplots(sharex=True, squeeze=False)[:, 0]
        for each, channel in zip(axes, picture.channels, strict=True):
            draw_channel(each, channel, shown, step, 0.7)
        if name == "missing_data":
            mark_missing(axes[0], picture, step)
        axes[0].set_title(name, color=COLOURS[name], fontsize=9, fontweight="bold", loc="left")
        axes[-1].set_xlabel(f"{unit}, a reading every {picture.interval} s")
        figure.align_ylabels(axes)
    figure.subplots_adjust(0.06, 0.05, 0.99, 0.97, wspace=0.36, hspace=0.36)
    save(figure, path, COLOURS_IN_SHEET)


def panel_axis(picture: Picture) -> tuple[str, float]:
    """The unit of the time of a panel, and the time between two readings in it."""
    length = picture.shown * picture.interval
    unit, seconds = ("seconds", 1) if length <= 900 else ("minutes", 60) if length <= 10_800 else ("hours", 3600)
    return unit, picture.interval / seconds


def main() -> None:
    style: dict[str, Any] = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#b4c0cc",
        "axes.labelcolor": "#40505f",
        "xtick.color": "#5a6878",
        "ytick.color": "#5a6878",
        "text.color": "#40505f",
    }
    with_panel = {name for row in PANELS for name in row}
    for place, names in {"PICTURES": PICTURES.keys(), "PANELS": with_panel}.items():
        if missing := set(ANOMALY_TYPES) - names - CLOCK_PICTURES.keys():
            raise SystemExit(f"{place} has no entry for {', '.join(sorted(missing))}")
    with mpl.rc_context(style):
        for name, picture in PICTURES.items():
            path = IMAGES / f"anomaly-{name.replace('_', '-')}.png"
            draw(name, picture, path)
        for name, picture in CLOCK_PICTURES.items():
            draw_clock(name, picture, IMAGES / f"anomaly-{name.replace('_', '-')}.png")
    with mpl.rc_context({**style, **SHEET_STYLE}):
        for kind, sheet in SHEETS.items():
            draw_sheet(kind, sheet, IMAGES / f"anomalies-{kind}.png")


if __name__ == "__main__":
    main()
