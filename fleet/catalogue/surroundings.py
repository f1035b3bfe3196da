"""Surroundings: what kind of place a sensor stands in, by what its identity says of where it is.

Which there are, by which words they are known and what they do is in the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fleet.catalogue.entries import AUTO, NONE, Surroundings
from worker.spec import Identity

WORD = re.compile(r"[^\W\d_]+")


def surroundings_of(choice: str, known: Mapping[str, Surroundings], identity: Identity) -> str | None:
    """The name of a sensor's surroundings, None if it has none that are known.

    `choice` is a name, or `none`, or `auto`. Then it is a `deployment_type` that is such a name; or the first word in
    the location by which one is known; or the first such word in the deployment type.
    """
    if choice != AUTO:
        return None if choice == NONE else choice
    deployment, location = (identity.deployment_type or "").lower(), (identity.location or "").lower()
    if deployment in known:
        return deployment
    meanings = {word.lower(): name for name, entry in known.items() for word in entry.words}
    words = (*WORD.findall(location), *WORD.findall(deployment))
    return next((meanings[word] for word in words if word in meanings), None)
