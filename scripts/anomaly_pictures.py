"""Draw the pictures of docs/anomalies.md: one episode of each type of anomaly, computed by the real generator.

    uv run --with matplotlib==3.11.2 scripts/anomaly_pictures.py

Each picture shows readings of an `environmental` sensor with one episode (coloured), and the readings that the same sensor
would have had without it (grey). Matplotlib is needed by nothing else in the project and is therefore no dependency of it.
To add a picture: an entry in `PICTURES`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from worker.readings.anomalies import ANOMALY_TYPES
from worker.readings.generator import HEALTHY_INDEX, Block, SignalGenerator
from worker.spec import Identity, Injection, Settings

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SEED = 7
SECOND_US = 1_000_000
START_US = 1_767_247_200 * SECOND_US
"""2026-01-01T06:00:00Z"""
IDENTITY = Identity("DOC_000001", sensor_type="environmental")
COLOURS_IN_FILE = 48

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
}
"""The colours of `fleet/web/static/tokens.css` in the light theme, darker where white paper needs it."""

ALL_CHANNELS = ("temperature", "humidity", "pressure", "vibration", "voltage")


@dataclass(frozen=True)
class Picture:
    """What one picture shows: the channels, one above the other, how many readings the episode has and how many there are before
    and after it, the injected channel, the seconds between two readings, the seed of the sensor, and whether the channel's
    maximum is drawn."""

    channels: tuple[str, ...]
    readings: int
    channel: str | None = None
    before: int = 40
    after: int = 40
    interval: int = 1
    seed: int = SEED
    maximum: bool = False

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
    "clipping": Picture(("temperature",), 84, "temperature", 36, 84, 300),
    "dropout": Picture(("voltage",), 60, "voltage"),
    "decoupling": Picture(("temperature", "humidity"), 288, "humidity", 216, 144, 300),
    "out_of_range": Picture(("voltage",), 1, "voltage", 60, 60, seed=8, maximum=True),
    "power_up": Picture(ALL_CHANNELS, 3, None, 30, 30),
    "uncompensated": Picture(("temperature", "pressure"), 10, None, 30, 30),
}


def default_settings(name: str, picture: Picture) -> Settings:
    """The settings of a sensor whose hardware has no effect, with the default of every option, and that type enabled."""
    rate = f"{3600 // picture.interval}/h"
    overrides = {"simulation.readings_per_second": rate, f"anomalies.types.{name}.enabled": True}
    return settings_for(load_config(None, overrides=overrides), load_catalogue(), IDENTITY)


def with_episode(settings: Settings, name: str, picture: Picture) -> Settings:
    """The same settings with one episode of the type that is called `name`."""
    (spec,) = (spec for spec in settings.anomalies if spec.kind == name)
    begin = START_US + picture.before * picture.interval * SECOND_US
    end = begin + picture.readings * picture.interval * SECOND_US
    return replace(settings, injection=Injection("picture", spec, begin, end, picture.channel))


def readings(settings: Settings, picture: Picture) -> Block:
    return SignalGenerator(picture.seed, IDENTITY, settings, 0, START_US).block(0, picture.shown)


def time_axis(picture: Picture) -> tuple[float, str]:
    """The time between two readings on the axis, and the axis's name."""
    if picture.interval == 1:
        return 1.0, "seconds, one reading each"
    if picture.interval == 60:
        return 1.0, "minutes, one reading each"
    return picture.interval / 3600, f"hours, one reading every {picture.interval // 60} minutes"


def draw_channel(
    axes: Axes, channel: str, healthy: Block, block: Block, name: str, settings: Settings, step: float
) -> None:
    index = [known.name for known in settings.channels].index(channel)
    times = np.arange(block.size) * step
    inside = block.kinds != HEALTHY_INDEX
    first, last = int(np.flatnonzero(inside)[0]), int(np.flatnonzero(inside)[-1])
    axes.axvspan((first - 0.5) * step, (last + 0.5) * step, color=COLOURS[name], alpha=0.12, linewidth=0)
    axes.plot(times, healthy.values[index], color="#9aa7b5", linewidth=1, label="without the anomaly")
    affected = channel in block.episodes[0].channels
    shown = np.where(inside & (affected | (name == "missing_data")), np.nan, block.values[index])
    axes.plot(times, shown, color="#1f2d3d", linewidth=1.4, label="anomaly_flag = 0")
    if affected:
        around = slice(max(first - 1, 0), last + 2)
        axes.plot(times[around], block.values[index][around], color=COLOURS[name], linewidth=1.4)
        axes.plot(
            times[inside],
            block.values[index][inside],
            color=COLOURS[name],
            linestyle="none",
            marker="o",
            markersize=3,
            label=f"anomaly_type = {name}",
        )
    axes.set_ylabel(f"{channel}\n{settings.channels[index].unit}")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.margins(x=0.01, y=0.12)


def draw(name: str, picture: Picture, path: Path) -> None:
    settings = default_settings(name, picture)
    healthy = readings(replace(settings, anomalies=()), picture)
    block = readings(with_episode(settings, name, picture), picture)
    rows = len(picture.channels)
    step, axis = time_axis(picture)
    figure, grid = plt.subplots(rows, 1, sharex=True, squeeze=False, figsize=(8, 1.1 + 1.55 * rows), dpi=100)
    for axes, channel in zip(grid[:, 0], picture.channels, strict=True):
        draw_channel(axes, channel, healthy, block, name, settings, step)
        if picture.maximum:
            (maximum,) = (each.maximum for each in settings.channels if each.name == channel)
            axes.axhline(maximum, color="#5a6878", linestyle="--", linewidth=1, label="max")
    if name == "missing_data":
        middle = (picture.before + picture.readings / 2) * step
        grid[0, 0].text(middle, grid[0, 0].get_ylim()[0], "no rows\n", ha="center", va="bottom", color=COLOURS[name])
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
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    # A palette makes the file a third as large; lines and text need no more colours.
    Image.open(drawn).convert("RGB").quantize(COLOURS_IN_FILE).save(path, optimize=True)


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
    missing = set(ANOMALY_TYPES) - PICTURES.keys()
    if missing:
        raise SystemExit(f"PICTURES has no entry for {', '.join(sorted(missing))}")
    with mpl.rc_context(style):
        for name, picture in PICTURES.items():
            path = IMAGES / f"anomaly-{name.replace('_', '-')}.png"
            draw(name, picture, path)
            print(f"{path.relative_to(IMAGES.parent.parent)}: {path.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
