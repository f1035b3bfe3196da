#!/usr/bin/env python3
"""Build and push the container image under a new version, for linux/amd64 and linux/arm64.

    scripts/build.py --image registry.example/sensor-fleet          1.2.0 -> 1.3.0
    scripts/build.py --image ... --version-bump major               1.2.0 -> 2.0.0
    scripts/build.py --image ... --version-tag 2.5.3
    scripts/build.py --skip-push                                    build only
    scripts/build.py --dry-run                                      say what would be done

The version before is that of the newest git tag `vX.Y.Z`, or the one in pyproject.toml. The image gets three tags:
`latest`, the time in UTC as YYMMDDHHMM, and `vX.Y.Z`; once they are pushed, the commit gets the last as well.

Works with docker buildx or podman, whichever there is. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent
PLATFORMS = "linux/amd64,linux/arm64"
NUMBER = r"(0|[1-9][0-9]*)"
SEMANTIC = re.compile(rf"{NUMBER}\.{NUMBER}\.{NUMBER}")

Command = list[str]


class Version(NamedTuple):
    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def bumped(self, part: str) -> Version:
        return Version(self.major + 1, 0, 0) if part == "major" else Version(self.major, self.minor + 1, 0)


def version(text: str) -> Version:
    """ValueError if it is not a semantic version X.Y.Z."""
    found = SEMANTIC.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a semantic version X.Y.Z, such as 2.5.3")
    return Version(*map(int, found.groups()))


def newest(tags: Iterable[str]) -> Version | None:
    """The highest version among git tags; those that are none are passed over."""
    versions = [version(tag[1:]) for tag in tags if tag.startswith("v") and SEMANTIC.fullmatch(tag[1:])]
    return max(versions, default=None)


def image_tags(made: Version, now: datetime) -> list[str]:
    return ["latest", f"{now:%y%m%d%H%M}", f"v{made}"]


def building(engine: str, image: str, tags: Sequence[str], base: str | None, push: bool) -> list[Command]:
    """The commands that build the image for all platforms and, with `push`, push it under all tags."""
    names = [f"{image}:{tag}" for tag in tags]
    chosen = ["--build-arg", f"BASE={base}"] if base else []
    if engine == "docker":
        tagged = [word for name in names for word in ("--tag", name)]
        return [["docker", "buildx", "build", "--platform", PLATFORMS, *chosen, *tagged, *["--push"] * push, "."]]
    build = ["podman", "build", "--format", "docker", "--platform", PLATFORMS, *chosen, "--manifest", names[-1], "."]
    pushes = [["podman", "manifest", "push", "--all", names[-1], f"docker://{name}"] for name in names]
    return [build, *(pushes if push else [])]


def tagging(made: Version) -> list[Command]:
    return [["git", "tag", "-a", f"v{made}", "-m", f"Version {made}"], ["git", "push", "origin", f"v{made}"]]


def git_tags(context: Path) -> list[str]:
    command = ["git", "tag", "--list"]
    return subprocess.run(command, cwd=context, check=True, capture_output=True, text=True).stdout.split()


def declared(context: Path) -> Version:
    text = (context / "pyproject.toml").read_text(encoding="utf-8")
    return version(tomllib.loads(text)["project"]["version"])


def engine_here() -> str:
    """docker if it can build for several platforms, else podman."""
    if shutil.which("docker"):
        asked = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
        if asked.returncode == 0:
            return "docker"
    return "podman" if shutil.which("podman") else refuse("there is neither docker with buildx nor podman")


def refuse(reason: str) -> NoReturn:
    print(f"build: {reason}", file=sys.stderr)
    sys.exit(1)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version-bump", choices=["major", "minor"], default="minor")
    which.add_argument("--version-tag", metavar="X.Y.Z")
    parser.add_argument("--skip-push", action="store_true", help="push neither the image nor a git tag")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, run none")
    parser.add_argument("--image", default=os.environ.get("IMAGE", "localhost/sensor-fleet"), help="name without a tag")
    parser.add_argument("--engine", choices=["docker", "podman"], help="default: docker with buildx, else podman")
    parser.add_argument("--context", type=Path, default=ROOT, help="folder of the Dockerfile, in a git repository")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    tags = git_tags(asked.context)
    try:
        before = newest(tags) or declared(asked.context)
        made = version(asked.version_tag) if asked.version_tag else before.bumped(asked.version_bump)
    except ValueError as error:
        refuse(str(error))
    if f"v{made}" in tags:
        refuse(f"there is a version {made} already")
    engine = asked.engine or engine_here()
    push = not asked.skip_push
    commands = (
        building(engine, asked.image, image_tags(made, datetime.now(UTC)), os.environ.get("BASE"), push)
        + tagging(made) * push
    )
    print(f"version {before} -> {made}")
    for command in commands:
        print(f"$ {shlex.join(command)}", flush=True)
        if not asked.dry_run:
            subprocess.run(command, cwd=asked.context, check=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        refuse(f"`{shlex.join(error.cmd)}` failed with exit code {error.returncode}")
