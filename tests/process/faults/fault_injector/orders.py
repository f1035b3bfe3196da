"""FaultOrders to sabotage, as files: whoever takes one renames it, so exactly one worker does; what was taken is a line in
a log that outlives the process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

Point = Literal["open", "read", "write", "sync"]
"""Where in a database's life an order is carried out. `write` of a process fault means a page of the WAL, which is
written by COMMIT: inside an open transaction, with the write lock held."""


class InjectedFault(NamedTuple):
    """An order that was carried out. `time` is seconds on the monotonic clock, which all processes share."""

    action: str
    database: str
    pid: int
    time: float
    number: str


class FaultOrders:
    """The orders below one folder, by database and point."""

    def __init__(self, folder: Path) -> None:
        self._root, self._log = str(folder), str(folder / "taken.log")
        self._logged: set[str] = set()  # of the lasting ones: those in the log

    def add(self, database: str, point: Point, number: int, order: dict[str, Any]) -> None:
        folder = Path(self._root, database, point)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder.parent / f"{number:06d}.new"
        unfinished.write_text(json.dumps(order))
        unfinished.replace(folder / f"{number:06d}.json")

    def take(self, database: str, point: Point, file: str) -> dict[str, Any] | None:
        """The oldest order for that point and `file` ("main", "wal"), if any. One that lasts can be taken by everybody
        until it is over, any other once."""
        folder = f"{self._root}/{database}/{point}"
        try:
            names = os.listdir(folder)  # noqa: PTH208 - at every write: quick
        except OSError:  # there is none, or no memory is left, by order
            return None
        for name in sorted(names):
            path = f"{folder}/{name}"
            order = read(path)
            if order is None or order["file"] not in (file, "any"):
                continue
            if self._taken(path, order):
                return order
        return None

    def _taken(self, path: str, order: dict[str, Any]) -> bool:
        number = Path(path).stem
        if "until" not in order:
            try:
                os.replace(path, f"{self._root}/{number}.taken")
            except FileNotFoundError:  # somebody else was quicker
                return False
            self.record(order, number)
            return True
        if time.monotonic() >= order["until"]:
            Path(path).unlink(missing_ok=True)
            return False
        if number not in self._logged:
            self._logged.add(number)
            self.record(order, number)
        return True

    def record(self, order: dict[str, Any], number: str) -> None:
        taken = InjectedFault(order["action"], order["database"], os.getpid(), time.monotonic(), number)
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, json.dumps(taken).encode() + b"\n")
        os.close(descriptor)

    def taken(self) -> list[InjectedFault]:
        try:
            return [InjectedFault(*json.loads(line)) for line in Path(self._log).read_text().splitlines()]
        except FileNotFoundError:
            return []

    def waiting(self) -> list[str]:
        """The actions of the orders that are still to be carried out, or last."""
        orders = [read(str(path)) for path in Path(self._root).glob("*/*/*.json")]
        now = time.monotonic()
        return [order["action"] for order in orders if order and order.get("until", now) >= now]


def read(path: str) -> dict[str, Any] | None:
    try:
        order: dict[str, Any] = json.loads(Path(path).read_text())
    except FileNotFoundError:
        return None
    return order
