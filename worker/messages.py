"""The order to go on by other settings, as a supervisor sends it to a running worker: one line of JSON."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from worker.spec import Identity, Pause, Settings, Stage, WorkerSpec
from worker.storage.schema import settings_from_json, settings_to_json

Message = dict[str, Any]


def change_message(spec: WorkerSpec) -> Message:
    """Go on by the identities, settings, stages and pauses of `spec`, whose sensors are those that the worker has."""
    known: dict[Settings, int] = {}  # the sensors of a pack share theirs

    def number(settings: Settings) -> int:
        return known.setdefault(settings, len(known))

    sensors = [
        {
            "identity": asdict(sensor.identity),
            "settings": number(sensor.settings),
            "stages": [(stage.at_us, number(stage.settings)) for stage in sensor.stages],
            "pauses": [(pause.from_us, pause.until_us) for pause in sensor.pauses],
        }
        for sensor in spec.sensors
    ]
    settings = [settings_to_json(each) for each in known]
    return {"order": "change", "log_level": spec.log_level, "settings": settings, "sensors": sensors}


def apply_change(spec: WorkerSpec, order: Message) -> WorkerSpec:
    """`spec` as a change orders it."""
    settings = [settings_from_json(each) for each in order["settings"]]
    sensors = tuple(
        replace(
            sensor,
            identity=Identity(**told["identity"]),
            settings=settings[told["settings"]],
            stages=tuple(Stage(at_us, settings[number]) for at_us, number in told["stages"]),
            pauses=tuple(Pause(from_us, until_us) for from_us, until_us in told["pauses"]),
        )
        for sensor, told in zip(spec.sensors, order["sensors"], strict=True)
    )
    return replace(spec, sensors=sensors, log_level=order["log_level"])
