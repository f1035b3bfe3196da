"""The settings whose readings are kept as hashes by test_golden.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.worker.samples import (
    HUMIDITY,
    MISSING,
    NOISE,
    PATTERN,
    PRESSURE,
    SECOND_US,
    SPIKE,
    TEMPERATURE,
    TREND,
    VIBRATION,
    VOLTAGE,
)
from worker.spec import (
    AnomalySpec,
    AttributeRule,
    Channel,
    Instrument,
    ReadingAttribute,
    Settings,
    SignalSpec,
    WorkingHours,
)
from worker.storage.schema import settings_from_json

DST_BEGINS = 1_772_953_200 * SECOND_US
"""2026-03-08T07:00:00Z, when clocks in New York go forward."""

PLACED = (
    replace(TEMPERATURE, daily_amplitude=2.0, working_hours=3.0, yearly_amplitude=9.4),
    replace(HUMIDITY, yearly_amplitude=-4.0, working_hours=-7.0),
    VIBRATION,
)
DAILY = (replace(TEMPERATURE, daily_amplitude=2.0), replace(HUMIDITY, daily_amplitude=-5.0), VIBRATION)
RARE_EDGE = (replace(VIBRATION, mean=0.1, minimum=0.0), replace(TEMPERATURE, mean=0.0, minimum=-4.0, decimals=9))
LONG = (
    SPIKE,
    AnomalySpec("trend", 0.02, 300, "seconds", (("max_change", 0.625),), (("temperature", 3.0),)),
    AnomalySpec("pattern", 0.01, 600, "seconds", (("amplitude", 5.0), ("frequency", 0.013))),
    AnomalySpec("missing_data", 0.01, 30, "seconds"),
    AnomalySpec("noise", 0.02, 180, "seconds", (("factor", 0.15), ("vibration_gain", 1.5))),
)
VARIED = (
    replace(LONG[1], duration=20.0, lengths="uniform", longest=300.0),
    replace(LONG[4], duration=60.0, lengths="exponential"),
)
SHORT = (SPIKE, TREND, PATTERN, MISSING, NOISE)

FAULTS = tuple(
    AnomalySpec(kind, 0.03, length, "readings")
    for kind, length in (
        ("stuck_value", 20),
        ("stuck_at_limit", 10),
        ("drift", 30),
        ("level_shift", 20),
        ("variance_change", 20),
        ("clipping", 40),
        ("dropout", 15),
        ("decoupling", 30),
        ("out_of_range", 1),
        ("power_up", 3),
        ("uncompensated", 5),
    )
)

CLOCKS = tuple(
    AnomalySpec(kind, 0.05, length, "readings")
    for kind, length in (("clock_jump", 20), ("clock_drift", 30), ("wrong_zone", 25))
)

STORED = json.loads((Path(__file__).parent / "settings_of_version_2.json").read_text(encoding="utf-8"))
"""The settings of kinds of sensors as they are stored in epochs; in the mountains near Vienna, with the climate."""


def part(name: str, **parameters: float | str) -> SignalSpec:
    return SignalSpec(name, tuple(parameters.items()))


EVENTS = part("weather_events", storm=-2.5, front=1.5, clear=0.25, interval=5400.0, shortest=60.0, longest=1800.0)
COMPOSED = (
    replace(
        TEMPERATURE,
        daily_amplitude=1.5,
        daily_peak=14.25,
        daily_trough=5.5,
        yearly_amplitude=7.0,
        working_hours=0.75,
        signals=(
            part("weather", share=0.5, quantity="temperature"),
            part("slow", share=0.3, correlation=21_600.0),
            part("weekly", amplitude=-0.5),
            EVENTS,
        ),
        instrument=Instrument(0.3, 0.01, 0.02, 45.0, 0.5, 1200.0, -5.0, 30.0),
    ),
    replace(
        HUMIDITY,
        decimals=4,
        signals=(
            part("follows", channel="temperature", correlation=-0.6),
            part("weather", share=0.2, quantity="humidity", correlation=7200.0),
            part("uniform", share=0.1),
            EVENTS,
        ),
    ),
    replace(
        PRESSURE,
        decimals=3,
        signals=(
            part("weather", share=0.9, quantity="pressure"),
            part("slow", share=0.05, correlation=120.0),
            part("weather_events", storm=-200.0, front=90.0, clear=30.0),
        ),
        instrument=Instrument(offset=50.0, resolution=0.18),
    ),
    replace(
        VIBRATION,
        decimals=6,
        signals=(
            part("machine", share=0.6, dwell=1800.0),
            part("slow", share=0.2, correlation=600.0),
            part("uniform", share=0.1),
        ),
    ),
    replace(
        VOLTAGE,
        decimals=5,
        signals=(
            part("follows", channel="vibration", correlation=0.5),
            part("walk", step=0.05, share=0.6),
            part("drift", per_year=0.25),
        ),
        instrument=Instrument(gain=0.002, warm_up=-0.25, warm_up_seconds=600.0),
    ),
    Channel(
        "rotor_speed",
        "1/min",
        900.0,
        300.0,
        0.0,
        1500.0,
        0.0,
        1600.0,
        1,
        signals=(
            part("machine", share=0.8, idle=0.1, running=1.5, maintenance=-0.5, response=90.0, dwell=1800.0),
            part("weekly", amplitude=0.25),
            part("drift", per_year=40.0),
        ),
    ),
    Channel(
        "bearing",
        "°C",
        40.0,
        5.0,
        35.0,
        47.0,
        -50.0,
        150.0,
        9,
        signals=(
            part("follows", channel="rotor_speed", correlation=0.7),
            part("walk", step=2.0, share=0.4),
            EVENTS,
        ),
    ),
    Channel("order", "", 0.0, 1e-3, -1.0, 1.0, -2.0, 2.0, 9, signals=(part("uniform", share=1.0),)),
)
RULES = (
    ReadingAttribute(
        "status",
        "TEXT",
        (
            AttributeRule(anomalous=True, values=("warning", "critical"), weights=(2.0, 1.0)),
            AttributeRule(weather="storm", values=("storm", "gale", "rain")),
            AttributeRule(channel="rotor_speed", at_least=1000.0, below=1200.0, values=("fast",)),
            AttributeRule(anomalous=False, weather="none", values=("normal", None), weights=(9.0, 1.0)),
        ),
    ),
    ReadingAttribute(
        "quality",
        "REAL",
        (AttributeRule(anomalous=True, low=0.5, high=0.8), AttributeRule(low=0.85, high=1.0, decimals=6)),
    ),
    ReadingAttribute(
        "level",
        "INTEGER",
        (AttributeRule(channel="bearing", below=39.0, low=-5.0, high=100.0, decimals=0), AttributeRule(values=(7,))),
    ),
)


def composed(*anomalies: AnomalySpec, rate: str = "1") -> Settings:
    return Settings(rate, COMPOSED, anomalies, working_hours=WorkingHours(6, 14, 6), attributes=RULES, version=2)


def kind(name: str, rate: str = "1") -> Settings:
    """The settings of a kind of sensor, as it was when version 2 was made."""
    return replace(settings_from_json(STORED[name]), rate=rate)
