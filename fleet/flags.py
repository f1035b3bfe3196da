"""The flags of `fleet up` as overrides of the config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.config import Given
from fleet.durations import seconds

KEYS = {
    "replicas": ("replicas.count", "--replicas"),
    "rate": ("simulation.readings_per_second", "--rate"),
    "seed": ("simulation.seed", "--seed"),
    "prefix": ("replicas.prefix", "--prefix"),
    "start": ("simulation.start", "--start"),
    "host": ("monitoring.host", "--host"),
    "port": ("monitoring.port", "--port"),
}


def overrides(flags: Mapping[str, Any]) -> dict[str, object]:
    """Dotted keys of the config and the values given for them. UserError for a duration that is none."""
    given: dict[str, object] = {
        key: Given(flags[name], flag) for name, (key, flag) in KEYS.items() if flags[name] is not None
    }
    if flags["shared_db"]:
        given["replicas.database"] = Given("shared", "--shared-db")
    if flags["no_http"]:
        given["monitoring.enabled"] = Given(False, "--no-http")
    if flags["duration"] is not None:
        given["simulation.duration_seconds"] = Given(seconds(flags["duration"], "--for"), "--for")
    return given
