"""The supervisor: which worker runs, which is restarted, which is stopped; nothing else.

One thread, no HTTP. It waits for signals, for whatever `watch` was asked to wait for, and for the next time something
is due, but for nobody's answer; then it reaps, decides and acts. What to do after a death is a pure function of the
deaths so far.
"""

from __future__ import annotations

import logging
import math
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from worker.board import Board
from worker.child import LOST, Body
from worker.fate import fate
from worker.hangs import PERIOD, Hangs
from worker.loop import Loop
from worker.nursery import Nursery
from worker.report import mark
from worker.restarts import Bucket, Policy
from worker.sequel import sequel
from worker.services import Services
from worker.slot import Event, Outcome, Slot
from worker.spec import WorkerSpec
from worker.template import Template
from worker.wakeup import Wakeup

log = logging.getLogger("supervisor")

SPAWNS_PER_TURN = 20
"""Forks between two looks at signals and control messages."""


class Supervisor:
    """Supervises the workers of one fleet. `run_number` orders incarnations across runs."""

    def __init__(
        self,
        board: Board,
        policy: Policy,
        run_number: int,
        make_template: Callable[[int], Template],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.board, self.policy = board, policy
        self.slots: dict[str, Slot] = {}
        self.tell: Callable[[Event], None] = lambda _: None
        self.events: list[Event] = []
        self._loop = loop = Loop(clock)
        self._nursery = Nursery(make_template, loop, policy, self._reap, self.note)
        self._services = Services(policy, self.note)
        self._incarnation = run_number << 24
        self.draining = False
        self._bucket = Bucket(policy, policy.fleet_burst, loop.now)
        self._hangs = Hangs(board, policy.hang)
        self._outcome = Outcome()
        self.every(PERIOD, self._look)

    # What others ask for

    def add(self, specs: Sequence[WorkerSpec]) -> None:
        self._nursery.teach(specs)
        for spec in specs:
            leaving = self.slots.get(spec.name)
            if leaving is not None and leaving.child is not None:  # removed a moment ago, and still draining
                leaving.spec, leaving.after = spec, "restart"
                continue
            self.slots[spec.name] = Slot(spec, due=self._loop.now)
            self._mark(self.slots[spec.name], "pending")

    def serve(self, name: str, body: Body, keep: tuple[int, ...] = ()) -> None:
        """Keep a process running beside the workers, with the open descriptors `keep`."""
        self._services.add(name, body, keep)

    def watch(self, source: socket.socket, ready: Callable[[], None]) -> None:
        self._loop.watch(source, ready)

    def unwatch(self, source: socket.socket) -> None:
        self._loop.unwatch(source)

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        self._loop.every(seconds, action)

    def restart(self, name: str, spec: WorkerSpec | None = None) -> None:
        """Drain a worker and start it anew, by a new spec if given, with a fresh budget. KeyError if there is none.
        Nothing is started any more while the fleet drains."""
        slot = self.slots[name]
        if self.draining:
            return
        slot.deaths = ()
        self._outcome.failed = [other for other in self._outcome.failed if other != name]
        slot.spec = spec or slot.spec
        self._nursery.teach([slot.spec])
        if slot.phase == "running":
            slot.after = "restart"
            self._drain_slot(slot)
        else:
            self._schedule(slot, 0.0)
        self.note(name, "restart asked for", "restart")

    def change(self, specs: Sequence[WorkerSpec]) -> None:
        """Have workers go on by new specs of the same sensors; those that do not run start by them."""
        self._nursery.teach(specs)
        for spec in specs:
            self.slots[spec.name].change(spec)

    def remove(self, names: Iterable[str]) -> None:
        """Drain workers and forget them."""
        for name in names:
            slot = self.slots[name]
            slot.after = "remove"
            if slot.phase == "running":
                self._drain_slot(slot)
            else:
                self._end(slot, "absent")

    def drain(self) -> None:
        """Have everything that is due committed, then end. Asked for a second time: kill at once."""
        if self.draining:
            self.note("fleet", "killed on request", "stop")
            self._outcome.killed_by_request = True
            for slot in self.slots.values():
                slot.kill_at = self._loop.now
            return
        self.draining = True
        self.note("fleet", "draining", "stop")
        self._nursery.leave()
        for slot in list(self.slots.values()):
            if slot.phase == "running":
                self._drain_slot(slot)
            elif slot.phase == "waiting":
                self._give_up(slot)

    def note(self, worker: str, text: str, kind: str = "note", effect: str = "", sensors: tuple[str, ...] = ()) -> None:
        event = Event(time.time(), worker, text, kind, effect, sensors)
        self.events = [*self.events[-199:], event]
        self.tell(event)
        log.info("%s", event)

    # The loop

    def run(self) -> Outcome:
        """Supervise until every worker has ended. Must be called on the main thread."""
        with Wakeup(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD) as wakeup:
            self.watch(wakeup.socket, lambda: self._signalled(wakeup.numbers()))
            try:
                while not self._finished():
                    self._loop.turn(self._act())
                return self._outcome
            finally:
                self._close()

    def _signalled(self, numbers: list[int]) -> None:
        for number in numbers:
            if number != signal.SIGCHLD:
                self.drain()
        self._reap()

    def _act(self) -> float:
        """Do all that is due. Returns when something else may be."""
        now = self._loop.now
        self._start_due(now)
        self._check_deadlines(now)
        return min((slot.due for slot in self._waiting()), default=math.inf)

    def _look(self) -> None:
        """What has to be found out, for nobody tells."""
        self._reap()  # nothing wakes this process when a worker ends that an earlier template has forked
        for slot in self._hangs.look(self.slots.values()):
            self.note(slot.spec.name, f"no heartbeat for {self.policy.hang:.0f} s, killing it", "hang")
            assert slot.child
            slot.child.signal(signal.SIGABRT, signal.SIGCONT)  # first for a stack dump, then for good
            slot.kill_at = self._loop.now + 1.0
        self._services.look()
        self._nursery.look()

    def _finished(self) -> bool:
        return all(slot.phase == "ended" for slot in self.slots.values())

    # Starting
    def _start_due(self, now: float) -> None:
        due = [slot for slot in self._waiting() if slot.due <= now][:SPAWNS_PER_TURN]
        allowed = [slot for slot in due if not slot.deaths or self._bucket.take(now)]
        for slot in due:
            if slot not in allowed:
                slot.due = now + 1 / self.policy.fleet_rate
        if allowed:
            self._start(allowed)
        elif not self._nursery.busy:
            self._services.start_due(now)

    def _waiting(self) -> list[Slot]:
        """Those that are started when they are due; as long as others are being started, that is nobody."""
        return [] if self._nursery.busy else [slot for slot in self.slots.values() if slot.phase == "waiting"]

    def _start(self, slots: list[Slot]) -> None:
        for slot in slots:
            self._incarnation += 1
            self._mark(slot, "starting")
            slot.phase, slot.after, slot.kill_at, slot.incarnation = "running", "end", None, self._incarnation
            slot.begun = slot.spec
        children = self._nursery.spawn([(slot.spec.name, slot.incarnation) for slot in slots])
        for slot, child in zip(slots, children, strict=True):
            if isinstance(child, OSError):
                self._ended(slot, child)
            else:
                slot.child = child

    def _schedule(self, slot: Slot, delay: float) -> None:
        slot.phase, slot.due = "waiting", self._loop.now + delay

    # Ending
    def _drain_slot(self, slot: Slot) -> None:
        assert slot.child
        slot.child.order(order="drain", seconds=self.policy.drain)
        slot.kill_at = self._loop.now + self.policy.drain + 2

    def _reap(self) -> None:
        for slot in list(self.slots.values()):
            if slot.child is not None:
                end = fate(self.board, slot, told=self.draining or slot.after != "end")
                if end is not None:
                    self._ended(slot, end)
        self._services.reap(self._loop.now)

    def _ended(self, slot: Slot, end: int | OSError) -> None:
        """A worker is gone: by order, because its run is over, or by accident; or it never was."""
        if slot.child is not None:
            slot.child.release()
            slot.child = None
        now = self._loop.now
        then = sequel(slot, end, draining=self.draining, now=now, policy=self.policy, jitter=random.random())
        if then.died:
            slot.deaths = (*slot.deaths, now)[-self.policy.budget - 1 :]
        slot.trouble = then.reason if isinstance(end, OSError) else ""
        if then.blame:
            getattr(self._outcome, then.blame).append(slot.spec.name)
        if then.delay is None:
            self._end(slot, then.state, then.reason)
        else:
            self._schedule(slot, then.delay)
            self._mark(slot, then.state, then.reason, died=then.died)
        if then.told:
            self.note(slot.spec.name, then.told, then.kind)

    def _end(self, slot: Slot, state: str, reason: str = "") -> None:
        slot.phase = "ended"
        if state:
            self._mark(slot, state, reason)
        if slot.after == "remove":
            del self.slots[slot.spec.name]

    def _give_up(self, slot: Slot) -> None:
        """Of one that has died and is not started again, something may be due that nobody has committed."""
        if slot.deaths:
            self._outcome.unsettled.append(slot.spec.name)
            self.note(slot.spec.name, "was waiting for its restart: what is due is left to the next run")
        self._end(slot, "stopped")

    def _check_deadlines(self, now: float) -> None:
        for slot in list(self.slots.values()):
            child = slot.child
            if child is None or slot.kill_at is None or now < slot.kill_at or child.awaited:
                continue
            if child.pid is None:  # it runs, but nobody can say which process it is: its successor fences it
                self._ended(slot, LOST)
            else:
                child.signal(signal.SIGKILL)
                slot.kill_at = now + 5.0

    def _close(self) -> None:
        """Leave no process behind, whatever ended the loop."""
        for slot in self.slots.values():
            if slot.child is not None:
                slot.child.signal(signal.SIGKILL)
                slot.child.release()
        self._services.close()
        self._nursery.close()

    def _mark(self, slot: Slot, state: str, reason: str = "", *, died: bool = False) -> None:
        mark(self.board, slot.spec, self._incarnation, state, reason, died=died)
