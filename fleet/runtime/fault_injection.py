"""Fault injection by an operator: injections, pauses and probabilities that override the config of a running fleet.

Each is saved before any worker learns of it, and reaches the workers as a change of their specs, so that a worker that
is dead or stopped takes it up later.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fleet.config.delivery_faults import single_fault, unreachable_target
from fleet.config.sections import valid_timestamp
from fleet.datadir.interventions import MAX_SENSORS_LISTED, NO_INTERVENTIONS, InjectionRecord, Interventions
from fleet.datadir.roster import Member
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.runtime.commands import Answer, Cancel, Inject, InjectFault, Pause, Probability, Resume
from fleet.runtime.reconciler import Reconciler
from fleet.runtime.selectors import format_choices, select_sensors
from fleet.runtime.simulation_clock import iso_to_microseconds
from worker import spec
from worker.clock import elapsed_ns
from worker.readings.anomalies import anomaly_class
from worker.schedule import SECOND_US, format_time
from worker.scoreboard import Scoreboard

MAX_OPEN_INJECTIONS = 100
"""Injections that are not over; each adds stages to its sensors."""

MAX_PAUSES_PER_SENSOR = 100


class FaultInjection:
    """The interventions of a running fleet, saved in `file`. The supervisor's loop calls the object to settle those that
    are over."""

    def __init__(
        self, reconciler: Reconciler, scoreboard: Scoreboard, file: Path, targets: tuple[str, ...] = ()
    ) -> None:
        """`targets` are those that the fleet delivers to."""
        self._reconciler, self._board, self._file, self._targets = reconciler, scoreboard, file, targets
        if reconciler.planner.interventions != NO_INTERVENTIONS:  # of an earlier run, whose clock was another
            with suppress(UserError):
                self._save(self.interventions)

    @property
    def interventions(self) -> Interventions:
        return self._reconciler.planner.interventions

    def inject(self, command: Inject) -> Answer:
        """Add an anomaly; the same command with the same id again changes nothing. Raises UserError."""
        return self._inject(command, partial(check_channel_and_size, command), channel=command.channel)

    def inject_fault(self, command: InjectFault) -> Answer:
        """Add a fault of the way to the targets, from which the delivery process learns by the file. Raises UserError."""
        return self._inject(command, lambda _: check_fault(command, self._targets), probability=command.probability)

    def _inject(
        self,
        command: Inject | InjectFault,
        check: Callable[[Sequence[Member]], None],
        *,
        channel: str | None = None,
        probability: float | None = None,
    ) -> Answer:
        self._reconciler.check_not_draining()
        command_text = command.model_dump_json(exclude={"id", "by"})
        existing = self.interventions.injection(command.id) if command.id is not None else None
        if existing is not None:
            if existing.asked != command_text:
                raise UserError(
                    f"the injection {existing.id} is another one: {describe_injection(existing)}; take another id"
                )
            return injection_answer(existing, new=False)
        if sum(not each.settled for each in self.interventions.injections) >= MAX_OPEN_INJECTIONS:
            raise UserError(f"{MAX_OPEN_INJECTIONS} injections are under way; wait until one is over, or cancel it")
        chosen = select_sensors(self._reconciler.plan.members, command)
        check(chosen)
        begin = self._start_us(command.at)
        slowest = min(member.rate for member in chosen)  # each must have a reading in it
        length = max(round(command.seconds * SECOND_US), -(-SECOND_US // slowest))
        injection = InjectionRecord(
            id=command.id or secrets.token_hex(4),
            type=command.type,
            channel=channel,
            size=command.size,
            sensors=tuple(member.sensor_id for member in chosen),
            count=len(chosen),
            from_us=begin,
            until_us=begin + int(length),
            asked=command_text,
            probability=probability,
            everyone=len(chosen) == len(self._reconciler.plan.members),
        )
        self._apply(replace(self.interventions, injections=(*self.interventions.injections, injection)))
        self._note("inject", f"injection {injection.id}: {describe_injection(injection)}", injection.sensors)
        return injection_answer(injection, new=True)

    def cancel(self, command: Cancel) -> Answer:
        """End an injection that is running, or cancel a planned one. One that is over stays as it was."""
        self._reconciler.check_not_draining()
        injection = self.interventions.injection(command.id)
        if injection is None:
            choices = format_choices(each.id for each in self.interventions.injections)
            raise UserError(f"there is no injection {escape_short(command.id)}; there are {choices}")
        if injection.state(self._now_us()) in ("over", "cancelled"):
            return injection_answer(injection, new=False)
        cancelled = replace(injection, cancelled_us=self._now_us())
        self._apply(self._replacing(cancelled))
        self._note("cancel", f"injection {injection.id} is cancelled", injection.sensors)
        return injection_answer(cancelled, new=True)

    def pause(self, command: Pause) -> Answer:
        self._reconciler.check_not_draining()
        chosen = select_sensors(self._reconciler.plan.members, command)
        sensors = [member.sensor_id for member in chosen if not self.interventions.paused(member.sensor_id)]
        begun = {
            sensor: (*self.interventions.pauses.get(sensor, ())[-MAX_PAUSES_PER_SENSOR:], spec.Pause(self._now_us()))
            for sensor in sensors
        }
        return self._change(
            "pause", replace(self.interventions, pauses={**self.interventions.pauses, **begun}), chosen, sensors
        )

    def resume(self, command: Resume) -> Answer:
        self._reconciler.check_not_draining()
        chosen = select_sensors(self._reconciler.plan.members, command)
        sensors = [member.sensor_id for member in chosen if self.interventions.paused(member.sensor_id)]
        ended = {sensor: end_open_pauses(self.interventions.pauses[sensor], self._now_us()) for sensor in sensors}
        return self._change(
            "resume", replace(self.interventions, pauses={**self.interventions.pauses, **ended}), chosen, sensors
        )

    def set_probability(self, command: Probability) -> Answer:
        self._reconciler.check_not_draining()
        chosen = select_sensors(self._reconciler.plan.members, command)
        wanted = command.probability
        sensors = [m.sensor_id for m in chosen if self.interventions.probabilities.get(m.sensor_id) != wanted]
        others = {sensor: p for sensor, p in self.interventions.probabilities.items() if sensor not in set(sensors)}
        probabilities = others if wanted is None else {**others, **dict.fromkeys(sensors, wanted)}
        what = "as in the config" if wanted is None else f"{wanted:g}"
        interventions = replace(self.interventions, probabilities=probabilities)
        return self._change("probability", interventions, chosen, sensors, f"anomalies.probability {what}")

    def open_injections(self) -> list[str]:
        """Describe the injections that are running or planned, one line each."""
        now = self._now_us()
        open_ = [each for each in self.interventions.injections if each.state(now) in ("planned", "running")]
        return [f"injection {each.id}: {describe_injection(each)}, {each.count} sensors" for each in open_]

    def __call__(self) -> None:
        """Settle the injections and drop the pauses whose readings are all written, so that no spec has them any more."""
        now = self._now_us()
        ended = [each for each in self.interventions.injections if not each.settled and each.end_us <= now]
        if not ended and not self.interventions.pauses:
            return
        settled = self._committed_until_us()
        done = {each.id for each in ended if all(settled.get(s, each.end_us) >= each.end_us for s in each.sensors)}
        pauses = {
            sensor: left
            for sensor, some in self.interventions.pauses.items()
            if (left := tuple(p for p in some if p.until_us is None or settled.get(sensor, p.until_us) < p.until_us))
        }
        if not done and pauses == dict(self.interventions.pauses):
            return
        injections = tuple(each.mark_settled() if each.id in done else each for each in self.interventions.injections)
        interventions = replace(self.interventions, injections=injections, pauses=pauses).pruned()
        try:
            self._save(interventions)
        except UserError:  # the disk is full: try again later
            return
        # No worker needs to know: what is over changes nothing for it. The next change of its spec includes this one.
        self._reconciler.planner = self._reconciler.planner.with_interventions(interventions)
        for injection in ended:
            if injection.id in done and injection.cancelled_us is None:
                self._note("inject", f"injection {injection.id} is over", injection.sensors)

    def _change(
        self, kind: str, interventions: Interventions, chosen: Sequence[Member], sensors: Sequence[str], what: str = ""
    ) -> Answer:
        if sensors:
            self._apply(interventions)
            self._note(kind, what or f"{kind}d", tuple(sensors))
        ids = [member.sensor_id for member in chosen[:MAX_SENSORS_LISTED]]
        return {"sensors": len(chosen), "changed": len(sensors), "ids": ids}

    def _apply(self, interventions: Interventions) -> None:
        """Change the interventions of all workers or of none. They are saved first, because the next supervising process must
        know everything that a worker may do."""
        before = self.interventions
        self._save(interventions)
        try:
            self._reconciler.change_interventions(interventions)
        except UserError:
            self._save(before)
            raise

    def _save(self, interventions: Interventions) -> None:
        run = self._reconciler.plan.run
        try:
            replace(interventions, clock=run.clock).write(self._file)
        except OSError as error:
            raise UserError(f"{self._file}: cannot be written: {error.strerror}") from error

    def _replacing(self, injection: InjectionRecord) -> Interventions:
        injections = (injection if each.id == injection.id else each for each in self.interventions.injections)
        return replace(self.interventions, injections=tuple(injections))

    def _start_us(self, at: str | None) -> int:
        now, end = self._now_us(), self._reconciler.plan.run.end_us
        if at is None:
            return now
        try:
            begin = iso_to_microseconds(valid_timestamp(at))
        except ValueError as error:
            raise UserError(f"at: {escape_short(at)} {error}") from error
        if begin < now:
            raise UserError(f"at: {format_time(begin)} is over; in the fleet it is {format_time(now)}")
        if end is not None and begin >= end:
            raise UserError(f"at: {format_time(begin)} is after the end of this run, which is at {format_time(end)}")
        return begin

    def _now_us(self) -> int:
        """Return the simulated time."""
        return self._reconciler.plan.run.clock.now_us(elapsed_ns())

    def _committed_until_us(self) -> dict[str, int]:
        """Return the simulated time of the last reading that each sensor has written."""
        members = self._reconciler.plan.members
        times: list[int] = self._board.rows["timestamp_us"][[member.row for member in members]].tolist()
        return {member.sensor_id: time for member, time in zip(members, times, strict=True)}

    def _note(self, kind: str, what: str, sensors: tuple[str, ...]) -> None:
        named = ", ".join(sensors[:3]) + (", ..." if len(sensors) > 3 else "")
        count = f"{len(sensors)} sensor{'s' if len(sensors) != 1 else ''}"
        self._reconciler.supervisor.record_event("fleet", what, kind, f"{count}: {named}", sensors)


def check_channel_and_size(command: Inject, chosen: Sequence[Member]) -> None:
    """Raise UserError unless the type and the sensors have that channel and size."""
    if command.size is not None:
        size = anomaly_class(command.type).size
        if size is None:
            raise UserError(f"size: {command.type} has none")
        if not size.allows(command.size):
            bounds = f"{size.minimum:g} and {size.maximum:g}"
            raise UserError(f"size: {command.size:g} is not between {bounds}, as {command.type} has it")
    if command.channel is not None:
        if anomaly_class(command.type).channels == "none":
            raise UserError(f"channel: {command.type} has none; it affects whole readings")
        for member in chosen:
            names = [name for name, _ in member.channels]
            if command.channel not in names:
                channel = escape_short(command.channel)
                raise UserError(f"channel: {member.sensor_id} has no {channel}, but {', '.join(names)}")


def check_fault(command: InjectFault, targets: tuple[str, ...]) -> None:
    """Raise UserError unless the fault has that size, and the fleet delivers to targets that it can reach."""
    try:
        fault = single_fault(command.type, command.probability, command.size)
    except ValueError as error:
        raise UserError(f"size: {error}") from None
    if not targets:
        raise UserError("this fleet delivers to no target: faults are put on the way of `fleet up --to`")
    if reason := unreachable_target(fault, targets):
        raise UserError(reason)


def end_open_pauses(pauses: Sequence[spec.Pause], now_us: int) -> tuple[spec.Pause, ...]:
    return tuple(
        replace(pause, until_us=max(now_us, pause.from_us)) if pause.until_us is None else pause for pause in pauses
    )


def describe_injection(injection: InjectionRecord) -> str:
    where = f" in {injection.channel}" if injection.channel else ""
    size = f" of size {injection.size:g}" if injection.size is not None else ""
    if injection.probability is not None:
        where = f" on the way of {100 * injection.probability:.4g}% of the readings"
    return f"{injection.type}{size}{where}, {format_time(injection.from_us)} to {format_time(injection.until_us)}"


def injection_answer(injection: InjectionRecord, *, new: bool) -> dict[str, Any]:
    """Return the answer to a command about an injection."""
    return {
        "id": injection.id,
        "new": new,
        "type": injection.type,
        "sensors": injection.count,
        "ids": list(injection.sensors[:MAX_SENSORS_LISTED]),
        "from": format_time(injection.from_us),
        "until": format_time(injection.end_us),
    }
