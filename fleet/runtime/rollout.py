"""A firmware roll-out: some sensors of a running fleet get another firmware, all at once or a step at a time.

Who they are follows from a hash of their ids, so the same share of the same fleet is always the same sensors, and a
larger share has all of a smaller one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

from fleet import atomic_write
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.identities.files import StoredIdentity, set_firmware
from fleet.runtime.reconciler import Reconciler

log = logging.getLogger("rollout")


@dataclass(frozen=True, slots=True)
class Rollout:
    """Sensors of a kind that has `firmware` get it: first a `step` of them, another one `every` so many seconds, until
    it is the `share`. `steps` are those that were taken."""

    firmware: str
    share: float
    step: float
    every: float
    steps: int = 0

    @property
    def finished(self) -> bool:
        return self.share_after(self.steps) >= self.share_after(self.steps + 1)

    def share_after(self, steps: int) -> Fraction:
        """The share that has it after so many steps."""
        return min(Fraction(str(self.share)), steps * Fraction(str(self.step)))


class Rollouts:
    """The roll-outs of a running fleet, one at a time. `file` keeps the one that is under way, so that the next start
    of the fleet goes on with it. To be called by the supervisor's loop."""

    def __init__(self, reconciler: Reconciler, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._reconciler, self._file, self._clock = reconciler, file, clock
        self._rollout = read_rollout(file)
        self._next = clock() + self._rollout.every if self._rollout else 0.0

    def start(self, rollout: Rollout) -> Mapping[str, Any]:
        """Take the first step. UserError where it cannot be done, or another one is under way."""
        other = self._rollout
        if not self._reconciler.accepts_changes:
            raise UserError("the fleet is stopping")
        if other is not None and not other.finished and other.firmware != rollout.firmware:
            raise UserError(
                f"the roll-out of {other.firmware} is under way, next step in {self._left():.0f} s; let it end first"
            )
        over = self._reconciler.planner.overridden_firmware
        if over is not None:
            raise UserError(f"all sensors have the firmware {over} by the environment variable SENSOR_FIRMWARE")
        if not self._ranked(rollout.firmware):
            known = sorted(
                {
                    name
                    for sensor in self._reconciler.plan.stored
                    for name in self._reconciler.planner.firmware_of(sensor)
                }
            )
            raise UserError(f"{escape_short(rollout.firmware)} is not a firmware of these sensors: {', '.join(known)}")
        self._take_step(rollout)
        self._next = self._clock() + rollout.every
        return self.progress() or {}

    def __call__(self) -> None:
        rollout = self._rollout
        if rollout and not rollout.finished and self._reconciler.accepts_changes and self._clock() >= self._next:
            self._next = self._clock() + rollout.every
            try:
                self._take_step(rollout)
            except UserError as error:
                self._reconciler.supervisor.record_event("fleet", f"roll-out: {error}", "trouble")

    def progress(self) -> dict[str, Any] | None:
        """How far it is: how many sensors have the firmware, how many it may have, and how many will."""
        rollout = self._rollout
        if rollout is None:
            return None
        ranked = self._ranked(rollout.firmware)
        return {
            "firmware": rollout.firmware,
            "sensors": sum(sensor.identity.firmware_version == rollout.firmware for sensor in ranked),
            "target": ceil(Fraction(str(rollout.share)) * len(ranked)),
            "of": len(ranked),
            "next_in": None if rollout.finished else round(self._left(), 1),
        }

    def _take_step(self, rollout: Rollout) -> None:
        """All of it or nothing: after a UserError it is as if it had not been tried."""
        rollout = replace(rollout, steps=rollout.steps + 1)
        ranked = self._ranked(rollout.firmware)
        chosen = ranked[: ceil(rollout.share_after(rollout.steps) * len(ranked))]
        behind = [sensor for sensor in chosen if sensor.identity.firmware_version != rollout.firmware]
        if behind:
            self._install(behind, rollout.firmware)
        self._rollout = rollout
        self._save()
        self._reconciler.supervisor.record_event(
            "fleet",
            f"firmware {rollout.firmware} on {len(behind)} more sensors, {len(chosen)} now",
            "rollout",
            sensors=tuple(sensor.sensor_id for sensor in behind),
        )

    def _install(self, sensors: Sequence[StoredIdentity], firmware: str) -> None:
        folder = self._reconciler.planner.identities
        written = []
        try:
            for sensor in sensors:  # the files first: what they say is what a start goes by
                set_firmware(folder, sensor.sensor_id, firmware)
                written.append(sensor)
            self._reconciler.change_identities(
                {
                    sensor.sensor_id: replace(sensor, identity=replace(sensor.identity, firmware_version=firmware))
                    for sensor in sensors
                }
            )
        except UserError:
            for sensor in written:
                with suppress(UserError):
                    set_firmware(folder, sensor.sensor_id, sensor.identity.firmware_version)
            raise

    def _ranked(self, firmware: str) -> list[StoredIdentity]:
        """The sensors of kinds that have the firmware, in the order in which they get it."""
        planner = self._reconciler.planner
        able = [sensor for sensor in self._reconciler.plan.stored if firmware in planner.firmware_of(sensor)]
        return sorted(able, key=lambda sensor: hashlib.sha256(f"{firmware}\0{sensor.sensor_id}".encode()).digest())

    def _left(self) -> float:
        return max(0.0, self._next - self._clock())

    def _save(self) -> None:
        assert self._rollout
        try:
            if self._rollout.finished:
                self._file.unlink(missing_ok=True)
            else:
                atomic_write.replace_file(self._file, json.dumps(asdict(self._rollout)))
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._file, error.strerror)


def read_rollout(file: Path) -> Rollout | None:
    """The roll-out that an earlier run has not ended; none where what is there cannot be understood."""
    try:
        kept = Rollout(**json.loads(file.read_text(encoding="utf-8")))
        return kept if kept.every > 0 and kept.share_after(1) > 0 else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s: a roll-out that cannot be read is not continued: %s", file, error)
        return None
