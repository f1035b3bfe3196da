"""Processes that run beside the workers, such as the HTTP server: restarted for ever, released at the end."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.child import Body, Child, fork, meaning
from worker.restarts import Policy, backoff

PARTING = 3.0
"""Seconds that a released service has before it is killed."""

SHORTAGE = 1.0
"""Seconds between two attempts while the system has no room for a process."""


@dataclass(slots=True)
class Service:
    """One of them. `keep` are open descriptors that it needs; `due` is when it may start."""

    name: str
    body: Body
    keep: tuple[int, ...]
    child: Child | None = None
    due: float = 0.0
    deaths: tuple[float, ...] = ()


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
            if service.child is not None and (code := service.child.exit_code()) is not None:
                service.child.release()
                service.child = None
                service.deaths = (*service.deaths, now)[-self._policy.budget - 1 :]
                delay = backoff(service.deaths, now, self._policy, random.random())
                service.due = now + (self._policy.backoff_max if delay is None else delay)
                self._note(service.name, f"died by {meaning(code)}, restart in {service.due - now:.1f} s")

    def close(self) -> None:
        """Let go of all and wait until they are gone."""
        children = [service.child for service in self._services if service.child is not None]
        for child in children:
            child.release()
        end = time.monotonic() + PARTING
        while any(child.exit_code() is None for child in children) and time.monotonic() < end:
            time.sleep(0.02)
        for child in children:
            if child.exit_code() is None:
                child.signal(signal.SIGKILL)
                while child.exit_code() is None:
                    time.sleep(0.01)
