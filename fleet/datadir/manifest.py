"""The record of a data directory: what a later start on it must not contradict. It is `fleet.json` there."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fleet import atomic_write
from fleet.errors import UserError
from fleet.strict_json import parse_json, raise_json_error, read_text_file
from worker.spec import Layout

SENSOR_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
RESTORE_ADVICE = "; restore the file, or take another --data directory"


@dataclass(frozen=True, slots=True)
class FleetManifest:
    """Times are microseconds since 1970.

    `start_us` is the simulated time of the first reading ever, `wall_us` the wall clock then; while the machine that was
    booted as `boot_id` runs, `origin_ns` is the same moment on `worker.clock`. `sensors` are (sensor id, worker) in the
    order of the fleet, also those that a smaller fleet leaves out for now.
    """

    seed: int
    layout: Layout
    sensors_per_worker: int
    start_us: int
    wall_us: int
    runs: int
    sensors: tuple[tuple[str, str], ...]
    boot_id: str = ""
    origin_ns: int = 0


MAX_START_US = 7_258_118_400_000_000
"""2200, as in a config."""
INTEGER_BOUNDS = {
    "seed": (0, (1 << 63) - 1),
    "sensors_per_worker": (1, 100_000),
    "start_us": (0, MAX_START_US),
    "wall_us": (0, MAX_START_US),
    "runs": (0, 1 << 38),  # incarnations are numbered from the run's on, times 2^24, in 64 bits
}
"""The numbers of a record, the least and the most that each may be."""


def read_manifest(path: Path) -> FleetManifest | None:
    """The record in the file, None if there is none; UserError says what is wrong with it and where."""
    if not path.exists():
        return None
    text = read_text_file(path)
    try:
        document = parse_json(text, path)
    except UserError as error:
        raise UserError(f"{error}{RESTORE_ADVICE}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: not the record of a fleet (a JSON object){RESTORE_ADVICE}")
    missing = [field.name for field in fields(FleetManifest) if field.default is MISSING and field.name not in document]
    if missing:
        raise UserError(f"{path}: not the record of a fleet: {missing[0]} is missing{RESTORE_ADVICE}")
    for name, (least, most) in INTEGER_BOUNDS.items():
        value = document[name]
        if type(value) is not int or not least <= value <= most:
            raise_json_error(path, text, [name], value, f"is not a whole number from {least} to {most}{RESTORE_ADVICE}")
    if document["layout"] not in ("own", "shared", "packed"):
        raise_json_error(
            path, text, ["layout"], document["layout"], f"is not one of own, shared, packed{RESTORE_ADVICE}"
        )
    sensors = parse_sensors(document["sensors"], document["layout"] == "packed", text, path)
    boot_id, origin_ns = document.get("boot_id", ""), document.get("origin_ns", 0)
    if type(boot_id) is not str:
        raise_json_error(path, text, ["boot_id"], boot_id, f"is not a text{RESTORE_ADVICE}")
    if type(origin_ns) is not int or not -1 << 62 <= origin_ns < 1 << 62:
        raise_json_error(path, text, ["origin_ns"], origin_ns, f"is not a whole number{RESTORE_ADVICE}")
    numbers = {name: document[name] for name in INTEGER_BOUNDS}
    return FleetManifest(sensors=sensors, layout=document["layout"], boot_id=boot_id, origin_ns=origin_ns, **numbers)


def parse_sensors(value: Any, packed: bool, text: str, path: Path) -> tuple[tuple[str, str], ...]:
    """The pairs of names. They become names of files, so nothing else may pass. Nor may what would start two workers
    on one database: a sensor that is there twice, a worker whose sensors are not next to each other."""
    if not isinstance(value, list):
        raise_json_error(path, text, ["sensors"], value, f"is not a list{RESTORE_ADVICE}")
    for number, pair in enumerate(value):
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(is_sensor_name, pair))):
            raise_json_error(
                path, text, ["sensors", number], pair, f"is not a sensor id and the name of its worker{RESTORE_ADVICE}"
            )
    seen: set[str] = set()
    workers: dict[str, int] = {}
    for number, (sensor, worker) in enumerate(value):
        if sensor in seen:
            raise_json_error(path, text, ["sensors", number], sensor, f"is there twice{RESTORE_ADVICE}")
        if workers.setdefault(worker, number) != number and value[number - 1][1] != worker:
            raise_json_error(
                path, text, ["sensors", number], worker, f"is a worker that is named further up{RESTORE_ADVICE}"
            )
        if not packed and sensor != worker:
            raise_json_error(path, text, ["sensors", number], worker, f"is not the worker of {sensor}{RESTORE_ADVICE}")
        seen.add(sensor)
    return tuple((sensor, worker) for sensor, worker in value)


def is_sensor_name(value: object) -> bool:
    return isinstance(value, str) and SENSOR_NAME.fullmatch(value) is not None


def write_manifest(path: Path, record: FleetManifest) -> None:
    """Write it to disk, whole or not at all. OSError if it cannot be."""
    atomic_write.replace_file(path, json.dumps(asdict(record)), sync=True)
