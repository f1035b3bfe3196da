"""The OpenAPI description of all that is served, put together from the files in `openapi/`.

To describe another path: an entry in the file that it belongs to. A test compares paths and answers with the server's.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from worker.readings.anomalies import ANOMALY_TYPES

OPENAPI_DIRECTORY = Path(__file__).with_name("openapi")


@cache
def openapi_json() -> bytes:
    """The description as JSON."""
    return json.dumps(openapi_document(), ensure_ascii=False, separators=(",", ":")).encode()


def openapi_document() -> dict[str, Any]:
    import yaml  # for this document only: the process of the aggregator is small

    parts = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(OPENAPI_DIRECTORY.glob("*.yaml"))]
    (whole,) = (part for part in parts if "openapi" in part)
    whole["paths"] = {path: item for part in parts for path, item in part.get("paths", {}).items()}
    for part in parts:
        for kind, entries in part["components"].items():
            whole["components"].setdefault(kind, {}).update(entries)
    schemas = whole["components"]["schemas"]
    schemas["AnomalyType"]["enum"] = schemas["ByType"]["required"] = list(ANOMALY_TYPES)
    return dict(whole)
