"""The supervisor's records: a slot per worker, the events of a run, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from worker import messages
from worker.spec import WorkerSpec
from worker.supervision.child import Child

Phase = Literal["waiting", "running", "ended"]


@dataclass(slots=True, eq=False)
class Slot:
    """One worker over all its incarnations.

    `running_spec` is the spec that the present incarnation was started with, `spec` the spec of the next one. `due` is
    when it may start, `kill_at` when it is killed if it still runs, on the clock of the event loop. `deaths` are the
    times of its last deaths. `after_exit` says what follows when it exits as ordered. `spawn_error` is the reason why it
    could not be started the last time.
    """

    spec: WorkerSpec
    running_spec: WorkerSpec | None = None
    incarnation: int = 0
    child: Child | None = None
    phase: Phase = "waiting"
    due: float = 0.0
    deaths: tuple[float, ...] = ()
    after_exit: Literal["end", "restart", "remove"] = "end"
    kill_at: float | None = None
    spawn_error: str = ""

    def change(self, spec: WorkerSpec) -> None:
        """Continue with another spec of the same sensors, without a restart."""
        before, self.spec = self.spec, spec
        if self.child is not None:
            self.child.send_message(messages.change_message(spec, before))


@dataclass(frozen=True, slots=True)
class Event:
    """Something an operator may want to know.

    `time` is seconds since 1970, `worker` the name of a worker or another process of the fleet, `kind` one word for
    programs. `effect` is the result and `sensors` the sensors it concerns, where that says more than `worker`.
    """

    time: float
    worker: str
    text: str
    kind: str = "note"
    effect: str = ""
    sensors: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The text, with the effect if there is one."""
        return f"{self.text}: {self.effect}" if self.effect else self.text

    def __str__(self) -> str:
        return f"{self.worker}: {self.message}"


@dataclass(slots=True)
class Outcome:
    """The result of a run: workers that failed, that left due readings unwritten, that were killed while draining."""

    failed: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    killed_by_request: bool = False

    @property
    def clean(self) -> bool:
        """Whether every worker ended as it should, with all its due readings written."""
        return not (self.failed or self.pending or self.killed)
