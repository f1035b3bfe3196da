"""The exit status of a worker: its exit code, or the state it left on the scoreboard if the exit was not observed.

A worker is a child of the fork server, which reports exit codes. When the fork server dies, its workers continue as
orphans; the scoreboard then stands in for their process ids and exit codes.
"""

from __future__ import annotations

import errno

from worker.process import EXIT_COMMITTED, EXIT_PENDING
from worker.scoreboard import STATES, Scoreboard
from worker.spec import WorkerSpec
from worker.supervision.child import EXIT_UNKNOWN
from worker.supervision.slot import Slot

EXIT_CODE_BY_STATES = {
    frozenset({"done"}): EXIT_COMMITTED,
    frozenset({"stopped"}): EXIT_COMMITTED,
    frozenset({"unready"}): EXIT_PENDING,
}
"""The exit code of a worker that ended by itself, by the set of states of its sensors."""


def exit_status(scoreboard: Scoreboard, slot: Slot, *, asked_to_end: bool) -> int | OSError | None:
    """Return the exit code of a slot's worker, or None while it runs.

    EXIT_UNKNOWN stands for an exit that was not observed, an OSError for a worker that was never started.
    `asked_to_end` is true if the supervisor has ordered the worker to end.
    """
    child, spec = slot.child, slot.running_spec
    assert child is not None
    assert spec is not None
    if child.spawn_error is not None:
        return child.spawn_error
    if child.pid is None and not child.spawn_pending:  # the fork server died before it could report the process id
        child.pid = pid_on_scoreboard(scoreboard, spec, slot.incarnation)
    code = child.exit_code()
    if code != EXIT_UNKNOWN:
        return code
    if child.pid is None:
        return ChildProcessError(errno.ECHILD, "the fork server died")
    code = exit_code_on_scoreboard(scoreboard, spec, slot.incarnation)
    # A worker that waits for its store is "unready" too, but does not end unless asked to.
    return code if asked_to_end or code == EXIT_COMMITTED else EXIT_UNKNOWN


def pid_on_scoreboard(scoreboard: Scoreboard, spec: WorkerSpec, incarnation: int) -> int | None:
    """Return the process id of an incarnation, None if it has not written it yet."""
    row = scoreboard.rows[spec.sensors[0].row]
    return int(row["pid"]) or None if row["incarnation"] == incarnation else None


def exit_code_on_scoreboard(scoreboard: Scoreboard, spec: WorkerSpec, incarnation: int) -> int:
    """Return the exit code that matches the last states of an incarnation, EXIT_UNKNOWN if it did not end by itself."""
    rows = scoreboard.rows[[sensor.row for sensor in spec.sensors]]
    if (rows["incarnation"] != incarnation).any():
        return EXIT_UNKNOWN
    return EXIT_CODE_BY_STATES.get(frozenset(STATES[state] for state in rows["state"]), EXIT_UNKNOWN)
