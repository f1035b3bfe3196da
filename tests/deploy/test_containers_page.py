"""The page on containers: every command line on it is one. What runs without an engine is run in tests/docs."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.deploy.test_deployment import ROOT, assert_command, compose_verdict

PAGE = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
WITH_VALUE = {"-v", "-e", "-p", "--user"}


def lines() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.claim("000.overview-quick.7", "001.local-development.2")
def test_what_is_run_in_the_image_is_a_command() -> None:
    """After the image's name or the container's; nothing stands for the default command."""
    commands = [line for line in lines() if re.match(r"docker (run|exec) ", line)]
    for line in commands:
        words = shlex.split(line)[2:]
        while words[0].startswith("-"):
            words = words[2:] if words[0] in WITH_VALUE else words[1:]
        target, *inside = words
        assert target in ("sensor-fleet", "CONTAINER"), line
        if inside:
            assert_command(inside)
    assert 15 < len(commands)


def test_configs_on_the_page_exist() -> None:
    assert [] == [name for name in re.findall(r"configs/[a-z-]+\.yaml", PAGE) if not (ROOT / name).exists()]


@pytest.mark.claim("001.troubleshooting.5")
def test_yaml_on_the_page_is_compose(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "compose.yaml").write_text(block)

    assert "" == compose_verdict(tmp_path / "compose.yaml")


@pytest.mark.parametrize("line", [line for line in lines() if line.startswith("scripts/build.py")])
@pytest.mark.claim("001.building-versioning.1")
def test_the_builds_are_what_they_say(line: str) -> None:
    command = [*shlex.split(line.partition("#")[0]), "--dry-run", "--engine", "docker"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (0, "") == (ran.returncode, ran.stderr)
    assert ("--skip-push" in line) == (" --push" not in ran.stdout)
