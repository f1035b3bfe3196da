"""The operator's hand in a running fleet: injections, pauses and probabilities, laid over what the config says.

Each is on record before any worker is told, and goes to the workers as a change of their specs, so that one that is dead
or stands still comes to it as well.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleet.configuration.sections import moment
from fleet.control.commands import Answer, Cancel, Inject, Pause, Probability, Resume
from fleet.errors import UserError
from fleet.quotes import legible
from fleet.running.beginning import microseconds
from fleet.running.helm import Helm
from fleet.running.selection import choose, listed
from fleet.storage.interventions import FIRST, NOTHING, Injected, Interventions
from fleet.storage.roster import Member
from worker import spec
from worker.board import Board
from worker.clock import elapsed_ns
from worker.schedule import SECOND, text

SIZES = {"spike": (0.001, 1000.0), "trend": (-100.0, 100.0), "pattern": (0.001, 100_000.0), "noise": (0.001, 1000.0)}
"""What the size of each type may be."""

MOST_AT_ONCE = 100
"""Injections that are not over: each is one more stage for its sensors."""

MOST_PAUSES = 100


class Hand:
    """To be called by the supervisor's loop. `file` keeps what is laid over the config."""

    def __init__(self, helm: Helm, board: Board, file: Path) -> None:
        self._helm, self._board, self._file = helm, board, file
        if helm.planner.interventions != NOTHING:  # of an earlier run, which had another clock
            with suppress(UserError):
                self._keep(self.laid)

    @property
    def laid(self) -> Interventions:
        return self._helm.planner.interventions

    def inject(self, command: Inject) -> Answer:
        """The same id again changes nothing. UserError where it cannot be done."""
        self._helm.check_steady()
        asked = command.model_dump_json(exclude={"id", "by"})
        there = self.laid.injection(command.id) if command.id is not None else None
        if there is not None:
            if there.asked != asked:
                raise UserError(f"the injection {there.id} is another one: {described(there)}; take another id")
            return told(there, new=False)
        if sum(not each.settled for each in self.laid.injections) >= MOST_AT_ONCE:
            raise UserError(f"{MOST_AT_ONCE} injections are under way; wait until one is over, or cancel it")
        chosen = choose(self._helm.plan.members, command)
        check_shape(command, chosen)
        begin = self._begin(command.at)
        slowest = min(member.rate for member in chosen)  # each is to have a reading in it
        length = max(round(command.seconds * SECOND), -(-SECOND // slowest))
        injection = Injected(
            id=command.id or secrets.token_hex(4),
            type=command.type,
            channel=command.channel,
            size=command.size,
            sensors=tuple(member.sensor_id for member in chosen),
            count=len(chosen),
            from_us=begin,
            until_us=begin + int(length),
            asked=asked,
        )
        self._lay(replace(self.laid, injections=(*self.laid.injections, injection)))
        self._note("inject", f"injection {injection.id}: {described(injection)}", injection.sensors)
        return told(injection, new=True)

    def cancel(self, command: Cancel) -> Answer:
        """End an injection now, or take it back; one that is over stays as it was."""
        self._helm.check_steady()
        injection = self.laid.injection(command.id)
        if injection is None:
            there = listed(each.id for each in self.laid.injections)
            raise UserError(f"there is no injection {legible(command.id)}; there are {there}")
        if injection.state(self._now()) in ("over", "cancelled"):
            return told(injection, new=False)
        cancelled = replace(injection, cancelled_us=self._now())
        self._lay(self._with(cancelled))
        self._note("cancel", f"injection {injection.id} is cancelled", injection.sensors)
        return told(cancelled, new=True)

    def pause(self, command: Pause) -> Answer:
        self._helm.check_steady()
        chosen = choose(self._helm.plan.members, command)
        sensors = [member.sensor_id for member in chosen if not self.laid.paused(member.sensor_id)]
        begun = {
            sensor: (*self.laid.pauses.get(sensor, ())[-MOST_PAUSES:], spec.Pause(self._now())) for sensor in sensors
        }
        return self._change("pause", replace(self.laid, pauses={**self.laid.pauses, **begun}), chosen, sensors)

    def resume(self, command: Resume) -> Answer:
        self._helm.check_steady()
        chosen = choose(self._helm.plan.members, command)
        sensors = [member.sensor_id for member in chosen if self.laid.paused(member.sensor_id)]
        ended = {sensor: ended_now(self.laid.pauses[sensor], self._now()) for sensor in sensors}
        return self._change("resume", replace(self.laid, pauses={**self.laid.pauses, **ended}), chosen, sensors)

    def set_probability(self, command: Probability) -> Answer:
        self._helm.check_steady()
        chosen = choose(self._helm.plan.members, command)
        wanted = command.probability
        sensors = [m.sensor_id for m in chosen if self.laid.probabilities.get(m.sensor_id) != wanted]
        others = {sensor: p for sensor, p in self.laid.probabilities.items() if sensor not in set(sensors)}
        probabilities = others if wanted is None else {**others, **dict.fromkeys(sensors, wanted)}
        what = "as in the config" if wanted is None else f"{wanted:g}"
        laid = replace(self.laid, probabilities=probabilities)
        return self._change("probability", laid, chosen, sensors, f"anomalies.probability {what}")

    def under_way(self) -> list[str]:
        """The injections that run or will, one line each."""
        now = self._now()
        open_ = [each for each in self.laid.injections if each.state(now) in ("planned", "running")]
        return [f"injection {each.id}: {described(each)}, {each.count} sensors" for each in open_]

    def __call__(self) -> None:
        """See what is over, so that it need not be told to anybody any more."""
        now = self._now()
        ended = [each for each in self.laid.injections if not each.settled and each.end_us <= now]
        if not ended and not self.laid.pauses:
            return
        settled = self._settled()
        done = {each.id for each in ended if all(settled.get(s, each.end_us) >= each.end_us for s in each.sensors)}
        pauses = {
            sensor: left
            for sensor, some in self.laid.pauses.items()
            if (left := tuple(p for p in some if p.until_us is None or settled.get(sensor, p.until_us) < p.until_us))
        }
        if not done and pauses == dict(self.laid.pauses):
            return
        injections = tuple(each.laid_to_rest() if each.id in done else each for each in self.laid.injections)
        laid = replace(self.laid, injections=injections, pauses=pauses).bounded()
        try:
            self._keep(laid)
        except UserError:  # the disk is full: it is over another time
            return
        # Not worth telling the workers: what is over changes nothing for them. They hear of it with the next change.
        self._helm.planner = self._helm.planner.with_interventions(laid)
        for injection in ended:
            if injection.id in done and injection.cancelled_us is None:
                self._note("inject", f"injection {injection.id} is over", injection.sensors)

    # How

    def _change(
        self, kind: str, laid: Interventions, chosen: Sequence[Member], sensors: Sequence[str], what: str = ""
    ) -> Answer:
        if sensors:
            self._lay(laid)
            self._note(kind, what or f"{kind}d", tuple(sensors))
        ids = [member.sensor_id for member in chosen[:FIRST]]
        return {"sensors": len(chosen), "changed": len(sensors), "ids": ids}

    def _lay(self, laid: Interventions) -> None:
        """All or nothing, and on record first: what a worker does has to be known to the one that follows this process."""
        before = self.laid
        self._keep(laid)
        try:
            self._helm.intervene(laid)
        except UserError:
            self._keep(before)
            raise

    def _keep(self, laid: Interventions) -> None:
        run = self._helm.plan.run
        try:
            replace(laid, clock=(run.start_us, run.origin_ns)).write(self._file)
        except OSError as error:
            raise UserError(f"{self._file}: cannot be written: {error.strerror}") from error

    def _with(self, injection: Injected) -> Interventions:
        injections = (injection if each.id == injection.id else each for each in self.laid.injections)
        return replace(self.laid, injections=tuple(injections))

    def _begin(self, at: str | None) -> int:
        now, end = self._now(), self._helm.plan.run.end_us
        if at is None:
            return now
        try:
            begin = microseconds(moment(at))
        except ValueError as error:
            raise UserError(f"at: {legible(at)} {error}") from error
        if begin < now:
            raise UserError(f"at: {text(begin)} is over; in the fleet it is {text(now)}")
        if end is not None and begin >= end:
            raise UserError(f"at: {text(begin)} is after the end of this run, which is at {text(end)}")
        return begin

    def _now(self) -> int:
        """Simulated time."""
        run = self._helm.plan.run
        return run.start_us + (elapsed_ns() - run.origin_ns) // 1000

    def _settled(self) -> dict[str, int]:
        """The simulated time of the last reading that each sensor has written."""
        members = self._helm.plan.members
        times: list[int] = self._board.rows["timestamp_us"][[member.row for member in members]].tolist()
        return {member.sensor_id: time for member, time in zip(members, times, strict=True)}

    def _note(self, kind: str, what: str, sensors: tuple[str, ...]) -> None:
        named = ", ".join(sensors[:3]) + (", ..." if len(sensors) > 3 else "")
        count = f"{len(sensors)} sensor{'s' if len(sensors) != 1 else ''}"
        self._helm.supervisor.note("fleet", what, kind, f"{count}: {named}", sensors)


def check_shape(command: Inject, chosen: Sequence[Member]) -> None:
    """UserError unless channel and size are such as the type and the sensors have."""
    if command.size is not None:
        if command.type not in SIZES:
            raise UserError(f"size: {command.type} has none")
        least, most = SIZES[command.type]
        if not least <= command.size <= most or command.size == 0:
            raise UserError(f"size: {command.size:g} is not between {least:g} and {most:g}, as {command.type} has it")
    if command.channel is not None:
        if command.type == "missing_data":
            raise UserError("channel: missing_data has none; whole readings are missing")
        for member in chosen:
            names = [name for name, _ in member.channels]
            if command.channel not in names:
                asked = legible(command.channel)
                raise UserError(f"channel: {member.sensor_id} has no {asked}, but {', '.join(names)}")


def ended_now(pauses: Sequence[spec.Pause], now_us: int) -> tuple[spec.Pause, ...]:
    return tuple(
        replace(pause, until_us=max(now_us, pause.from_us)) if pause.until_us is None else pause for pause in pauses
    )


def described(injection: Injected) -> str:
    where = f" in {injection.channel}" if injection.channel else ""
    size = f" of size {injection.size:g}" if injection.size is not None else ""
    return f"{injection.type}{size}{where}, {text(injection.from_us)} to {text(injection.until_us)}"


def told(injection: Injected, *, new: bool) -> dict[str, Any]:
    """An injection as an answer."""
    return {
        "id": injection.id,
        "new": new,
        "type": injection.type,
        "sensors": injection.count,
        "ids": list(injection.sensors[:FIRST]),
        "from": text(injection.from_us),
        "until": text(injection.end_us),
    }
