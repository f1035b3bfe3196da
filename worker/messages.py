"""The messages that a supervisor sends to a running worker over its lifeline, each one line of JSON.

To add a message: one function here that makes it, one case in `Worker._handle_message` (`worker.process`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from worker.spec import Pause, Settings, Stage, WorkerSpec
from worker.storage.schema import identity_from_json, identity_to_json, settings_from_json, settings_to_json

Message = dict[str, Any]
"""A message as JSON has it; `type` says which one it is."""


def drain_message(seconds: float) -> Message:
    """Order the worker to write all readings that are due and to exit, within `seconds`."""
    return {"type": "drain", "seconds": seconds}


def change_message(spec: WorkerSpec, before: WorkerSpec) -> Message:
    """Order the worker to continue with another spec of the same sensors: identities, settings, stages, pauses. It has the
    spec `before`, whose stages are not sent again: a scenario may have thousands."""
    numbers: dict[Settings, int] = {}  # each distinct Settings is sent once: the sensors of a pack share theirs

    def number(settings: Settings) -> int:
        return numbers.setdefault(settings, len(numbers))

    sensors = [
        {
            "identity": identity_to_json(sensor.identity),
            "settings": number(sensor.settings),
            "stages": stages_message(sensor.stages, known.stages, number),
            "pauses": [(pause.from_us, pause.until_us) for pause in sensor.pauses],
        }
        for sensor, known in zip(spec.sensors, before.sensors, strict=True)
    ]
    settings = [settings_to_json(each) for each in numbers]
    return {"type": "change", "log_level": spec.log_level, "settings": settings, "sensors": sensors}


def stages_message(
    stages: tuple[Stage, ...], before: tuple[Stage, ...], number: Callable[[Settings], int]
) -> dict[str, Any]:
    """Return stages as the numbers of those `before` that stay at the beginning and at the end, and the ones between."""
    kept = common_length(stages, before)
    kept_at_end = common_length(stages[kept:][::-1], before[kept:][::-1])
    new = stages[kept : len(stages) - kept_at_end]
    return {"first": kept, "last": kept_at_end, "new": [(stage.at_us, number(stage.settings)) for stage in new]}


def common_length(one: tuple[Stage, ...], other: tuple[Stage, ...]) -> int:
    """Return the number of equal stages at the beginning of both."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def apply_change(spec: WorkerSpec, message: Message) -> WorkerSpec:
    """Return `spec` with the identities, settings, stages, pauses and log level of a change message."""
    settings = [settings_from_json(each) for each in message["settings"]]
    sensors = tuple(
        replace(
            sensor,
            identity=identity_from_json(change["identity"]),
            settings=settings[change["settings"]],
            stages=changed_stages(sensor.stages, change["stages"], settings),
            pauses=tuple(Pause(from_us, until_us) for from_us, until_us in change["pauses"]),
        )
        for sensor, change in zip(spec.sensors, message["sensors"], strict=True)
    )
    return replace(spec, sensors=sensors, log_level=message["log_level"])


def changed_stages(before: tuple[Stage, ...], change: dict[str, Any], settings: list[Settings]) -> tuple[Stage, ...]:
    """Return the stages of a change message for a sensor that has those `before`."""
    new = tuple(Stage(at_us, settings[number]) for at_us, number in change["new"])
    return (*before[: change["first"]], *new, *before[len(before) - change["last"] :])
