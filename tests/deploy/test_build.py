"""The build of versioned images, in its dry run: which version, which tags, which commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = Path(__file__).resolve().parent.parent.parent / "scripts" / "build.py"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with version 0.1.0 in its pyproject.toml and no tag."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.1.0"\n')
    for command in (
        ["init", "-q"],
        ["add", "pyproject.toml"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def tag(repository: Path, *names: str) -> None:
    for name in names:
        subprocess.run(["git", "tag", name], cwd=repository, check=True)


def dry(repository: Path, *arguments: str, engine: str = "docker") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BUILD), "--dry-run", "--context", str(repository), "--engine", engine]
    command += ["--image", "example/sensor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        ((), "1.10.0 -> 1.11.0"),
        (("--version-bump", "major"), "1.10.0 -> 2.0.0"),
        (("--version-tag", "2.5.3"), "1.10.0 -> 2.5.3"),
    ],
)
@pytest.mark.claim("001.key-features.8")
def test_the_next_version_follows_the_newest_tag(repository: Path, arguments: tuple[str, ...], change: str) -> None:
    """By number, not by letter; a minor one unless asked otherwise."""
    tag(repository, "v0.9.0", "v1.9.0", "v1.10.0", "nightly", "v7")

    assert f"version {change}" == dry(repository, *arguments).stdout.splitlines()[0]


def test_without_a_tag_it_follows_the_project(repository: Path) -> None:
    assert dry(repository).stdout.startswith("version 0.1.0 -> 0.2.0\n")


@pytest.mark.claim("001.building-versioning.2", "001.building-versioning.3", "001.building-versioning.4")
def test_an_image_gets_three_tags_on_two_platforms(repository: Path) -> None:
    """With docker in one command; afterwards the commit is tagged, and that is pushed."""
    _, build, *git = dry(repository).stdout.splitlines()

    assert build.startswith("$ docker buildx build --platform linux/amd64,linux/arm64 ")
    latest, time, version = re.findall(r"--tag example/sensor:(\S+)", build)
    assert ("latest", "v0.2.0") == (latest, version)
    assert re.fullmatch(r"\d{10}", time)
    assert build.endswith(" --push .")
    assert ["$ git tag -a v0.2.0 -m 'Version 0.2.0'", "$ git push origin v0.2.0"] == git


def test_podman_pushes_the_same(repository: Path) -> None:
    _, build, *pushes = dry(repository, engine="podman").stdout.splitlines()[:-2]

    assert "--platform linux/amd64,linux/arm64" in build
    targets = [push.rpartition(":")[2] for push in pushes]
    assert ["latest", "v0.2.0"] == [targets[0], targets[2]]
    assert all("manifest push --all example/sensor:v0.2.0 docker://example/sensor:" in push for push in pushes)


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_skip_push_pushes_nothing(repository: Path, engine: str) -> None:
    """No image and no tag."""
    assert "push" not in dry(repository, "--skip-push", engine=engine).stdout
    assert "git tag" not in dry(repository, "--skip-push", engine=engine).stdout


@pytest.mark.parametrize("wrong", ["2.5", "v2.5.3", "2.5.3-beta", "02.5.3", "2.5.3 ", "1.2.0"])
@pytest.mark.claim("001.building-versioning.5")
def test_a_version_that_cannot_be_is_refused(repository: Path, wrong: str) -> None:
    tag(repository, "v1.2.0")

    refused = dry(repository, "--version-tag", wrong)

    assert (1, "", 1) == (refused.returncode, refused.stdout, refused.stderr.count("\n"))
    assert wrong in refused.stderr
