"""Draws: addressed randomness for identities, one 64-bit word for each (seed, number, purpose).

A word is a BLAKE2b hash of its address (RFC 7693): the same on every machine and under every version of every
library, and no word depends on another's having been drawn. Readings, which need millions, have `worker.readings.random_streams`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

Choice = TypeVar("Choice")

NUMBER_COUNT = 1_000_000


class IdentityRandom:
    """All draws for identity `number` of a fleet with `seed`."""

    def __init__(self, seed: int, number: int) -> None:
        self._address = blake2b(f"{seed}/{number}/".encode(), digest_size=8, person=b"fleet-identity")

    def random_bits(self, purpose: str) -> int:
        """A whole number, uniform in [0, 2^64)."""
        drawn = self._address.copy()
        drawn.update(purpose.encode())
        return int.from_bytes(drawn.digest(), "little")

    def random_fraction(self, purpose: str) -> float:
        """A number uniform in [0, 1)."""
        return (self.random_bits(purpose) >> 11) * 2.0**-53

    def random_integer(self, first: int, last: int, purpose: str) -> int:
        """A whole number, uniform from `first` to `last`, both possible (uneven by less than their span / 2^64)."""
        return first + (self.random_bits(purpose) * (last - first + 1) >> 64)

    def choose(self, options: Sequence[Choice], purpose: str) -> Choice:
        """One of the options, of which there is at least one."""
        return options[self.random_integer(0, len(options) - 1, purpose)]


def permute(number: int, seed: int, purpose: str) -> int:
    """Where a shuffle of 0..999,999 puts `number` (modulo a million): no two numbers get the same.

    A Feistel network on 20 bits, four rounds, walked on until the value is in the range.
    """
    value = number % NUMBER_COUNT
    while True:
        left, right = divmod(value, 1024)
        for turn in range(4):
            address = f"{seed}/{purpose}/{turn}/{right}".encode()
            mask = int.from_bytes(blake2b(address, digest_size=2, person=b"fleet-shuffle").digest(), "little") % 1024
            left, right = right, left ^ mask
        value = left * 1024 + right
        if value < NUMBER_COUNT:
            return value
