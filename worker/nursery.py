"""Where worker processes come from: a template that is replaced when it dies or stands still."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Sequence

from worker.child import Child
from worker.hangs import FEWEST_LOOKS, PERIOD
from worker.loop import Loop
from worker.restarts import Policy
from worker.spec import WorkerSpec
from worker.template import Template

ATTEMPTS = 3
"""First templates that may die before they are ready; then it is a bug rather than bad luck."""

STARTING = 60.0
"""Seconds that a template has until its first answer: an interpreter is started, on a machine that may be busy."""

LEAVING = 5.0
"""Seconds of silence after which it is given up where nothing but exit codes is expected of it."""


class Nursery:
    """Has a template that knows all specs, or is about to. The workers of one that is gone go on without it; how they
    end is then seen by their lifelines. `make_template` takes the process group that they are in. `news` is called when
    there may be an exit code or a refusal, `note` tells the operator. Nobody is waited for."""

    def __init__(
        self,
        make_template: Callable[[int], Template],
        loop: Loop,
        policy: Policy,
        news: Callable[[], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._make, self._loop, self._policy, self._news, self._note = make_template, loop, policy, news, note
        self._specs: dict[str, WorkerSpec] = {}
        self._template: Template | None = None
        self._refusal = OSError()
        self._group = self._failures = self._silent = self._heard = 0
        self._leaving = self._ever = False
        self._due = loop.now
        self._replace()

    def teach(self, specs: Sequence[WorkerSpec]) -> None:
        """Make workers known by their names, or known anew."""
        self._specs |= {spec.name: spec for spec in specs}
        if self._template:
            self._template.teach(specs)
            self._mind(self._template)

    @property
    def busy(self) -> bool:
        """Whether it has enough to do for the moment."""
        return self._template is not None and self._template.busy

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child | OSError]:
        """New processes for the (worker, incarnation) pairs, in order, or why none can be had."""
        if self._template is None:
            return [self._refusal for _ in wanted]
        children = self._template.spawn(wanted)
        self._mind(self._template)
        return children

    def look(self) -> None:
        """Once a second: start a template if there is none, and end one that says nothing."""
        template = self._template
        if template is None:
            if self._loop.now >= self._due and not self._leaving:
                self._replace()
            return
        self._silent = self._silent + 1 if template.answers == self._heard else 0
        self._heard = template.answers
        patience = self._patience(template)
        if self._silent >= patience:
            self._bury(template, f"has said nothing for {patience * PERIOD:.0f} s and was killed")
        else:
            template.ask()
            self._mind(template)

    def leave(self) -> None:
        """No more workers will be wanted."""
        self._leaving = True

    def close(self) -> None:
        if self._template:
            self._loop.unwatch(self._template.socket)
            self._template.close()

    def _patience(self, template: Template) -> int:
        """How many looks in a row may find that it has said nothing."""
        seconds = self._policy.hang if template.answers else max(STARTING, self._policy.hang)
        if self._leaving:
            seconds = min(seconds, LEAVING, self._policy.drain)
        return max(FEWEST_LOOKS, math.ceil(seconds / PERIOD))

    def _receive(self, template: Template) -> None:
        news = template.receive()
        self._mind(template)
        if news:
            self._news()

    def _mind(self, template: Template) -> None:
        """See to it that it is heard, and that it gets all that it was told."""
        if template.fit:
            self._loop.watch(template.socket, lambda: self._receive(template), writable=template.unsent)
        elif template is self._template:
            self._bury(template, "died")

    def _bury(self, template: Template, how: str) -> None:
        self._template = None
        self._loop.unwatch(template.socket)
        template.kill()
        if template.answers:
            self._ever, self._failures, self._due = True, 0, self._loop.now
        else:
            self._failures += 1
            delay = self._policy.backoff_min * 2.0 ** (self._failures - 1)
            self._due = self._loop.now + min(delay, self._policy.backoff_max)
            if self._failures >= ATTEMPTS and not self._ever:
                raise RuntimeError(f"the template died {ATTEMPTS} times before it was ready")
        self._refusal = ChildProcessError(errno.ECHILD, "the template died")
        if self._leaving:
            self._note("template", f"{how}; the workers go on")
        else:
            self._note("template", f"{how}, another is started; the workers go on")
            if self._loop.now >= self._due:
                self._replace()
        self._news()  # perhaps its last words were about somebody

    def _replace(self) -> None:
        try:
            template = self._successor()
        except OSError as error:
            if error.errno != self._refusal.errno:
                self._note("template", f"cannot be started: {error.strerror}")
            self._refusal = error
            return
        self._template, self._refusal, self._group = template, OSError(), template.group
        self._heard, self._silent = -1, 0
        if self._specs:
            template.teach(list(self._specs.values()))
        self._mind(template)

    def _successor(self) -> Template:
        try:
            return self._make(self._group)
        except PermissionError:  # nobody is left in it
            return self._make(0)
