"""Draws: addressed randomness for identities, one 64-bit word for each (seed, number, purpose).

A word is a BLAKE2b hash of its address (RFC 7693): the same on every machine and under every version of every
library, and no word depends on another's having been drawn. Readings, which need millions, have `worker.streams`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

Option = TypeVar("Option")

SPAN = 1_000_000


class Draws:
    """All draws for identity `number` of a fleet with `seed`."""

    def __init__(self, seed: int, number: int) -> None:
        self._address = blake2b(f"{seed}/{number}/".encode(), digest_size=8, person=b"fleet-identity")

    def word(self, purpose: str) -> int:
        """A whole number, uniform in [0, 2^64)."""
        drawn = self._address.copy()
        drawn.update(purpose.encode())
        return int.from_bytes(drawn.digest(), "little")

    def share(self, purpose: str) -> float:
        """A number uniform in [0, 1)."""
        return (self.word(purpose) >> 11) * 2.0**-53

    def between(self, first: int, last: int, purpose: str) -> int:
        """A whole number, uniform from `first` to `last`, both possible (uneven by less than their span / 2^64)."""
        return first + (self.word(purpose) * (last - first + 1) >> 64)

    def pick(self, options: Sequence[Option], purpose: str) -> Option:
        """One of the options, of which there is at least one."""
        return options[self.between(0, len(options) - 1, purpose)]


def shuffled(number: int, seed: int, purpose: str) -> int:
    """Where a shuffle of 0..999,999 puts `number` (modulo a million): no two numbers get the same.

    A Feistel network on 20 bits, four rounds, walked on until the value is in the range.
    """
    value = number % SPAN
    while True:
        left, right = divmod(value, 1024)
        for turn in range(4):
            address = f"{seed}/{purpose}/{turn}/{right}".encode()
            mask = int.from_bytes(blake2b(address, digest_size=2, person=b"fleet-shuffle").digest(), "little") % 1024
            left, right = right, left ^ mask
        value = left * 1024 + right
        if value < SPAN:
            return value
