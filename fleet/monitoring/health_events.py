"""Troubles: which sensors cannot write, told to the operator as it begins and as it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fleet.datadir.roster import Member
from fleet.monitoring.stats import unhealthy_sensors
from worker.scoreboard import Scoreboard

MAX_SENSORS_PER_LOOK = 5
"""Sensors named at a time; with all of a fleet on one full disk the rest would say the same."""

NoteEvent = Callable[[str, str], None]


class UnreadyEvents:
    """Looks at the scoreboard when called, and tells `note` of every sensor that has become unready or well since the last
    look."""

    def __init__(self, scoreboard: Scoreboard, members: Callable[[], Sequence[Member]], note: NoteEvent) -> None:
        self._board, self._members, self._note = scoreboard, members, note
        self._unready: dict[str, str] = {}

    def __call__(self) -> None:
        members = self._members()
        names = [member.sensor_id for member in members]
        found = unhealthy_sensors(self._board.rows[[member.row for member in members]], names)
        now = {sensor: reason for sensor, state, reason in found if state == "unready"}
        before, self._unready = self._unready, now
        self._note_all({sensor: f"unready: {reason}" for sensor, reason in now.items() if sensor not in before})
        gone = before.keys() & set(names) - now.keys() - {sensor for sensor, _, _ in found}
        self._note_all({sensor: "no longer unready" for sensor in names if sensor in gone})

    def _note_all(self, news: dict[str, str]) -> None:
        for number, (sensor, text) in enumerate(news.items()):
            if number == MAX_SENSORS_PER_LOOK:
                self._note("fleet", f"and {len(news) - MAX_SENSORS_PER_LOOK} sensors more")
                return
            self._note(sensor, text)
