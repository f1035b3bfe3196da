"""The supervisor: which worker runs, which is restarted, which is stopped; nothing else.

One thread, no HTTP. The loop waits for signals, for whatever `watch` was asked to wait for, and for the next time
something is due; then it reaps, decides and acts. What to do after a death is a pure function of the deaths so far.
"""

from __future__ import annotations

import logging
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from worker.board import Board
from worker.child import Body, meaning
from worker.hangs import Hangs
from worker.nursery import Nursery
from worker.process import SETTLED, UNSETTLED
from worker.report import mark
from worker.restarts import Bucket, Policy, backoff
from worker.services import SHORTAGE, Services
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
        make_template: Callable[[], Template],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.board, self.policy, self._clock = board, policy, clock
        self._nursery = Nursery(make_template, self._nursery_moved)
        self.slots: dict[str, Slot] = {}
        self.tell: Callable[[Event], None] = lambda _: None
        self.events: list[Event] = []
        self._services = Services(policy, self.note)
        self._incarnation = run_number << 24
        self._selector = selectors.DefaultSelector()
        self._timers: list[list[Any]] = []
        self._draining: float | None = None
        self._bucket = Bucket(policy, policy.fleet_burst, clock())
        self._hangs = Hangs(board, policy.hang, clock())
        self._outcome = Outcome()
        # Nothing wakes this process when a worker dies that an earlier template has forked.
        self.every(1.0, self._reap)

    # What others ask for

    def add(self, specs: Sequence[WorkerSpec]) -> None:
        self._nursery.teach(specs)
        for spec in specs:
            leaving = self.slots.get(spec.name)
            if leaving is not None and leaving.child is not None:  # removed a moment ago, and still draining
                leaving.spec, leaving.after = spec, "restart"
                continue
            self.slots[spec.name] = Slot(spec, due=self._clock())
            self._mark(self.slots[spec.name], "pending")

    def serve(self, name: str, body: Body, keep: tuple[int, ...] = ()) -> None:
        """Keep a process running beside the workers, with the open descriptors `keep`."""
        self._services.add(name, body, keep)

    def watch(self, source: socket.socket, ready: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, ready)

    def unwatch(self, source: socket.socket) -> None:
        self._selector.unregister(source)

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append([self._clock() + seconds, seconds, action])

    def restart(self, name: str, spec: WorkerSpec | None = None) -> None:
        """Drain a worker and start it anew, by a new spec if given, with a fresh budget. KeyError if there is none."""
        slot = self.slots[name]
        slot.deaths = ()
        self._outcome.failed = [other for other in self._outcome.failed if other != name]
        slot.spec = spec or slot.spec
        self._nursery.teach([slot.spec])
        if slot.phase == "running":
            slot.after = "restart"
            self._drain_slot(slot)
        else:
            self._schedule(slot, 0.0)
        self.note(name, "restart asked for")

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
        if self._draining is not None:
            self.note("fleet", "killed on request")
            self._outcome.killed_by_request = True
            self._kill()
            return
        self._draining = self._clock() + self.policy.drain + 2
        self.note("fleet", "draining")
        for slot in list(self.slots.values()):
            if slot.phase == "running":
                self._drain_slot(slot)
            elif slot.phase == "waiting":
                self._end(slot, "stopped")

    def note(self, worker: str, text: str) -> None:
        event = Event(time.time(), worker, text)
        self.events = [*self.events[-199:], event]
        self.tell(event)
        log.info("%s: %s", worker, text)

    @property
    def draining(self) -> bool:
        return self._draining is not None

    # The loop

    def run(self) -> Outcome:
        """Supervise until every worker has ended. Must be called on the main thread."""
        with Wakeup(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD) as wakeup:
            self.watch(wakeup.socket, lambda: self._signalled(wakeup.numbers()))
            self.watch(self._nursery.socket, self._reap)
            try:
                while not self._finished():
                    for key, _ in self._selector.select(self._act()):
                        key.data()
                return self._outcome
            finally:
                self._close()

    def _signalled(self, numbers: list[int]) -> None:
        for number in numbers:
            if number != signal.SIGCHLD:
                self.drain()
        self._reap()

    def _act(self) -> float:
        """Do all that is due. Returns the seconds until something else may be."""
        now = self._clock()
        self._start_due(now)
        self._check_hangs(now)
        self._check_deadlines(now)
        for timer in self._timers:
            if now >= timer[0]:
                timer[0] = now + timer[1]
                timer[2]()
        waiting = [slot.due for slot in self.slots.values() if slot.phase == "waiting"]
        return max(0.0, min(now + 1.0, *waiting, *(float(timer[0]) for timer in self._timers)) - self._clock())

    def _finished(self) -> bool:
        return all(slot.phase == "ended" for slot in self.slots.values())

    # Starting
    def _start_due(self, now: float) -> None:
        due = [slot for slot in self.slots.values() if slot.phase == "waiting" and slot.due <= now][:SPAWNS_PER_TURN]
        allowed = [slot for slot in due if not slot.deaths or self._bucket.take(now)]
        for slot in due:
            if slot not in allowed:
                slot.due = now + 1 / self.policy.fleet_rate
        if allowed:
            self._start(allowed)
        else:
            self._services.start_due(now)

    def _start(self, slots: list[Slot]) -> None:
        for slot in slots:
            self._incarnation += 1
            self._mark(slot, "starting")
            slot.phase, slot.after, slot.kill_at = "running", "end", None
        first = self._incarnation - len(slots) + 1
        wanted = [(slot.spec.name, first + number) for number, slot in enumerate(slots)]
        for slot, child in zip(slots, self._nursery.spawn(wanted), strict=True):
            if isinstance(child, OSError):
                self._refused(slot, child)
            else:
                slot.child = child

    def _refused(self, slot: Slot, error: OSError) -> None:
        """The system has no room for a process: that is nobody's death, and will be tried again."""
        reason = f"no process can be started: {error.strerror}"
        if slot.trouble != reason:
            self.note(slot.spec.name, reason)
        slot.trouble = reason
        self._schedule(slot, SHORTAGE)
        self._mark(slot, "restarting", reason)

    def _nursery_moved(self, old: socket.socket, new: socket.socket) -> None:
        self.unwatch(old)
        self.watch(new, self._reap)
        self.note("template", "died, another was started; the workers go on")

    def _schedule(self, slot: Slot, delay: float) -> None:
        slot.phase, slot.due = "waiting", self._clock() + delay

    # Ending
    def _drain_slot(self, slot: Slot) -> None:
        assert slot.child
        slot.child.order(order="drain", seconds=self.policy.drain)
        slot.kill_at = self._clock() + self.policy.drain + 2

    def _reap(self) -> None:
        self._nursery.receive()
        for slot in list(self.slots.values()):
            if slot.child is not None and (code := slot.child.exit_code()) is not None:
                slot.child.release()
                slot.child = None
                self._ended(slot, code)
        self._services.reap(self._clock())

    def _ended(self, slot: Slot, code: int) -> None:
        """A worker is gone: by order, because its run is over, or by accident."""
        if code == SETTLED and slot.after == "restart" and self._draining is None:
            self._schedule(slot, 0.0)
            self._mark(slot, "restarting")
        elif code == SETTLED:
            self._end(slot, "absent" if slot.after == "remove" else "")
        elif self._draining is not None or slot.after == "remove":
            (self._outcome.unsettled if code == UNSETTLED else self._outcome.killed).append(slot.spec.name)
            self.note(slot.spec.name, f"ended with {meaning(code)} while draining")
            # One that could not write has said so itself, with the reason.
            self._end(slot, "" if code == UNSETTLED else "stopped", meaning(code))
        else:
            self._crashed(slot, code)

    def _crashed(self, slot: Slot, code: int) -> None:
        now = self._clock()
        slot.deaths = (*slot.deaths, now)[-self.policy.budget - 1 :]
        delay = backoff(slot.deaths, now, self.policy, random.random())
        if delay is None:
            reason = f"died {len(slot.deaths)} times, last by {meaning(code)}"
            self._outcome.failed.append(slot.spec.name)
            self._end(slot, "failed", reason)
            self.note(slot.spec.name, f"failed: {reason}")
        else:
            self._schedule(slot, delay)
            self._mark(slot, "restarting", meaning(code), died=True)
            self.note(slot.spec.name, f"died by {meaning(code)}, restart in {delay:.1f} s")

    def _end(self, slot: Slot, state: str, reason: str = "") -> None:
        slot.phase = "ended"
        if state:
            self._mark(slot, state, reason)
        if slot.after == "remove":
            del self.slots[slot.spec.name]

    def _check_hangs(self, now: float) -> None:
        """Kill workers that hang: first for a stack dump, then for good."""
        for slot in self._hangs.find(self.slots.values(), now):
            self.note(slot.spec.name, f"no heartbeat for {self.policy.hang:.0f} s, killing it")
            assert slot.child
            slot.child.signal(signal.SIGABRT, signal.SIGCONT)
            slot.kill_at = now + 1.0

    def _check_deadlines(self, now: float) -> None:
        for slot in self.slots.values():
            if slot.child is not None and slot.kill_at is not None and now >= slot.kill_at:
                slot.child.signal(signal.SIGKILL)
                slot.kill_at = now + 5.0

    def _kill(self) -> None:
        for slot in self.slots.values():
            if slot.child is not None:
                slot.child.signal(signal.SIGKILL)

    def _close(self) -> None:
        """Leave no process behind, whatever ended the loop."""
        self._kill()
        self._services.close()
        self._nursery.close()

    def _mark(self, slot: Slot, state: str, reason: str = "", *, died: bool = False) -> None:
        mark(self.board, slot.spec, self._incarnation, state, reason, died=died)
