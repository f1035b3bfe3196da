"""Where worker processes come from: a template that is replaced when it dies."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from worker.child import Child
from worker.spec import WorkerSpec
from worker.template import Template, TemplateDied

log = logging.getLogger("template")

T = TypeVar("T")

ATTEMPTS = 3
"""Templates that may die in a row before this counts as a bug rather than bad luck."""


class Nursery:
    """Always has a template that knows all specs. The workers of one that died go on without it; how they end is
    then seen by their lifelines. `moved` is told the sockets of the old and of the new one."""

    def __init__(
        self, make_template: Callable[[], Template], moved: Callable[[socket.socket, socket.socket], None]
    ) -> None:
        self._make, self._moved = make_template, moved
        self._template = make_template()
        self._specs: dict[str, WorkerSpec] = {}

    @property
    def socket(self) -> socket.socket:
        """Readable when `receive` has something to take in."""
        return self._template.socket

    def teach(self, specs: Sequence[WorkerSpec]) -> None:
        """Make workers known by their names, or known anew."""
        self._specs |= {spec.name: spec for spec in specs}
        self._try(lambda template: template.teach(specs))

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child | OSError]:
        """New processes for the (worker, incarnation) pairs, in order, or what the system refused each with."""
        try:
            return self._try(lambda template: template.spawn(wanted))
        except OSError as error:  # there is not even room for another template
            return [error for _ in wanted]

    def receive(self) -> None:
        """Take in the exit codes that have arrived."""
        try:
            self._try(lambda template: template.receive())
        except OSError as error:
            log.error("the template died, and another cannot be started: %s", error)
            time.sleep(0.1)  # the dead one's socket goes on calling; the next look tries again

    def close(self) -> None:
        self._template.close()

    def _try(self, action: Callable[[Template], T]) -> T:
        for _ in range(ATTEMPTS):
            try:
                return action(self._template)
            except TemplateDied:
                self._replace()
        raise RuntimeError(f"the template died {ATTEMPTS} times in a row")

    def _replace(self) -> None:
        old, self._template = self._template, self._make()
        self._moved(old.socket, self._template.socket)
        old.close()
        try:
            self._template.teach(list(self._specs.values()))
        except TemplateDied:  # the next attempt will find out
            return
