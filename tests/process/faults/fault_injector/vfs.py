"""An SQLite file system that does what the orders say, in whichever process opens a database.

To add a fault: for a failing system call a line in `ERRORS`; for what befalls the process a function in `ACTIONS`;
and its point in tests/process/faults/fault_injection.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from tests.process.faults.fault_injector.orders import FaultOrders, Point

Order = dict[str, Any]

ERRORS = {
    "ioerr_read": (apsw.SQLITE_IOERR_READ, "disk I/O error"),
    "ioerr_write": (apsw.SQLITE_IOERR_WRITE, "disk I/O error"),
    "ioerr_fsync": (apsw.SQLITE_IOERR_FSYNC, "disk I/O error"),
    "full": (apsw.SQLITE_FULL, "database or disk is full"),
    "readonly": (apsw.SQLITE_READONLY, "attempt to write a readonly database"),
    "cantopen": (apsw.SQLITE_CANTOPEN, "unable to open database file"),
    "permission": (apsw.SQLITE_PERM, "access permission denied"),
    "nomem": (apsw.SQLITE_NOMEM, "out of memory"),
}
"""The code that the call returns to SQLite, and the words in which SQLite says so."""


def kill(order: Order) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hold(order: Order) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def stuck(order: Order) -> None:
    """Never exit_process the commit again (`busy`: with the processor in use), while another thread of the process lives."""
    end = time.monotonic() + order.get("seconds", 3600.0)
    threading.Thread(target=live_on, args=(end,), name="lives", daemon=True).start()
    while time.monotonic() < end:
        if not order.get("busy"):
            time.sleep(0.05)


def live_on(until: float) -> None:
    while time.monotonic() < until:
        time.sleep(0.01)


def segfault(order: Order) -> None:
    ctypes.string_at(0)


def abort(order: Order) -> None:
    os.abort()


def exit_process(order: Order) -> None:
    os._exit(order.get("code", 1))


def starve(order: Order) -> None:
    """From now on the process gets no more memory than it has, and somebody in it has taken what was free."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE"),) * 2)
    for size in (1 << 20, 1 << 16, 1 << 12, 1 << 8, 1 << 4):
        with contextlib.suppress(MemoryError):
            while True:
                ALLOCATED.append(bytes(size))


ALLOCATED: list[bytes] = []


ACTIONS: dict[str, Callable[[Order], None]] = {
    "kill": kill,
    "hold": hold,
    "stuck": stuck,
    "segfault": segfault,
    "abort": abort,
    "exit": exit_process,
    "starve": starve,
}


class Connection(apsw.Connection):
    """What goes wrong when SQLite tidies up before it closes, SQLite keeps to itself; but apsw raises what any file
    system that is written in Python has raised. (Likewise in a checkpoint after a commit, which is left as it is: the
    commit is reported to have failed although it has not, as may happen in life.)"""

    def close(self, force: bool = False) -> None:
        try:
            super().close(force)
        except apsw.Error as error:
            if not hasattr(error, "sabotage"):
                raise


class FaultInjectingVFS(apsw.VFS):
    """Stands in front of the system's own file system, and is what SQLite uses by default from now on."""

    def __init__(self, orders: FaultOrders) -> None:
        self._orders, self._base = orders, apsw.vfs_names()[0]
        super().__init__("saboteur", self._base, makedefault=True)
        apsw.Connection = Connection  # type: ignore[misc]

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> FaultInjectingFile:  # noqa: N802 - SQLite's
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        database = Path(path).name.removesuffix("-wal").removesuffix("-journal") if path else ""
        file = "main" if flags[0] & apsw.SQLITE_OPEN_MAIN_DB else "wal"
        opened = FaultInjectingFile(self._base, name, flags, self._orders, database, file)
        execute_order(self._orders.take(database, "open", file))
        return opened


class FaultInjectingFile(apsw.VFSFile):
    """One open file of a database. A WAL frame is written in two parts, its header and the page."""

    def __init__(
        self,
        base: str,
        name: apsw.URIFilename | str | None,
        flags: list[int],
        orders: FaultOrders,
        database: str,
        file: str,
    ) -> None:
        super().__init__(base, name, flags)
        self._orders, self._database, self._file = orders, database, file
        self._commits = False  # whether the page that is written next ends a transaction
        self._pending: Order | None = None

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        self._reached("read")
        return super().xRead(amount, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._reached("sync")
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        order = self._pending or self._orders.take(self._database, "write", self._file)
        header = self._file == "wal" and len(data) == 24
        ends = self._commits and not header
        self._commits = header and data[4:8] != bytes(4)
        self._pending = None
        if order is None:
            super().xWrite(data, offset)
        elif order.get("pages", 0) > 0:
            self._pending = order | {"pages": order["pages"] - (not header)}
            super().xWrite(data, offset)
        elif order.get("moment") == "torn":
            super().xWrite(data[: len(data) // 2], offset)
            execute_order(order)
        elif order.get("moment") == "committed":
            super().xWrite(data, offset)
            self._pending = None if ends else order
            execute_order(order if ends else None)
        else:
            execute_order(order)
            super().xWrite(data, offset)

    def _reached(self, point: Point) -> None:
        execute_order(self._orders.take(self._database, point, self._file))


def execute_order(order: Order | None) -> None:
    """Do what was ordered, if anything was. May well not return."""
    if order is None:
        return
    action = order["action"]
    if action in ERRORS:
        code, text = ERRORS[action]
        error: Any = apsw.exception_for(code)
        error.args, error.sabotage = (text,), action
        raise error
    ACTIONS[action](order)
