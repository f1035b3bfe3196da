"""The token for control over HTTP: one line in `run/token`, readable by its owner only."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from fleet.datadir.ownership import ROOT

TOKEN_BYTES = 32
MAX_TOKEN_FILE_BYTES = 1024


class TokenUnavailable(Exception):
    """There is no usable token. `str(error)` is the reason in one line."""


def ensure_token(path: Path) -> None:
    """Create a token, unless there is a usable one. Raises OSError."""
    try:
        read_token(path)
    except TokenUnavailable:
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        os.replace(temporary, path)


def read_token(path: Path) -> bytes:
    """Return the token. Raises TokenUnavailable, also for a token of another user, or that others may read or write."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            token = file.read(MAX_TOKEN_FILE_BYTES).strip()
    except FileNotFoundError:
        raise TokenUnavailable(f"there is no {path}; it is created when the fleet starts") from None
    except OSError as error:
        raise TokenUnavailable(f"{path} cannot be read: {error.strerror}") from error
    if status.st_uid not in (ROOT, os.geteuid()):
        raise TokenUnavailable(f"{path} belongs to another user (uid {status.st_uid}): delete it and restart the fleet")
    if status.st_mode & 0o077:
        raise TokenUnavailable(
            f"{path} may be read by others (mode {status.st_mode & 0o777:o}): chmod 600, or delete it and restart the fleet"
        )
    if len(token) < TOKEN_BYTES:
        raise TokenUnavailable(f"{path} has no token that is long enough: delete it and restart the fleet")
    return token


def dashboard_link(url: str, path: Path) -> str:
    """Return the address of a dashboard with the token in its fragment, which unlocks the controls; without it if there is
    no usable token. It is a secret: show it on a terminal, and write it to no file."""
    try:
        return f"{url}#token={read_token(path).decode('ascii')}"
    except (TokenUnavailable, UnicodeDecodeError):
        return url


def tokens_equal(candidate: bytes, token: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(candidate, token)
