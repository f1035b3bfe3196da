"""Running what a page says to type, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.process.running_fleet import ENVIRONMENT


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def bash(script: str, folder: Path, seconds: float = 90) -> str:
    """Run to its end, each command successful; the output of all."""
    path = f"{folder.parent / 'commands'}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", script]
    environment = ENVIRONMENT | {"PATH": path, "MONITORING_PORT": "0"}
    with (folder.parent / "output").open("w+") as output:
        ran = subprocess.run(
            command, cwd=folder, env=environment, stdout=output, stderr=output, timeout=seconds, check=False
        )
        output.seek(0)
        text = output.read()
    assert 0 == ran.returncode, text
    return text
