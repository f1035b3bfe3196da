"""The files that come with the program: default config, examples, catalogue, profiles, city table."""

from __future__ import annotations

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent


def resource_path(name: str) -> Path:
    """Where `name` (as in `packaged("fleet.yaml")`) is: inside the installed package, else in a source tree's configs/."""
    installed = PACKAGE_DIR / "configs" / name
    return installed if installed.exists() else PACKAGE_DIR.parent / "configs" / name
