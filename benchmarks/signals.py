"""How the signals of the default kind behave beside those of real sensors: a table for docs/signals.md.

change/sd is the standard deviation of the difference of neighbours over that of the series, r1 the autocorrelation at lag 1,
daily the share of the variance that the mean day explains. The real figures are of public recordings: UCI occupancy detection (an office
room, 2015), Beijing PM2.5 with weather (2010 to 2014), and machine and ambient temperature of the Numenta Anomaly Benchmark.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from worker.readings.generator import SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.spec import Identity, Settings

START_US = 1_767_225_600_000_000
SEED = 1
STEPS = {"1 s": ("1", 200_000), "1 min": ("1/60", 100_000), "5 min": ("1/300", 105_120), "1 h": ("1/3600", 43_824)}
DAY_READINGS = {"1 min": 1440, "5 min": 288, "1 h": 24}
PLACES = {
    "one city": (41.881, -87.623),
    "135 km away": (43.039, -87.906),
    "380 km away": (38.627, -90.199),
    "another continent": (52.52, 13.405),
}
REAL = """
office temperature, 1 min        change/sd 0.032   r1 0.9995   daily 0.58   distinct  3.1 %
office humidity, 1 min           change/sd 0.040   r1 0.9992   daily 0.06   distinct 15 %
machine temperature, 5 min       change/sd 0.078   r1 0.997
ambient temperature, 1 h         change/sd 0.219   r1 0.976
outdoor temperature, 1 h         change/sd 0.123   r1 0.9925   daily 0.07
outdoor humidity, 1 h            change/sd 0.270   r1 0.964    daily 0.21
air pressure, 1 h                change/sd 0.068   r1 0.9977   daily 0.01
between channels: office temperature and humidity -0.47; outdoors, within a day, -0.85
"""


def main() -> None:
    chicago = Identity("CHI_000001", latitude=41.85, longitude=-87.65, timezone="America/Chicago")
    for kind in ("environmental", "temperature_vibration"):
        settings = settings_for(load_config(None), load_catalogue(), replace(chicago, sensor_type=kind))
        settings = replace(settings, anomalies=())
        print(f"{kind}\n{'':22}" + "".join(f"{step:>34}" for step in STEPS))
        series = {step: readings(settings, chicago, rate, count) for step, (rate, count) in STEPS.items()}
        for index, channel in enumerate(settings.channels):
            cells = [cell(series[step][index], DAY_READINGS.get(step)) for step in STEPS]
            print(f"{channel.name:22}" + "".join(f"{text:>34}" for text in cells))
        print("\nbetween channels, every 5 min")
        print(np.array2string(np.asarray(np.corrcoef(series["5 min"])), precision=2, suppress_small=True))
        print("\ntemperature of two sensors, every 5 min for a year, without the rhythm of the day")
        calm = replace(settings, channels=tuple(replace(each, daily_amplitude=0.0) for each in settings.channels))
        mine = readings(calm, chicago, *STEPS["5 min"])[0]
        for name, (latitude, longitude) in PLACES.items():
            other = replace(chicago, sensor_id="CHI_000002", latitude=latitude, longitude=longitude)
            print(f"{name:22}{np.corrcoef(mine, readings(calm, other, *STEPS['5 min'])[0])[0, 1]:8.3f}")
        print()
    print("real recordings" + REAL)


def readings(settings: Settings, identity: Identity, rate: str, count: int) -> FloatArray:
    """Return the values of `count` readings, shape (channels, count)."""
    return SignalGenerator(SEED, identity, replace(settings, rate=rate), 0, START_US).block(0, count).values


def cell(values: FloatArray, day: int | None) -> str:
    centred = values - values.mean()
    variance = float(centred @ centred) / len(values)
    change = float(np.diff(values).std()) / variance**0.5
    first = float(centred[:-1] @ centred[1:]) / len(values) / variance
    distinct = len(np.unique(values)) / len(values)
    text = f"{change:.3f}  {first:.4f}"
    if day:
        whole = centred[: len(values) // day * day].reshape(-1, day).mean(axis=0)
        text += f"  {whole.var() / variance:.2f}"
    return f"{text}  {distinct:.1%}"


if __name__ == "__main__":
    main()
