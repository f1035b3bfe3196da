"""The supervisor: decides which workers run, restarts those that die, stops those that are no longer wanted.

It has one thread and no HTTP. Its loop waits for signals, watched sockets and the next due time, never for an answer; then
it reaps, decides and acts. Decisions are pure functions in `worker.supervision.restart_policy`. Use it from the main
thread:

    scoreboard = Scoreboard.create(folder / "board", capacity=len(specs))
    log = LogSpec(folder / "fleet.log")
    supervisor = Supervisor(
        scoreboard, RestartPolicy(), run_number=1, make_forkserver=lambda group: ForkServer(folder / "board", log, group)
    )
    supervisor.on_event = print
    supervisor.add(specs)  # one WorkerSpec per process
    outcome = supervisor.run()  # until every worker has ended; SIGINT and SIGTERM drain
    sys.exit(0 if outcome.clean else 1)

Inside the loop, `every` and `watch` call back; the callbacks may `add`, `change`, `restart` and `remove` workers, and
`drain` the fleet.
"""

from __future__ import annotations

import logging
import math
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from worker.messages import drain_message
from worker.metrics import record_state
from worker.scoreboard import Scoreboard
from worker.spec import WorkerSpec
from worker.supervision.child import EXIT_UNKNOWN, ProcessMain
from worker.supervision.event_loop import EventLoop
from worker.supervision.exit_status import exit_status
from worker.supervision.forkserver import ForkServer
from worker.supervision.restart_policy import RestartPolicy, TokenBucket, decide_restart
from worker.supervision.services import RELEASE_TIMEOUT_SECONDS, Services
from worker.supervision.signals import SignalSocket
from worker.supervision.slot import Event, Outcome, Slot
from worker.supervision.spawner import Spawner
from worker.supervision.watchdog import WATCHDOG_INTERVAL_SECONDS, Watchdog

log = logging.getLogger("supervisor")

MAX_SPAWNS_PER_TURN = 20
"""Workers started in one turn of the loop, so that signals and control messages never wait long."""

MAX_RECENT_EVENTS = 200
"""Events that `Supervisor.events` keeps."""

KILL_GRACE_SECONDS = 2.0
"""Seconds beyond its drain time after which a worker is killed."""


