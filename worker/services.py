"""Processes that run beside the workers, such as the HTTP server: restarted for ever, released at the end."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.child import Body, Child, fork, meaning
from worker.hangs import PERIOD
from worker.restarts import SHORTAGE, Policy, backoff

PARTING = 3.0
"""Seconds that a released service has before it is killed."""

DYING = 2.0
"""Seconds that one that was killed is waited for: the kernel may have a reason to keep it (a stuck disk)."""


@dataclass(slots=True)
class Service:
    """One of them. `keep` are open descriptors that it needs; `due` is when it may start; `stopped` is how many looks there
    were since it stopped."""

    name: str
    body: Body
    keep: tuple[int, ...]
    child: Child | None = None
    due: float = 0.0
    deaths: tuple[float, ...] = ()
    stopped: int = 0


class Services:
    """All of them, driven by the supervisor's loop. `note` tells the operator what happened to which."""

    def __init__(self, policy: Policy, note: Callable[[str, str], None]) -> None:
        self._policy, self._note = policy, note
        self._services: list[Service] = []

    def add(self, name: str, body: Body, keep: tuple[int, ...]) -> None:
        self._services.append(Service(name, body, keep))

    def start_due(self, now: float) -> None:
        for service in self._services:
            if service.child is None and service.due <= now:
                try:
                    service.child = fork(service.name, service.body, service.keep)
                except OSError as error:
                    service.due = now + SHORTAGE
                    self._note(service.name, f"cannot be started: {error.strerror}")

    def reap(self, now: float) -> None:
        for service in self._services:
            code = service.child.exit_code() if service.child is not None else None
            if service.child is None or not service.child.stopped:
                service.stopped = 0
            if service.child is not None and code is not None:
                service.child.release()
                service.child = None
                service.deaths = (*service.deaths, now)[-self._policy.budget - 1 :]
                delay = backoff(service.deaths, now, self._policy, random.random())
                service.due = now + (self._policy.backoff_max if delay is None else delay)
                self._note(service.name, f"died by {meaning(code)}, restart in {service.due - now:.1f} s")

    def look(self) -> None:
        """Once a second: kill one that stays stopped."""
        for service in self._services:
            if service.child is None or not service.child.stopped:
                continue
            service.stopped += 1
            if service.stopped * PERIOD > self._policy.hang:
                self._note(service.name, f"stopped for {self._policy.hang:.0f} s, killing it")
                service.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of all and wait until they are gone."""
        children = [service.child for service in self._services if service.child is not None]
        for child in children:
            child.release()
        wait(children, PARTING)
        for child in children:
            if child.exit_code() is None:
                child.signal(signal.SIGKILL)
        wait(children, DYING)


def wait(children: list[Child], seconds: float) -> None:
    """Until all have ended, or so long."""
    end = time.monotonic() + seconds
    while any(child.exit_code() is None for child in children) and time.monotonic() < end:
        time.sleep(0.02)
