"""What stands in the log of a database that is opened at the level DEBUG: where it is, on what, and who locks it.

The block has the words of the source documents, so that their advice applies: see docs/files.md. Nothing here opens the
file: closing it again would take away the locks that SQLite holds on it in this process.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import apsw

DEBUG_PRAGMAS = (
    "journal_mode",
    "busy_timeout",
    "synchronous",
    "temp_store",
    "mmap_size",
    "cache_size",
    "page_size",
    "page_count",
    "journal_size_limit",
)
CONTAINER_MARKERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman put into their containers."""

PROC_LOCKS = Path("/proc/locks")


def debug_lines(path: Path, connection: apsw.Connection, environment: Mapping[str, str]) -> Iterator[str]:
    """The block, line by line."""
    yield "=== Database Debug Information ==="
    yield f"Running in container: {in_container(environment)}"
    yield f"SQLITE_TMPDIR: {environment.get('SQLITE_TMPDIR', 'not set')}"
    yield f"SQLite version: {apsw.sqlite_lib_version()}"
    yield f"Database absolute path: {path.absolute()}"
    yield f"Directory writable: {os.access(path.absolute().parent, os.W_OK | os.X_OK)}"
    yield f"Disk free: {free_space(path)}"
    yield from file_lines(path)
    for name in DEBUG_PRAGMAS:
        yield f"PRAGMA {name}: {connection.pragma(name)}"
    yield f"Process ID: {os.getpid()}, parent {os.getppid()}, thread {threading.get_ident()}"
    yield from lock_lines(path)


def in_container(environment: Mapping[str, str]) -> bool:
    return any(mark.exists() for mark in CONTAINER_MARKERS) or bool(
        environment.get("container") or environment.get("KUBERNETES_SERVICE_HOST")
    )


def free_space(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.absolute().parent).free / 1e9:.2f} GB"
    except OSError as error:
        return f"unknown: {error.strerror}"


def file_lines(path: Path) -> Iterator[str]:
    for name, file in (("Database", path), ("WAL", path.with_name(path.name + "-wal"))):
        try:
            found = file.stat()
        except OSError:
            yield f"{name} file does not exist"
        else:
            yield f"{name} file exists, size: {found.st_size} bytes, mode {found.st_mode & 0o777:o}, owner {found.st_uid}"


def lock_lines(path: Path) -> Iterator[str]:
    """Who holds a lock on the file, where the system tells (Linux): see proc(5)."""
    try:
        number = path.stat().st_ino
        held = [line.split() for line in PROC_LOCKS.read_text().splitlines()]
    except OSError:
        yield "File locks: not known on this system"
        return
    mine = [line for line in held if len(line) > 7 and line[1] != "->" and line[5].rpartition(":")[2] == str(number)]
    if not mine:
        yield "File locks: none"
    for line in mine:
        yield f"File locks: {line[1]} {line[3]} by pid {line[4]}, bytes {line[6]} to {line[7]}"
