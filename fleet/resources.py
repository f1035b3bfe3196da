"""The files that are shipped with the program: default config, examples, catalogue, profiles, city table."""

from __future__ import annotations

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent


def resource_path(name: str) -> Path:
    """Return the path of a file (as in `resource_path("fleet.yaml")`) in the installed package, else in the source
    tree's configs/."""
    installed = PACKAGE_DIR / "configs" / name
    return installed if installed.exists() else PACKAGE_DIR.parent / "configs" / name
