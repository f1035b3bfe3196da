"""Small files that are replaced whole: who reads one finds what it was or what it is, never a part."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, text: str, *, sync: bool = False) -> None:
    """Write it beside the file and move it into place; with `sync` once it is on the disk. After an OSError the file is
    as it was, and what was written is gone."""
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
