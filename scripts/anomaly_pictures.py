"""Draw the pictures of docs/anomalies.md: one episode of each type of anomaly, computed by the real generator.

    uv run --with matplotlib==3.11.2 scripts/anomaly_pictures.py

Each picture shows readings of a default sensor with one episode (coloured), and the readings that the same sensor would
have had without it (grey). Matplotlib is needed by nothing else in the project and is therefore no dependency of it.
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
"""2026-01-01T06:00:00Z, far from the peak and the trough of the day."""
IDENTITY = Identity("DOC_000001", sensor_type="environmental")
SHOWN_SECONDS = 120
FIRST_SECOND = 40
COLOURS_IN_FILE = 48

COLOURS = {"spike": "#c98700", "trend": "#d9541e", "pattern": "#7d56d8", "missing_data": "#66758a", "noise": "#1a83bf"}
UNITS = {"temperature": "°C", "humidity": "%", "pressure": "Pa", "vibration": "mm/s²", "voltage": "V"}


@dataclass(frozen=True)
class Picture:
    """What one picture shows: the channels, one above the other, the length of the episode, and its injected channel."""

    channels: tuple[str, ...]
    seconds: int
    channel: str | None = None


PICTURES = {
    "spike": Picture(("vibration",), 1, "vibration"),
    "trend": Picture(("temperature",), 60, "temperature"),
    "pattern": Picture(("temperature", "vibration"), 60),
    "missing_data": Picture(("temperature",), 30),
    "noise": Picture(("temperature", "humidity", "voltage"), 50),
}


def default_settings() -> Settings:
    """The settings of a sensor whose hardware has no effect, by the defaults of every option."""
    config = load_config(None, overrides={"simulation.readings_per_second": 1})
    return settings_for(config, load_catalogue(), IDENTITY)


def with_episode(settings: Settings, name: str, picture: Picture) -> Settings:
    """The same settings with one episode of the type that is called `name`."""
    (spec,) = (spec for spec in settings.anomalies if spec.kind == name)
    begin = START_US + FIRST_SECOND * SECOND_US
    return replace(
        settings, injection=Injection("picture", spec, begin, begin + picture.seconds * SECOND_US, picture.channel)
    )


def readings(settings: Settings) -> Block:
    return SignalGenerator(SEED, IDENTITY, settings, 0, START_US).block(0, SHOWN_SECONDS)


def draw_channel(axes: Axes, channel: str, healthy: Block, block: Block, name: str, settings: Settings) -> None:
    index = [known.name for known in settings.channels].index(channel)
    seconds = np.arange(block.size)
    inside = block.kinds != HEALTHY_INDEX
    first, last = int(np.flatnonzero(inside)[0]), int(np.flatnonzero(inside)[-1])
    axes.axvspan(first - 0.5, last + 0.5, color=COLOURS[name], alpha=0.12, linewidth=0)
    axes.plot(seconds, healthy.values[index], color="#9aa7b5", linewidth=1, label="without the anomaly")
    shown = np.where(inside, np.nan, block.values[index])
    axes.plot(seconds, shown, color="#1f2d3d", linewidth=1.4, label="reading, anomaly_flag = 0")
    if name != "missing_data":
        around = slice(max(first - 1, 0), last + 2)
        axes.plot(seconds[around], block.values[index][around], color=COLOURS[name], linewidth=1.4)
        axes.plot(
            seconds[inside],
            block.values[index][inside],
            color=COLOURS[name],
            linestyle="none",
            marker="o",
            markersize=3,
            label=f"reading, anomaly_type = {name}",
        )
    axes.set_ylabel(f"{channel}\n{UNITS[channel]}")
    axes.margins(x=0.01, y=0.12)


def draw(name: str, picture: Picture, path: Path) -> None:
    settings = default_settings()
    healthy, block = readings(replace(settings, anomalies=())), readings(with_episode(settings, name, picture))
    rows = len(picture.channels)
    figure, grid = plt.subplots(rows, 1, sharex=True, squeeze=False, figsize=(8, 1.1 + 1.55 * rows), dpi=100)
    for axes, channel in zip(grid[:, 0], picture.channels, strict=True):
        draw_channel(axes, channel, healthy, block, name, settings)
    if name == "missing_data":
        middle = FIRST_SECOND + picture.seconds / 2
        grid[0, 0].text(middle, grid[0, 0].get_ylim()[0], "no rows\n", ha="center", va="bottom", color=COLOURS[name])
    grid[0, 0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, borderaxespad=0.2)
    grid[-1, 0].set_xlabel("seconds, one reading each")
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
