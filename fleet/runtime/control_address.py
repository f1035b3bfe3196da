"""The address of a Unix socket, which may not be long."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_SOCKET_PATH_BYTES = 100
"""Bytes that the address of a Unix socket may have everywhere (104 on macOS)."""


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """An address for a Unix socket at `path`, through a link where the path is too long for one."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="fleet-") as directory:
        link = Path(directory, "run")
        link.symlink_to(path.parent.resolve())
        yield str(link / path.name)
