"""Atomic replacement of small files: a reader finds the old content or the new, never a part."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def replace_file(path: Path, text: str, *, sync: bool = False) -> None:
    """Write `text` to a temporary file and rename it to `path`; with `sync`, after it is on the disk. After an
    OSError the old file is unchanged and the temporary one removed."""
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
