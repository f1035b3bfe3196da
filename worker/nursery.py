"""Where worker processes come from: a template that is replaced when it dies."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TypeVar

from worker.child import Child
from worker.spec import WorkerSpec
from worker.template import Template, TemplateDied

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

    def spawn(self, wanted: Sequence[tuple[str, int]]) -> list[Child]:
        """New processes for the (worker, incarnation) pairs, in order."""
        return self._try(lambda template: template.spawn(wanted))

    def receive(self) -> None:
        """Take in the exit codes that have arrived."""
        self._try(lambda template: template.receive())

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
