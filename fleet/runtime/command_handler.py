"""The handler of commands to a running fleet: dispatches each to the part that carries it out.

Events of a command are recorded on behalf of the client that sent it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from fleet.datadir.events import EventLog
from fleet.errors import UserError
from fleet.escaping import escape_short
from fleet.runtime.commands import (
    Answer,
    AnyCommand,
    Cancel,
    Command,
    Down,
    Inject,
    InjectFault,
    Pause,
    Probability,
    Restart,
    Resume,
    Scale,
    StartRollout,
    Status,
)
from fleet.runtime.fault_injection import FaultInjection
from fleet.runtime.reconciler import Reconciler
from fleet.runtime.reload import Reloader
from fleet.runtime.rollout import Rollout, Rollouts


class CommandHandler:
    """Carries out commands and answers them."""

    def __init__(
        self,
        reconciler: Reconciler,
        reload: Reloader,
        rollouts: Rollouts,
        fault_injection: FaultInjection,
        events: EventLog,
    ) -> None:
        self._reconciler, self._reload, self._rollouts = reconciler, reload, rollouts
        self._fault_injection, self._events = fault_injection, events
        self._handlers: Mapping[type[Command], Callable[[Any], Answer]] = {
            Status: self._status,
            Down: self._down,
            Scale: self._scale,
            Restart: self._restart,
            StartRollout: self._roll_out,
            Inject: fault_injection.inject,
            InjectFault: fault_injection.inject_fault,
            Cancel: fault_injection.cancel,
            Pause: fault_injection.pause,
            Resume: fault_injection.resume,
            Probability: fault_injection.set_probability,
        }

    def handle(self, command: AnyCommand) -> Answer:
        """Carry out a command and return its answer. Raises UserError."""
        with self._events.on_behalf_of(command.by):
            return self._handlers[type(command)](command)

    def _down(self, _: Down) -> Answer:
        if not self._reconciler.supervisor.draining:
            self._reconciler.supervisor.drain()
        return {"pid": os.getpid()}

    def _scale(self, command: Scale) -> Answer:
        before = self._reconciler.scale(command.count)
        return {"before": before, "count": len(self._reconciler.plan.members)}

    def _roll_out(self, command: StartRollout) -> Answer:
        step, every = command.step or command.share, command.every or 1.0
        return dict(self._rollouts.start(Rollout(command.firmware, command.share, step, every)))

    def _restart(self, command: Restart) -> Answer:
        self._reconciler.check_not_draining()
        for member in self._reconciler.plan.members:
            if member.sensor_id == command.sensor:
                self._reconciler.supervisor.restart(member.worker)
                return {"worker": member.worker}
        raise UserError(f"there is no sensor {escape_short(command.sensor)} in this fleet")

    def _status(self, _: Status) -> Answer:
        supervisor, members = self._reconciler.supervisor, self._reconciler.plan.members
        events = [{"time": event.time, "worker": event.worker, "text": event.message} for event in supervisor.events]
        return {
            "pid": os.getpid(),
            "draining": supervisor.draining,
            "events": events[-20:],
            "reload": asdict(self._reload.report),
            "rollout": self._rollouts.progress(),
            "interventions": {
                "injections": self._fault_injection.open_injections(),
                **self._fault_injection.interventions.counts({member.sensor_id for member in members}),
            },
        }
