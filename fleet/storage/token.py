"""The token for control over HTTP: one line in `run/token`, for its owner's eyes only."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

BYTES = 32
LONGEST = 1024


class NoToken(Exception):
    """There is none that could be right. `str(error)` is why, one line."""


def mint(path: Path) -> None:
    """Make one, unless there is one that is good. Raises OSError."""
    try:
        read(path)
    except NoToken:
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(BYTES) + "\n")
        os.replace(temporary, path)


def read(path: Path) -> bytes:
    """The token. Raises NoToken, also for one that others may read or write."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            told = file.read(LONGEST).strip()
    except FileNotFoundError:
        raise NoToken(f"there is no {path}; one is made when the fleet starts") from None
    except OSError as error:
        raise NoToken(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise NoToken(f"{path} may be read by others (mode {mode & 0o777:o}): chmod 600, or delete it and start anew")
    if len(told) < BYTES:
        raise NoToken(f"{path} has no token that is long enough: delete it and start anew")
    return told


def right(given: bytes, token: bytes) -> bool:
    """Whether they are the same; it takes as long if they are not."""
    return hmac.compare_digest(given, token)
