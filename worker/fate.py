"""What became of a worker: its exit code, or what the board says where nobody has seen that."""

from __future__ import annotations

import errno

from worker.board import STATES, Board
from worker.child import LOST
from worker.process import SETTLED, UNSETTLED
from worker.slot import Slot
from worker.spec import WorkerSpec

ENDS = {frozenset({"done"}): SETTLED, frozenset({"stopped"}): SETTLED, frozenset({"unready"}): UNSETTLED}
"""By the states that all of its sensors were left in: the exit code of a worker that came to an end by itself."""


def fate(board: Board, slot: Slot, *, told: bool) -> int | OSError | None:
    """The exit code of a slot's worker, LOST if nobody knows; the reason if it never ran; None while it runs. `told` is
    whether it was told to end."""
    child, spec = slot.child, slot.begun
    assert child is not None
    assert spec is not None
    if child.refusal is not None:
        return child.refusal
    if child.pid is None and not child.awaited:  # its template died before it could say
        child.pid = process_id(board, spec, slot.incarnation)
    code = child.exit_code()
    if code != LOST:
        return code
    if child.pid is None:
        return ChildProcessError(errno.ECHILD, "the template died")
    code = last_word(board, spec, slot.incarnation)
    # Who is paused is unready as well, but goes on unless it was told to end.
    return code if told or code == SETTLED else LOST


def process_id(board: Board, spec: WorkerSpec, incarnation: int) -> int | None:
    """Of that incarnation; None as long as it has not said so."""
    row = board.rows[spec.sensors[0].row]
    return int(row["pid"]) or None if row["incarnation"] == incarnation else None


def last_word(board: Board, spec: WorkerSpec, incarnation: int) -> int:
    """The exit code that goes with what that incarnation said last; LOST where it did not get so far as to end."""
    rows = board.rows[[sensor.row for sensor in spec.sensors]]
    if (rows["incarnation"] != incarnation).any():
        return LOST
    return ENDS.get(frozenset(STATES[state] for state in rows["state"]), LOST)
