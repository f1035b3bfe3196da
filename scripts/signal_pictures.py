#!/usr/bin/env python3
"""Draw docs/images/signal-*.png: a day and a year of each kind of sensor, without anomalies. Needs matplotlib."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from worker.readings.generator import SignalGenerator
from worker.spec import AttributeValue, Identity, Settings

mpl.use("Agg")
from matplotlib import pyplot as plt

IMAGES = Path(__file__).resolve().parents[1] / "docs/images"
KINDS = ("environmental", "temperature_vibration", "air_quality", "wind_turbine", "bme280")
PIPELINE_TYPES = ("flow_rate", "pressure", "temperature", "gas_detector")
START_US = 1_767_225_600_000_000
DAY = ("1/10", 8640, 24.0, "hours of a day, every 10 s")
YEAR = ("1/900", 35_040, 365.0, "days of a year, every 15 min")
SEED = 3
LINE, TEXT = "#31708f", "#333333"


def main() -> None:
    for kind in KINDS:
        draw(kind, [settings_of(kind)])
    draw("pipeline", [settings_of("pipeline", (("type", name),)) for name in PIPELINE_TYPES])


def settings_of(kind: str, attributes: tuple[tuple[str, AttributeValue], ...] = ()) -> Settings:
    identity = replace(IDENTITY, sensor_type=kind, attributes=attributes)
    return replace(settings_for(load_config(None), load_catalogue(), identity), anomalies=())


IDENTITY = Identity(
    "CHI_000001", manufacture_date="2024-05-01", latitude=41.85, longitude=-87.65, timezone="America/Chicago"
)


def draw(kind: str, sensors: list[Settings]) -> None:
    rows = [(settings, index) for settings in sensors for index in range(len(settings.channels))]
    figure, axes = plt.subplots(len(rows), 2, figsize=(11, 1.35 * len(rows) + 0.6), squeeze=False)
    for row, (settings, index) in enumerate(rows):
        channel = settings.channels[index]
        for axis, (rate, count, length, _) in zip(axes[row], (DAY, YEAR), strict=True):
            block = SignalGenerator(SEED, IDENTITY, replace(settings, rate=rate), 0, START_US).block(0, count)
            axis.plot(np.arange(count) * length / count, block.values[index], linewidth=0.5, color=LINE)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(labelsize=7, colors=TEXT)
        axes[row][0].set_ylabel(f"{channel.name}\n{channel.unit}", fontsize=7, color=TEXT)
    for axis, (*_, title) in zip(axes[-1], (DAY, YEAR), strict=True):
        axis.set_xlabel(title, fontsize=7, color=TEXT)
    figure.tight_layout()
    path = IMAGES / f"signal-{kind}.png"
    figure.savefig(path, dpi=80, pil_kwargs={"optimize": True})
    plt.close(figure)
    print(f"{path.relative_to(IMAGES.parents[1])}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
