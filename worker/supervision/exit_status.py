"""What became of a worker: its exit code, or what the scoreboard says where nobody has seen that."""

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
"""By the states that all of its sensors were left in: the exit code of a worker that came to an end by itself."""


def exit_status(scoreboard: Scoreboard, slot: Slot, *, asked_to_end: bool) -> int | OSError | None:
    """The exit code of a slot's worker, EXIT_UNKNOWN if nobody knows; the reason if it never ran; None while it runs. `asked_to_end` is
    whether it was asked_to_end to end."""
    child, spec = slot.child, slot.running_spec
    assert child is not None
    assert spec is not None
    if child.spawn_error is not None:
        return child.spawn_error
    if child.pid is None and not child.spawn_pending:  # its template died before it could say
        child.pid = pid_on_scoreboard(scoreboard, spec, slot.incarnation)
    code = child.exit_code()
    if code != EXIT_UNKNOWN:
        return code
    if child.pid is None:
        return ChildProcessError(errno.ECHILD, "the template died")
    code = exit_code_on_scoreboard(scoreboard, spec, slot.incarnation)
    # Who is paused is unready as well, but goes on unless it was asked_to_end to end.
    return code if asked_to_end or code == EXIT_COMMITTED else EXIT_UNKNOWN


def pid_on_scoreboard(scoreboard: Scoreboard, spec: WorkerSpec, incarnation: int) -> int | None:
    """Of that incarnation; None as long as it has not said so."""
    row = scoreboard.rows[spec.sensors[0].row]
    return int(row["pid"]) or None if row["incarnation"] == incarnation else None


def exit_code_on_scoreboard(scoreboard: Scoreboard, spec: WorkerSpec, incarnation: int) -> int:
    """The exit code that goes with what that incarnation said last; EXIT_UNKNOWN where it did not get so far as to end."""
    rows = scoreboard.rows[[sensor.row for sensor in spec.sensors]]
    if (rows["incarnation"] != incarnation).any():
        return EXIT_UNKNOWN
    return EXIT_CODE_BY_STATES.get(frozenset(STATES[state] for state in rows["state"]), EXIT_UNKNOWN)
