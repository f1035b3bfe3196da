"""The files that are shipped with the program: default config, examples, catalogue, kinds of sensor, city table."""

from __future__ import annotations

from pathlib import Path

PACKAGE_DIR = Path(__file__).resolve().parent


CATALOGUE = "catalogue"
"""The name of the file among the packaged configs that is not one."""


def packaged_configs() -> dict[str, Path]:
    """Return the packaged configs by name, such as `chaos-test`."""
    found = sorted(resource_path("fleet.yaml").parent.glob("*.yaml"))
    return {path.stem: path for path in found if path.stem != CATALOGUE}


def resource_path(name: str) -> Path:
    """Return the path of a file (as in `resource_path("fleet.yaml")`) in the installed package, else in the source
    tree's configs/."""
    installed = PACKAGE_DIR / "configs" / name
    return installed if installed.exists() else PACKAGE_DIR.parent / "configs" / name
