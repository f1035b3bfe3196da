"""How fast `fleet stream` makes lines of JSON on one core, beside `json.dumps` of the same records: medians of five runs.

Seconds are those of the process, so that other programs on the machine count less.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from fleet.config.config import load_config
from fleet.streaming.sensors import StreamSensor, stream_sensors
from fleet.streaming.stream import StreamReadings, StreamWriter

RUNS = 5
RECORDS = 819_200
DUMPED = 100_000
RATE = Fraction(1_000_000)
START_US = 1_767_225_600_000_000


def main() -> None:
    for kind in sys.argv[1:] or ("pipeline", "environmental"):
        sensors = stream_sensors(load_config(None, {}, {"sensor.type": kind, "replicas.count": 100}), 3)
        records = made_records(sensors)
        streamed = per_second(RECORDS, partial(write, sensors))
        dumped = per_second(len(records), partial(dump, records))
        ratio = streamed / dumped
        print(f"{kind:14} stream {streamed:11,.0f} records/s, json.dumps alone {dumped:9,.0f}/s: {ratio:.1f} times")


def write(sensors: Sequence[StreamSensor]) -> None:
    """Make readings, and write them nowhere."""
    with Path(os.devnull).open("wb") as output:
        readings = StreamReadings(sensors, 3, RATE, START_US)
        StreamWriter(readings, output, RECORDS, threading.Event(), print, float("inf")).run(RATE, throttled=False)


def made_records(sensors: Sequence[StreamSensor]) -> list[dict[str, Any]]:
    readings = StreamReadings(sensors, 3, RATE, START_US)
    records: list[dict[str, Any]] = []
    while len(records) < DUMPED:
        records += map(json.loads, readings.take(DUMPED).text.splitlines())
    return records


def dump(records: Sequence[dict[str, Any]]) -> None:
    for record in records:
        json.dumps(record)


def per_second(count: int, work: Callable[[], None]) -> float:
    seconds = []
    for _ in range(RUNS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return count / statistics.median(seconds)


if __name__ == "__main__":
    main()
