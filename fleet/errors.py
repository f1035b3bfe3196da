"""The error that a user can cause."""

from __future__ import annotations


class UserError(Exception):
    """An error that the user can correct. `str(error)` is one line: place, value, what is allowed. Exit code 1."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
