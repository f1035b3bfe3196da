"""Where worker processes come from: a template that is replaced when it dies or stands still."""

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

MAX_FAILED_STARTS = 3
"""First templates that may die before they are ready; then it is a bug rather than bad luck."""

START_TIMEOUT_SECONDS = 60.0
"""Seconds that a template has until its first answer: an interpreter is started, on a machine that may be busy."""

DRAIN_TIMEOUT_SECONDS = 5.0
"""Seconds of silence after which it is given up where nothing but exit codes is expected of it."""


class Spawner:
    """Has a template that knows all specs, or is about to. The workers of one that is gone go on without it; how they
    end is then seen by their lifelines. `make_forkserver` takes the process group that they are in. `on_change` is called when
    there may be an exit code or a refusal, `record_event` tells the operator. Nobody is waited for."""

    def __init__(
        self,
        make_forkserver: Callable[[int], ForkServer],
        loop: EventLoop,
        policy: RestartPolicy,
        on_change: Callable[[], None],
        record_event: Callable[[str, str], None],
    ) -> None:
        self._make, self._loop, self._policy, self._on_change, self._record_event = (
            make_forkserver,
            loop,
            policy,
            on_change,
            record_event,
        )
        self._specs: dict[str, WorkerSpec] = {}
        self._template: ForkServer | None = None
        self._refusal = OSError()
        self._group = self._failures = self._silent = self._heard = 0
        self._leaving = self._ever = False
        self._due = loop.now
        self._replace()

    def register(self, specs: Sequence[WorkerSpec]) -> None:
        """Make workers known by their names, or known anew."""
        self._specs |= {spec.name: spec for spec in specs}
        if self._template:
            self._template.register(specs)
            self._watch(self._template)

    @property
    def busy(self) -> bool:
        """Whether it has enough to do for the moment."""
        return self._template is not None and self._template.busy

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child | OSError]:
        """New processes for the (worker, incarnation) pairs, in order, or why none can be had."""
        if self._template is None:
            return [self._refusal for _ in wanted]
        children = self._template.spawn(wanted)
        self._watch(self._template)
        return children

    def check(self) -> None:
        """Once a second: start a template if there is none, and end one that says nothing."""
        template = self._template
        if template is None:
            if self._loop.now >= self._due and not self._leaving:
                self._replace()
            return
        self._silent = self._silent + 1 if template.answer_count == self._heard else 0
        self._heard = template.answer_count
        limit = self._max_missed_checks(template)
        if self._silent >= limit:
            self._discard(template, f"has said nothing for {limit * WATCHDOG_INTERVAL_SECONDS:.0f} s and was killed")
        else:
            template.ping()
            self._watch(template)

    def begin_drain(self) -> None:
        """No more workers will be wanted."""
        self._leaving = True

    def close(self) -> None:
        if self._template:
            self._loop.unwatch(self._template.socket)
            self._template.close()

    def _max_missed_checks(self, template: ForkServer) -> int:
        """How many looks in a row may find that it has said nothing."""
        seconds = (
            self._policy.hang_seconds
            if template.answer_count
            else max(START_TIMEOUT_SECONDS, self._policy.hang_seconds)
        )
        if self._leaving:
            seconds = min(seconds, DRAIN_TIMEOUT_SECONDS, self._policy.drain_seconds)
        return max(MIN_MISSED_CHECKS, math.ceil(seconds / WATCHDOG_INTERVAL_SECONDS))

    def _receive(self, template: ForkServer) -> None:
        news = template.receive()
        self._watch(template)
        if news:
            self._on_change()

    def _watch(self, template: ForkServer) -> None:
        """See to it that it is heard, and that it gets all that it was told."""
        if template.connected:
            self._loop.watch(template.socket, lambda: self._receive(template), writable=template.unsent)
        elif template is self._template:
            self._discard(template, "died")

    def _discard(self, template: ForkServer, how: str) -> None:
        self._template = None
        self._loop.unwatch(template.socket)
        template.kill()
        if template.answer_count:
            self._ever, self._failures, self._due = True, 0, self._loop.now
        else:
            self._failures += 1
            delay = self._policy.backoff_min * 2.0 ** (self._failures - 1)
            self._due = self._loop.now + min(delay, self._policy.backoff_max)
            if self._failures >= MAX_FAILED_STARTS and not self._ever:
                raise RuntimeError(f"the template died {MAX_FAILED_STARTS} times before it was ready")
        self._refusal = ChildProcessError(errno.ECHILD, "the template died")
        if self._leaving:
            self._record_event("template", f"{how}; the workers go on")
        else:
            self._record_event("template", f"{how}, another is started; the workers go on")
            if self._loop.now >= self._due:
                self._replace()
        self._on_change()  # perhaps its last words were about somebody

    def _replace(self) -> None:
        try:
            template = self._start_server()
        except OSError as error:
            if error.errno != self._refusal.errno:
                self._record_event("template", f"cannot be started: {error.strerror}")
            self._refusal = error
            return
        self._template, self._refusal, self._group = template, OSError(), template.group
        self._heard, self._silent = -1, 0
        if self._specs:
            template.register(list(self._specs.values()))
        self._watch(template)

    def _start_server(self) -> ForkServer:
        try:
            return self._make(self._group)
        except PermissionError:  # nobody is left in it
            return self._make(0)
