"""The colours of the dashboard, from its style sheet, for both themes."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

STYLES = Path(__file__).resolve().parent.parent / "web" / "static"
TOKEN = re.compile(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);")


class Colour(NamedTuple):
    """A colour in the light and in the dark theme, such as `#15202c`."""

    light: str
    dark: str


@lru_cache(maxsize=1)
def colours() -> dict[str, Colour]:
    """Return the colours by name; each type of anomaly has one of its name."""
    text = (STYLES / "tokens.css").read_text(encoding="utf-8")
    return {name: Colour(light, dark) for name, light, dark in TOKEN.findall(text)}
