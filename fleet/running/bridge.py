"""The bridge of a running fleet: where a command becomes what is done, and who asked for it goes on record."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from fleet.control.commands import (
    Answer,
    AnyCommand,
    Cancel,
    Command,
    Down,
    Inject,
    Pause,
    Probability,
    Restart,
    Resume,
    Roll,
    Scale,
    Status,
)
from fleet.errors import UserError
from fleet.quotes import legible
from fleet.running.hand import Hand
from fleet.running.helm import Helm
from fleet.running.reload import Reload
from fleet.running.rollout import Rollout, Rollouts
from fleet.storage.event_log import EventLog


class Bridge:
    """Answers commands. UserError for what cannot be done."""

    def __init__(self, helm: Helm, reload: Reload, rollouts: Rollouts, hand: Hand, events: EventLog) -> None:
        self._helm, self._reload, self._rollouts, self._hand, self._events = helm, reload, rollouts, hand, events
        self._doers: Mapping[type[Command], Callable[[Any], Answer]] = {
            Status: self._status,
            Down: self._down,
            Scale: self._scale,
            Restart: self._restart,
            Roll: self._roll_out,
            Inject: hand.inject,
            Cancel: hand.cancel,
            Pause: hand.pause,
            Resume: hand.resume,
            Probability: hand.set_probability,
        }

    def handle(self, command: AnyCommand) -> Answer:
        """What became of it."""
        with self._events.on_behalf_of(command.by):
            return self._doers[type(command)](command)

    def _down(self, _: Down) -> Answer:
        if not self._helm.supervisor.draining:
            self._helm.supervisor.drain()
        return {"pid": os.getpid()}

    def _scale(self, command: Scale) -> Answer:
        before = self._helm.scale(command.count)
        return {"before": before, "count": len(self._helm.plan.members)}

    def _roll_out(self, command: Roll) -> Answer:
        step, every = command.step or command.share, command.every or 1.0
        return dict(self._rollouts.start(Rollout(command.firmware, command.share, step, every)))

    def _restart(self, command: Restart) -> Answer:
        self._helm.check_steady()
        for member in self._helm.plan.members:
            if member.sensor_id == command.sensor:
                self._helm.supervisor.restart(member.worker)
                return {"worker": member.worker}
        raise UserError(f"there is no sensor {legible(command.sensor)} in this fleet")

    def _status(self, _: Status) -> Answer:
        supervisor, members = self._helm.supervisor, self._helm.plan.members
        events = [{"time": event.time, "worker": event.worker, "text": event.told} for event in supervisor.events]
        return {
            "pid": os.getpid(),
            "draining": supervisor.draining,
            "events": events[-20:],
            "reload": asdict(self._reload.report),
            "rollout": self._rollouts.progress(),
            "interventions": {
                "injections": self._hand.under_way(),
                **self._hand.laid.counts({member.sensor_id for member in members}),
            },
        }
