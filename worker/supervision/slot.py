"""What the supervisor keeps of a worker, of a run, and of what happened in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from worker import messages
from worker.spec import WorkerSpec
from worker.supervision.child import Child

Phase = Literal["waiting", "running", "ended"]


@dataclass(slots=True, eq=False)
class Slot:
    """One worker over all its incarnations. `running_spec` is the spec that the present one was started with, `spec` the next
    one's. `due` is when it may start, `kill_at` when it has to be gone, `after_exit` what its orderly end means, `spawn_error` why
    it could not be started lately."""

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
        """Go on by another spec of the same sensors, without a restart."""
        self.spec = spec
        if self.child is not None:
            self.child.send_message(**messages.change_message(spec))


@dataclass(frozen=True, slots=True)
class Event:
    """Something the operator may want to know. `time` is seconds since 1970, `kind` one word for programs, `effect` what
    came of it and for which `sensors`, where that is more than the worker's."""

    time: float
    worker: str
    text: str
    kind: str = "note"
    effect: str = ""
    sensors: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return f"{self.text}: {self.effect}" if self.effect else self.text

    def __str__(self) -> str:
        return f"{self.worker}: {self.message}"


@dataclass(slots=True)
class Outcome:
    """How a run ended."""

    failed: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    killed_by_request: bool = False

    @property
    def clean(self) -> bool:
        return not (self.failed or self.pending or self.killed)
