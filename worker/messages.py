"""The messages that a supervisor sends to a running worker over its lifeline, each one line of JSON.

To add a message: one function here that makes it, one case in `Worker._handle_message` (`worker.process`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from worker.spec import Pause, Settings, Stage, WorkerSpec
from worker.storage.schema import identity_from_json, identity_to_json, settings_from_json, settings_to_json

Message = dict[str, Any]
"""A message as JSON has it; `type` says which one it is."""


def drain_message(seconds: float) -> Message:
    """Order the worker to write all readings that are due and to exit, within `seconds`."""
    return {"type": "drain", "seconds": seconds}


def change_message(spec: WorkerSpec) -> Message:
    """Order the worker to continue with another spec of the same sensors: identities, settings, stages, pauses."""
    numbers: dict[Settings, int] = {}  # each distinct Settings is sent once: the sensors of a pack share theirs

    def number(settings: Settings) -> int:
        return numbers.setdefault(settings, len(numbers))

    sensors = [
        {
            "identity": identity_to_json(sensor.identity),
            "settings": number(sensor.settings),
            "stages": [(stage.at_us, number(stage.settings)) for stage in sensor.stages],
            "pauses": [(pause.from_us, pause.until_us) for pause in sensor.pauses],
        }
        for sensor in spec.sensors
    ]
    settings = [settings_to_json(each) for each in numbers]
    return {"type": "change", "log_level": spec.log_level, "settings": settings, "sensors": sensors}


def apply_change(spec: WorkerSpec, message: Message) -> WorkerSpec:
    """Return `spec` with the identities, settings, stages, pauses and log level of a change message."""
    settings = [settings_from_json(each) for each in message["settings"]]
    sensors = tuple(
        replace(
            sensor,
            identity=identity_from_json(change["identity"]),
            settings=settings[change["settings"]],
            stages=tuple(Stage(at_us, settings[number]) for at_us, number in change["stages"]),
            pauses=tuple(Pause(from_us, until_us) for from_us, until_us in change["pauses"]),
        )
        for sensor, change in zip(spec.sensors, message["sensors"], strict=True)
    )
    return replace(spec, sensors=sensors, log_level=message["log_level"])
