"""The operator's side of the simulator: command line, configuration, identities, HTTP.

For notebooks: `from fleet import Fleet, read`. Nothing is imported before one of them is used, because workers are to stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fleet.history.library import Fleet, Readings, Table, read

__all__ = ["Fleet", "Readings", "Table", "read"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fleet.history import library

    return getattr(library, name)
