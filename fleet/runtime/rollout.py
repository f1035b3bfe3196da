"""Firmware rollouts: a share of the sensors of a running fleet gets another firmware, at once or in steps.

A hash of the sensor ids determines the sensors. The same share of the same fleet is therefore always the same sensors,
and a larger share contains every smaller one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Annotated, Any

from fleet.datadir.state_file import Bounds, InvalidValue, load_state, save_state
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.identities.files import StoredIdentity, set_firmware
from fleet.runtime.reconciler import Reconciler

log = logging.getLogger("rollout")


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout of `firmware` to the sensors whose type has it: to the share `step` of them at first, to the same share
    again after each `every` seconds of simulated time, until the `share` is reached. `steps` have been taken so far."""

    firmware: str
    share: Annotated[float, Bounds(0, 1)]
    step: Annotated[float, Bounds(0, 1)]
    every: float
    steps: Annotated[int, Bounds(least=0)] = 0

    @property
    def finished(self) -> bool:
        return self.share_after(self.steps) >= self.share_after(self.steps + 1)

    def share_after(self, steps: int) -> Fraction:
        """Return the share that has the firmware after that many steps."""
        return min(Fraction(str(self.share)), steps * Fraction(str(self.step)))


class Rollouts:
    """The rollouts of a running fleet, one at a time. The file keeps the present one, so that the next start of the fleet
    continues it. `clock` gives simulated seconds. The supervisor's loop calls the object to take the steps that are due."""

    def __init__(self, reconciler: Reconciler, file: Path, clock: Callable[[], float]) -> None:
        self._reconciler, self._file, self._clock = reconciler, file, clock
        self._rollout = read_rollout(file)
        self._next = clock() + self._rollout.every if self._rollout else 0.0

    def start(self, rollout: Rollout) -> Mapping[str, Any]:
        """Take the first step. Raises UserError if that is impossible or another rollout is under way."""
        other = self._rollout
        if not self._reconciler.accepts_changes:
            raise UserError("the fleet is stopping")
        if other is not None and not other.finished and other.firmware != rollout.firmware:
            raise UserError(
                f"the roll-out of {other.firmware} is under way, next step in {self._left():.0f} s; let it end first"
            )
        override = self._reconciler.planner.overridden_firmware
        if override is not None:
            raise UserError(f"all sensors have the firmware {override} by the environment variable SENSOR_FIRMWARE")
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
        """Return the number of sensors that have the firmware, that will have it at the end, and that could have it."""
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
        """Take one step, all or nothing. After a UserError nothing has changed."""
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
            for sensor in sensors:  # the files first: the next start reads them
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
        """Return the sensors whose type has the firmware, in the order in which they get it."""
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
                write_rollout(self._file, self._rollout)
        except OSError as error:
            log.warning("%s: cannot be written: %s", self._file, error.strerror)


def read_rollout(file: Path) -> Rollout | None:
    """Read the rollout that an earlier run has not finished. A file that cannot be read counts as none, and a warning in
    the log says why."""
    try:
        return load_state(file, Rollout, check_positive)
    except FileNotFoundError:
        return None
    except (OSError, UserError) as error:
        log.warning("a rollout that cannot be read is not continued: %s", error)
        return None


def write_rollout(file: Path, rollout: Rollout) -> None:
    """Replace the file. Raises OSError, and UserError for what could not be read."""
    save_state(file, rollout, check_positive)


def check_positive(rollout: Rollout) -> None:
    """Raise InvalidValue for a rollout that would never advance."""
    for name in ("share", "step", "every"):
        value = getattr(rollout, name)
        if value <= 0:
            raise InvalidValue(value, "is not above 0", name)
