"""Print pins of pyproject.toml, one to a line, in the form that pip reads.

    pins.py constraints     what the dependencies bring along (for `pip install -c`)
    pins.py dependencies    what the project itself imports
    pins.py GROUP           a dependency group, such as `test` or `dev`

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def pins(pyproject: dict[str, Any], name: str) -> list[str]:
    """The list called `name`, groups included in it unfolded; a KeyError if there is none."""
    if name == "constraints":
        return list(pyproject["tool"]["uv"]["constraint-dependencies"])
    if name == "dependencies":
        return list(pyproject["project"]["dependencies"])
    found: list[str] = []
    for entry in pyproject["dependency-groups"][name]:
        found += pins(pyproject, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def main(names: list[str]) -> int:
    if not names:
        print(__doc__, file=sys.stderr)
        return 2
    pyproject = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    for name in names:
        print(*pins(pyproject, name), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
