"""The record of a data directory: what a later start on it must not contradict. It is `fleet.json` there."""

from __future__ import annotations

import json
import os
import re
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fleet.documents import parse_json, read_text, refuse
from fleet.errors import UserError
from worker.spec import Layout

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
ADVICE = "; restore the file, or take another --data directory"


@dataclass(frozen=True, slots=True)
class FleetRecord:
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


WHOLE = {"seed": 0, "sensors_per_worker": 1, "start_us": 0, "wall_us": 0, "runs": 0}
"""The numbers of a record and the least that each may be."""


def read_record(path: Path) -> FleetRecord | None:
    """The record in the file, None if there is none; UserError says what is wrong with it and where."""
    if not path.exists():
        return None
    text = read_text(path)
    try:
        document = parse_json(text, path)
    except UserError as error:
        raise UserError(f"{error}{ADVICE}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: not the record of a fleet (a JSON object){ADVICE}")
    missing = [field.name for field in fields(FleetRecord) if field.default is MISSING and field.name not in document]
    if missing:
        raise UserError(f"{path}: not the record of a fleet: {missing[0]} is missing{ADVICE}")
    for name, least in WHOLE.items():
        value = document[name]
        if type(value) is not int or not least <= value < 1 << 63:
            refuse(path, text, [name], value, f"is not a whole number from {least} on{ADVICE}")
    if document["layout"] not in ("own", "shared", "packed"):
        refuse(path, text, ["layout"], document["layout"], f"is not one of own, shared, packed{ADVICE}")
    sensors = sensors_of(document["sensors"], text, path)
    boot_id, origin_ns = document.get("boot_id", ""), document.get("origin_ns", 0)
    if type(boot_id) is not str:
        refuse(path, text, ["boot_id"], boot_id, f"is not a text{ADVICE}")
    if type(origin_ns) is not int or not -1 << 62 <= origin_ns < 1 << 62:
        refuse(path, text, ["origin_ns"], origin_ns, f"is not a whole number{ADVICE}")
    numbers = {name: document[name] for name in WHOLE}
    return FleetRecord(sensors=sensors, layout=document["layout"], boot_id=boot_id, origin_ns=origin_ns, **numbers)


def sensors_of(value: Any, text: str, path: Path) -> tuple[tuple[str, str], ...]:
    """The pairs of names. They become names of files, so nothing else may pass."""
    if not isinstance(value, list):
        refuse(path, text, ["sensors"], value, f"is not a list{ADVICE}")
    for number, pair in enumerate(value):
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(is_name, pair))):
            refuse(path, text, ["sensors", number], pair, f"is not a sensor id and the name of its worker{ADVICE}")
    return tuple((sensor, worker) for sensor, worker in value)


def is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def write_record(path: Path, record: FleetRecord) -> None:
    """Write it to disk, whole or not at all. OSError if it cannot be."""
    temporary = path.with_suffix(".new")
    with temporary.open("w") as file:
        json.dump(asdict(record), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
