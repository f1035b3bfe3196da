"""Service processes beside the workers, such as the HTTP server: always restarted, released at the end of the run."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from worker.supervision.child import Child, ProcessMain, describe_exit_code, fork_child
from worker.supervision.restart_policy import SPAWN_RETRY_SECONDS, RestartPolicy, backoff
from worker.supervision.watchdog import WATCHDOG_INTERVAL_SECONDS

RELEASE_TIMEOUT_SECONDS = 3.0
"""Seconds that a released service has before it is killed."""

KILL_TIMEOUT_SECONDS = 2.0
"""Seconds to wait for a killed service: the kernel may have a reason to keep it (a stuck disk)."""


@dataclass(slots=True)
class Service:
    """One service process.

    `keep` are the open descriptors that it needs, `release_seconds` it may take to end once it is released. `due` is when it
    may start, `stopped_checks` counts the checks since it was suspended by a signal, `start_error` is the reason why it could
    not be started the last time.
    """

    name: str
    body: ProcessMain
    keep: tuple[int, ...]
    release_seconds: float
    child: Child | None = None
    due: float = 0.0
    deaths: tuple[float, ...] = ()
    stopped_checks: int = 0
    start_error: str = ""


class Services:
    """All services of a fleet, driven by the supervisor's loop. `record_event` takes a service's name and a text."""

    def __init__(self, policy: RestartPolicy, record_event: Callable[[str, str], None]) -> None:
        self._policy, self._record_event = policy, record_event
        self._services: list[Service] = []

    def add(self, name: str, body: ProcessMain, keep: tuple[int, ...], release_seconds: float) -> None:
        """Keep `body` running in a process of its own from the next `start_due` on."""
        self._services.append(Service(name, body, keep, release_seconds))

    def start_due(self, now: float) -> None:
        """Start the services that do not run and whose time has come."""
        for service in self._services:
            if service.child is None and service.due <= now:
                self._start(service, now)

    def _start(self, service: Service, now: float) -> None:
        try:
            service.child = fork_child(service.name, service.body, service.keep)
            service.start_error = ""
        except OSError as error:
            service.due = now + SPAWN_RETRY_SECONDS
            reason = f"cannot be started: {error.strerror}"
            if reason != service.start_error:  # it is tried every second, perhaps for hours
                self._record_event(service.name, reason)
            service.start_error = reason

    def reap(self, now: float) -> None:
        """Schedule the restart of services that have exited."""
        for service in self._services:
            code = service.child.exit_code() if service.child is not None else None
            if service.child is None or not service.child.stopped:
                service.stopped_checks = 0
            if service.child is not None and code is not None:
                service.child.close_lifeline()
                service.child = None
                service.deaths = (*service.deaths, now)[-self._policy.budget - 1 :]
                delay = backoff(service.deaths, now, self._policy, random.random())
                service.due = now + (self._policy.backoff_max if delay is None else delay)
                self._record_event(service.name, f"{describe_exit_code(code)}, restart in {service.due - now:.1f} s")

    def check(self) -> None:
        """Kill services that stay suspended. Call once per WATCHDOG_INTERVAL_SECONDS."""
        for service in self._services:
            if service.child is None or not service.child.stopped:
                continue
            service.stopped_checks += 1
            if service.stopped_checks * WATCHDOG_INTERVAL_SECONDS > self._policy.hang_seconds:
                self._record_event(service.name, f"stopped for {self._policy.hang_seconds:.0f} s, killing it")
                service.child.signal(signal.SIGKILL)

    def close(self, is_urgent: Callable[[], bool]) -> None:
        """Release all services and wait for their exit; kill those that take too long. Once `is_urgent` returns true, none may
        take longer than RELEASE_TIMEOUT_SECONDS from then on. One with work for the end that has died is started for that."""
        for service in self._services:
            if service.child is None and service.release_seconds > RELEASE_TIMEOUT_SECONDS and not is_urgent():
                self._start(service, time.monotonic())
        running = [service for service in self._services if service.child is not None]
        for service in running:
            assert service.child
            service.child.close_lifeline()
        released_at = time.monotonic()
        limits = {service.name: released_at + service.release_seconds for service in running}
        while running:
            now = time.monotonic()
            if is_urgent():
                limits = {name: min(limit, now + RELEASE_TIMEOUT_SECONDS) for name, limit in limits.items()}
            for service in running:
                assert service.child
                if service.child.exit_code() is None and now >= limits[service.name]:
                    service.child.signal(signal.SIGKILL)
            running = [
                each for each in running if now < limits[each.name] + KILL_TIMEOUT_SECONDS and not has_exited(each)
            ]
            time.sleep(0.02)


def has_exited(service: Service) -> bool:
    return service.child is None or service.child.exit_code() is not None
