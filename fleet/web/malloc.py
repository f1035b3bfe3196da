"""The heap of a process with many threads: one for all of them.

glibc gives threads heaps of their own, and what one of them has used for a large answer stays with it: eight threads that
each made one take twice as much memory as one that made all. Under Python's lock they would hardly allocate side by side.
"""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""The number of the setting, https://man7.org/linux/man-pages/man3/mallopt.3.html"""


def limit_malloc_arenas() -> None:
    """For before threads are started. Does nothing where the C library knows no such setting."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
