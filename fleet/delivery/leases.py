"""Leases: at most one collector at a time sweeps a database.

A lease is a lock on one byte of a file, which the system releases when its holder dies. The byte's offset is a hash of
the source's key, so a database keeps its lease when it is renamed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEASE_FILE = ".collecting"


class Leases:
    """The leases of one process. Without `folder`, the lease file lies in the folder of each database. Leases of different
    `purpose` do not exclude each other.

    A lease file stays open as long as the process lives: closing it would release all leases in it.
    """

    def __init__(self, folder: Path | None = None, purpose: str = "") -> None:
        self._folder, self._purpose = folder, purpose
        self._lock = threading.Lock()
        self._files: dict[Path, int] = {}
        self._held: set[str] = set()

    @contextmanager
    def lease(self, database: Path, key: str) -> Iterator[bool]:
        """Hold a lease; yields False if another holds it. OSError if the folder cannot have a lease file."""
        acquired = self._acquire(self._folder or database.parent, key)
        try:
            yield acquired
        finally:
            if acquired:
                self._release(self._folder or database.parent, key)

    def _acquire(self, folder: Path, key: str) -> bool:
        with self._lock:
            if key in self._held:
                return False
            if folder not in self._files:
                self._files[folder] = os.open(folder / LEASE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.lockf(self._files[folder], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, lock_offset(self._purpose + key))
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                raise
            self._held.add(key)
            return True

    def _release(self, folder: Path, key: str) -> None:
        with self._lock:
            self._held.discard(key)
            fcntl.lockf(self._files[folder], fcntl.LOCK_UN, 1, lock_offset(self._purpose + key))


def lock_offset(key: str) -> int:
    """The offset of the byte for a key, below 2^62."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) >> 2
