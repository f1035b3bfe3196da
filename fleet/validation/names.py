"""The ends of names that a fleet gives to its own files, which a sensor or a database of the user must not have."""

from __future__ import annotations

import re

DERIVED_NAME_PATTERN = r"\.(rotated|backup|quarantined|before)-[^.]*$"
"""The end of the name of a rotated database, a backup, a damaged one or one moved aside, without `.db`."""


def not_derived_name(value: str) -> str:
    """Accept a sensor id, a prefix of ids or the name of a database that is not taken for one of those files."""
    found = re.search(DERIVED_NAME_PATTERN, value.removesuffix(".db"), re.IGNORECASE)
    if found:
        raise ValueError(
            f"ends in {found[0]}, like the name of a rotated, saved or damaged database; choose another name"
        )
    return value
