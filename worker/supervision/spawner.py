"""The spawner: starts workers through a fork server, and replaces the fork server when it dies or hangs."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Sequence

from worker.spec import WorkerSpec
from worker.supervision.child import Child
from worker.supervision.event_loop import EventLoop
from worker.supervision.forkserver import ForkServer
from worker.supervision.restart_policy import RestartPolicy
from worker.supervision.watchdog import MIN_MISSED_CHECKS, WATCHDOG_INTERVAL_SECONDS

FORKSERVER_NAME = "forkserver"
"""The name of the fork server in events."""

MAX_FAILED_STARTS = 3
"""Fork servers that may die in a row at the start of a run before any was ready; more of them are a bug."""

START_TIMEOUT_SECONDS = 60.0
"""Seconds that a fork server has until its first answer: it starts an interpreter, on a machine that may be busy."""

DRAIN_TIMEOUT_SECONDS = 5.0
"""Seconds of silence after which it is killed while the fleet drains: only exit codes are expected of it then."""


class Spawner:
    """Owns a fork server that knows the specs of all workers, or starts one. No call blocks.

    When a fork server dies its workers keep running; their exits are then seen by their lifelines.
    `make_forkserver` takes the process group to join, 0 for a new one. `on_change` is called when there may be a new
    exit code or a refusal, `record_event` takes a process name and a text.
    """

    def __init__(
        self,
        make_forkserver: Callable[[int], ForkServer],
        loop: EventLoop,
        policy: RestartPolicy,
        on_change: Callable[[], None],
        record_event: Callable[[str, str], None],
    ) -> None:
        self._make, self._loop, self._policy = make_forkserver, loop, policy
        self._on_change, self._record_event = on_change, record_event
        self._specs: dict[str, WorkerSpec] = {}
        self._stale: set[str] = set()
        """The names of specs that the fork server does not have yet."""
        self._forkserver: ForkServer | None = None
        self._refusal = OSError()
        self._group = 0
        self._missed_checks = self._last_answer_count = 0
        self._failed_starts, self._ever_ready = 0, False
        self._draining = False
        self._due = loop.now
        self._replace()

    def register(self, specs: Sequence[WorkerSpec]) -> None:
        """Add specs by the names of their workers, or replace them."""
        self.change(specs)
        if self._forkserver:
            self._register(self._forkserver, [spec.name for spec in specs])
            self._watch(self._forkserver)

    def change(self, specs: Sequence[WorkerSpec]) -> None:
        """Replace the specs of running workers. The fork server gets them when it starts those workers again: a scenario
        makes specs large."""
        self._specs |= {spec.name: spec for spec in specs}
        self._stale |= {spec.name for spec in specs}

    @property
    def busy(self) -> bool:
        """Whether spawns are pending; more are better requested later."""
        return self._forkserver is not None and self._forkserver.busy

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child | OSError]:
        """Request a process for each (worker, incarnation) pair. Returns children, or the errors that refuse them."""
        if self._forkserver is None:
            return [self._refusal for _ in wanted]
        self._register(self._forkserver, [name for name, _ in wanted if name in self._stale])
        children = self._forkserver.spawn(wanted)
        self._watch(self._forkserver)
        return children

    def check(self) -> None:
        """Start a fork server if there is none, kill one that hangs. Call once per WATCHDOG_INTERVAL_SECONDS."""
        forkserver = self._forkserver
        if forkserver is None:
            if self._loop.now >= self._due and not self._draining:
                self._replace()
            return
        answered = forkserver.answer_count != self._last_answer_count
        self._missed_checks = 0 if answered else self._missed_checks + 1
        self._last_answer_count = forkserver.answer_count
        limit = self._max_missed_checks(forkserver)
        if self._missed_checks >= limit:
            self._discard(forkserver, f"no answer for {limit * WATCHDOG_INTERVAL_SECONDS:.0f} s, killed")
        else:
            forkserver.ping()
            self._watch(forkserver)

    def begin_drain(self) -> None:
        """Stop replacing the fork server: no more workers will be started."""
        self._draining = True

    def close(self) -> None:
        """Kill the fork server and all workers that are left in its process group."""
        if self._forkserver:
            self._loop.unwatch(self._forkserver.socket)
            self._forkserver.close()

    def _max_missed_checks(self, forkserver: ForkServer) -> int:
        """Return the number of checks in a row without an answer after which the fork server is killed."""
        seconds = self._policy.hang_seconds
        if not forkserver.answer_count:
            seconds = max(START_TIMEOUT_SECONDS, seconds)
        if self._draining:
            seconds = min(seconds, DRAIN_TIMEOUT_SECONDS, self._policy.drain_seconds)
        return max(MIN_MISSED_CHECKS, math.ceil(seconds / WATCHDOG_INTERVAL_SECONDS))

    def _receive(self, forkserver: ForkServer) -> None:
        changed = forkserver.receive()
        self._watch(forkserver)
        if changed:
            self._on_change()

    def _watch(self, forkserver: ForkServer) -> None:
        """Wait for its answers, and for room to send what is queued. Discard it if it has died."""
        if forkserver.connected:
            self._loop.watch(forkserver.socket, lambda: self._receive(forkserver), writable=forkserver.unsent)
        elif forkserver is self._forkserver:
            self._discard(forkserver, "died")

    def _discard(self, forkserver: ForkServer, how: str) -> None:
        self._forkserver = None
        self._loop.unwatch(forkserver.socket)
        forkserver.kill()
        if forkserver.answer_count:
            self._ever_ready, self._failed_starts, self._due = True, 0, self._loop.now
        else:
            self._failed_starts += 1
            delay = self._policy.backoff_min * 2.0 ** (self._failed_starts - 1)
            self._due = self._loop.now + min(delay, self._policy.backoff_max)
            if self._failed_starts >= MAX_FAILED_STARTS and not self._ever_ready:
                raise RuntimeError(f"the fork server died {MAX_FAILED_STARTS} times before it was ready")
        self._refusal = ChildProcessError(errno.ECHILD, "the fork server died")
        if self._draining:
            self._record_event(FORKSERVER_NAME, f"{how}; the workers keep running")
        else:
            self._record_event(FORKSERVER_NAME, f"{how}, starting another; the workers keep running")
            if self._loop.now >= self._due:
                self._replace()
        self._on_change()  # its last answers may have been exit codes

    def _replace(self) -> None:
        try:
            forkserver = self._start_server()
        except OSError as error:
            if error.errno != self._refusal.errno:
                self._record_event(FORKSERVER_NAME, f"cannot be started: {error.strerror}")
            self._refusal = error
            return
        self._forkserver, self._refusal, self._group = forkserver, OSError(), forkserver.group
        self._last_answer_count, self._missed_checks = -1, 0
        self._register(forkserver, list(self._specs))
        self._watch(forkserver)

    def _register(self, forkserver: ForkServer, names: Sequence[str]) -> None:
        if names:
            forkserver.register([self._specs[name] for name in names])
            self._stale -= {*names}

    def _start_server(self) -> ForkServer:
        try:
            return self._make(self._group)
        except PermissionError:  # the group of the previous fork server has no members left
            return self._make(0)
