"""Databases that were begun anew while the fleet ran: an event for the operator, whoever's they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet.datadir.roster import Member
from worker.scoreboard import Scoreboard


class DatabaseReplacedEvents:
    """Looks at the scoreboard when called, and tells `note` of every worker that found its database damaged, deleted or
    replaced since the last look."""

    def __init__(
        self, scoreboard: Scoreboard, members: Callable[[], Sequence[Member]], note: Callable[[str, str], None]
    ) -> None:
        self._counts, self._members, self._note = scoreboard.rows["renewals"], members, note
        self._seen = self._counts.copy()

    def __call__(self) -> None:
        if (self._counts == self._seen).all():
            return
        before, self._seen = self._seen, self._counts.copy()
        new = [member for member in self._members() if self._seen[member.row] > before[member.row]]
        for database in dict.fromkeys(member.database for member in new):
            mine = [member.sensor_id for member in new if member.database == database]
            others = f" (and {len(mine) - 1} more)" if len(mine) > 1 else ""
            self._note(mine[0] + others, f"{database.name} was damaged, deleted or replaced: it is begun anew")