class Supervisor:
    """Supervises the workers of one fleet.

    `run_number` grows with each run on a data directory and orders the incarnations of workers across runs.
    `make_forkserver` starts a fork server in the given process group, 0 for a new one. `slots` has a slot for each
    worker, by name. `on_event` is called with each event, `events` has the last MAX_RECENT_EVENTS of them. `draining` is
    true once the fleet has been ordered to end.
    """

    def __init__(
        self,
        scoreboard: Scoreboard,
        policy: RestartPolicy,
        run_number: int,
        make_forkserver: Callable[[int], ForkServer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scoreboard, self.policy = scoreboard, policy
        self.slots: dict[str, Slot] = {}
        self.on_event: Callable[[Event], None] = lambda _: None
        self.events: list[Event] = []
        self._loop = loop = EventLoop(clock)
        self._spawner = Spawner(make_forkserver, loop, policy, self._reap, self.record_event)
        self._services = Services(policy, self.record_event)
        self._incarnation = run_number << 24
        self.draining = False
        self._restart_tokens = TokenBucket(policy, policy.fleet_burst, loop.now)
        self._watchdog = Watchdog(scoreboard, policy.hang_seconds)
        self._outcome = Outcome()
        self.every(WATCHDOG_INTERVAL_SECONDS, self._poll)

    # Orders

    def add(self, specs: Sequence[WorkerSpec]) -> None:
        """Start workers, each as soon as possible. A worker that is being removed is restarted by its new spec."""
        self._spawner.register(specs)
        for spec in specs:
            removed = self.slots.get(spec.name)
            if removed is not None and removed.child is not None:  # it still drains
                removed.spec, removed.after_exit = spec, "restart"
                continue
            self.slots[spec.name] = Slot(spec, due=self._loop.now)
            self._record_state(self.slots[spec.name], "pending")

    def add_service(
        self,
        name: str,
        body: ProcessMain,
        keep: tuple[int, ...] = (),
        release_seconds: float = RELEASE_TIMEOUT_SECONDS,
    ) -> None:
        """Keep a service process running beside the workers, with the open descriptors `keep`. After the last worker it has
        `release_seconds` to end."""
        self._services.add(name, body, keep, release_seconds)

    def watch(self, source: socket.socket, ready: Callable[[], None]) -> None:
        """Call `ready` in the loop whenever `source` is readable."""
        self._loop.watch(source, ready)

    def unwatch(self, source: socket.socket) -> None:
        """Stop watching `source`."""
        self._loop.unwatch(source)

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` in the loop every `seconds`."""
        self._loop.every(seconds, action)

    def restart(self, name: str, spec: WorkerSpec | None = None) -> None:
        """Drain a worker and start it again with a fresh restart budget, by a new spec if given.

        Has no effect while the fleet drains. Raises KeyError for an unknown name.
        """
        slot = self.slots[name]
        if self.draining:
            return
        slot.deaths = ()
        self._outcome.failed = [other for other in self._outcome.failed if other != name]
        slot.spec = spec or slot.spec
        self._spawner.register([slot.spec])
        if slot.phase == "running":
            slot.after_exit = "restart"
            self._drain_slot(slot)
        else:
            self._schedule(slot, 0.0)
        self.record_event(name, "restart requested", "restart")

    def change(self, specs: Sequence[WorkerSpec]) -> None:
        """Change running workers to new specs of the same sensors; the others start with them. Raises KeyError."""
        self._spawner.change(specs)
        for spec in specs:
            self.slots[spec.name].change(spec)

    def remove(self, names: Iterable[str]) -> None:
        """Drain workers and forget them. Raises KeyError for an unknown name."""
        for name in names:
            slot = self.slots[name]
            slot.after_exit = "remove"
            if slot.phase == "running":
                self._drain_slot(slot)
            else:
                self._end(slot, "absent")

    def drain(self) -> None:
        """Have all workers write what is due and exit; the run ends after that. The second call kills them at once."""
        if self.draining:
            self.record_event("fleet", "killed on request", "stop")
            self._outcome.killed_by_request = True
            for slot in self.slots.values():
                slot.kill_at = self._loop.now
            return
        self.draining = True
        self.record_event("fleet", "draining", "stop")
        self._spawner.begin_drain()
        for slot in list(self.slots.values()):
            if slot.phase == "running":
                self._drain_slot(slot)
            elif slot.phase == "waiting":
                self._give_up(slot)

    def record_event(
        self, worker: str, text: str, kind: str = "note", effect: str = "", sensors: tuple[str, ...] = ()
    ) -> None:
        """Log an event, keep it in `events` and pass it to `on_event`. The arguments are the fields of `Event`."""
        event = Event(time.time(), worker, text, kind, effect, sensors)
        self.events = [*self.events[-(MAX_RECENT_EVENTS - 1) :], event]
        self.on_event(event)
        log.info("%s", event)

    # The loop

    def run(self) -> Outcome:
        """Supervise until every worker has ended. Must be called on the main thread. SIGINT, SIGTERM, SIGHUP drain."""
        with SignalSocket(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD) as signals:
            self.watch(signals.socket, lambda: self._handle_signals(signals.received()))
            try:
                while not self._finished():
                    self._loop.run_once(self._act())
                return self._outcome
            finally:
                self._close(signals)

    def _handle_signals(self, numbers: list[int]) -> None:
        for number in numbers:
            if number != signal.SIGCHLD:
                self.drain()
        self._reap()

    def _act(self) -> float:
        """Do everything that is due. Returns the time of the next start."""
        now = self._loop.now
        self._start_due(now)
        self._check_deadlines(now)
        return min((slot.due for slot in self._waiting()), default=math.inf)

    def _poll(self) -> None:
        """Poll for conditions that no socket or signal reports."""
        self._reap()  # the exit of a worker that an earlier fork server has forked
        for slot in self._watchdog.check(self.slots.values()):
            self.record_event(slot.spec.name, f"no heartbeat for {self.policy.hang_seconds:.0f} s, killing it", "hang")
            assert slot.child
            slot.child.signal(signal.SIGABRT, signal.SIGCONT)  # a stack dump first
            slot.kill_at = self._loop.now + 1.0
        self._services.check()
        self._spawner.check()

    def _finished(self) -> bool:
        return all(slot.phase == "ended" for slot in self.slots.values())

    # Starting

    def _start_due(self, now: float) -> None:
        due = [slot for slot in self._waiting() if slot.due <= now][:MAX_SPAWNS_PER_TURN]
        allowed = [slot for slot in due if not slot.deaths or self._restart_tokens.take(now)]
        for slot in due:
            if slot not in allowed:
                slot.due = now + 1 / self.policy.fleet_rate
        if allowed:
            self._start(allowed)
        elif not self._spawner.busy:
            self._services.start_due(now)

    def _waiting(self) -> list[Slot]:
        """Return the slots that wait for their start; none of them while spawns are pending."""
        return [] if self._spawner.busy else [slot for slot in self.slots.values() if slot.phase == "waiting"]

    def _start(self, slots: list[Slot]) -> None:
        for slot in slots:
            self._incarnation += 1
            self._record_state(slot, "starting")
            slot.phase, slot.after_exit, slot.kill_at, slot.incarnation = "running", "end", None, self._incarnation
            slot.running_spec = slot.spec
        children = self._spawner.spawn([(slot.spec.name, slot.incarnation) for slot in slots])
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
        slot.child.send_message(drain_message(self.policy.drain_seconds))
        slot.kill_at = self._loop.now + self.policy.drain_seconds + KILL_GRACE_SECONDS

    def _reap(self) -> None:
        for slot in list(self.slots.values()):
            if slot.child is not None:
                end = exit_status(self.scoreboard, slot, asked_to_end=self.draining or slot.after_exit != "end")
                if end is not None:
                    self._ended(slot, end)
        self._services.reap(self._loop.now)

    def _ended(self, slot: Slot, end: int | OSError) -> None:
        """Decide what follows the exit of a worker, or its failed start, and carry it out."""
        if slot.child is not None:
            slot.child.close_lifeline()
            slot.child = None
        now = self._loop.now
        decision = decide_restart(
            slot, end, draining=self.draining, now=now, policy=self.policy, jitter=random.random()
        )
        if decision.died:
            slot.deaths = (*slot.deaths, now)[-self.policy.budget - 1 :]
        slot.spawn_error = decision.reason if isinstance(end, OSError) else ""
        if decision.outcome_list:
            getattr(self._outcome, decision.outcome_list).append(slot.spec.name)
        if decision.delay is None:
            self._end(slot, decision.state, decision.reason)
        else:
            self._schedule(slot, decision.delay)
            self._record_state(slot, decision.state, decision.reason, died=decision.died)
        if decision.message:
            self.record_event(slot.spec.name, decision.message, decision.kind)

    def _end(self, slot: Slot, state: str, reason: str = "") -> None:
        slot.phase = "ended"
        if state:
            self._record_state(slot, state, reason)
        if slot.after_exit == "remove":
            del self.slots[slot.spec.name]

    def _give_up(self, slot: Slot) -> None:
        """End a slot that waits for its start. After a death, or if no process could be started, due readings are left
        unwritten."""
        if slot.deaths or slot.spawn_error:
            self._outcome.pending.append(slot.spec.name)
            how = "restarted" if slot.deaths else "started"
            self.record_event(slot.spec.name, f"not {how}: due readings are left to the next run")
        self._end(slot, "stopped")

    def _check_deadlines(self, now: float) -> None:
        for slot in list(self.slots.values()):
            child = slot.child
            if child is None or slot.kill_at is None or now < slot.kill_at or child.spawn_pending:
                continue
            if child.pid is None:  # its process id is unknown: the next incarnation fences it
                self._ended(slot, EXIT_UNKNOWN)
            else:
                child.signal(signal.SIGKILL)
                slot.kill_at = now + 5.0

    def _close(self, signals: SignalSocket) -> None:
        """End all processes, also after an exception in the loop. A further signal hurries the services."""
        for slot in self.slots.values():
            if slot.child is not None:
                slot.child.signal(signal.SIGKILL)
                slot.child.close_lifeline()
        self._services.close(
            lambda: self._outcome.killed_by_request or bool(set(signals.received()) - {signal.SIGCHLD})
        )
        self._spawner.close()

    def _record_state(self, slot: Slot, state: str, reason: str = "", *, died: bool = False) -> None:
        record_state(self.scoreboard, slot.spec, self._incarnation, state, reason, died=died)
