"""The house rules that a machine can check, for whatever git tracks."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
OURS = ("fleet", "supervisor", "worker")
MAY_IMPORT = {"fleet": {"fleet", "supervisor", "worker"}, "supervisor": {"supervisor", "worker"}, "worker": {"worker"}}
PACKAGES = (
    "validation",
    "catalogue",
    "config",
    "identities",
    "datadir",
    "monitoring",
    "runtime",
    "web",
    "verify",
    "delivery",
    "streaming",
    "history",
    "plots",
    "report",
    "commands",
    "cli",
)
A_FLEET_OF_ONE = "worker/__main__.py"
TOPS = ["fleet/commands/console.py", "fleet/delivery/collector.py", "worker/supervision/child.py"]
VAGUE = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

pytestmark = pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None, reason="only git knows what belongs to the repository"
)


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks or would add, as they are in the work tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def shipped() -> list[Path]:
    return tracked("fleet/*.py", "worker/*.py", "supervisor.py")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of each module that a file imports, at the top or inside a function."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = name_of(path).split("/")[0] if node.level else ""
            yield node.lineno, ".".join(filter(None, (inside, node.module)))


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(pyproject: dict[str, Any]) -> list[str]:
    groups = [entry for group in pyproject["dependency-groups"].values() for entry in group if isinstance(entry, str)]
    extras = [pin for extra in pyproject["project"]["optional-dependencies"].values() for pin in extra]
    return [
        *pyproject["build-system"]["requires"],
        *pyproject["project"]["dependencies"],
        *extras,
        *groups,
        *pyproject["tool"]["uv"]["constraint-dependencies"],
    ]


@pytest.mark.claim("000.code-structure.1")
def test_imports_run_one_way() -> None:
    """fleet -> supervisor -> worker; one sensor in the foreground is a fleet of one and may look up."""
    wrong = []
    for path in shipped():
        home = name_of(path).split("/")[0].removesuffix(".py")
        for line, module in imports(path):
            root = module.split(".")[0]
            if root in OURS and root not in MAY_IMPORT[home] and name_of(path) != A_FLEET_OF_ONE:
                wrong.append(f"{name_of(path)}:{line} imports {module}")

    assert [] == wrong


def test_the_parts_of_fleet_build_on_each_other() -> None:
    """Each imports only from those before it in PACKAGES; what lies beside them is for all."""
    wrong = []
    for path in tracked("fleet/*.py"):
        home = name_of(path).split("/")[1].removesuffix(".py")
        if home not in PACKAGES:
            continue
        for line, module in imports(path):
            names = module.split(".")
            package = names[1] if names[0] == "fleet" and len(names) > 1 else None
            if package in PACKAGES and PACKAGES.index(package) > PACKAGES.index(home):
                wrong.append(f"{name_of(path)}:{line} imports {module}")

    assert [] == wrong


def test_sqlite3_is_imported_nowhere() -> None:
    """Closing an sqlite3 connection drops the POSIX locks that apsw holds on the same file in the same process."""
    found = [
        f"{name_of(path)}:{line}" for path in tracked("*.py") for line, module in imports(path) if module == "sqlite3"
    ]

    assert [] == found


def test_files_and_functions_are_short() -> None:
    """What grows past this is usually two things."""
    long = []
    for path in tracked("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            long.append(f"{name_of(path)}: {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long.append(f"{name_of(path)}:{node.lineno} {node.name}: {length} lines")

    assert [] == long


def test_modules_are_named_for_what_they_hold() -> None:
    vague = [name_of(path) for path in tracked("*.py") if set(path.stem.split("_")) & VAGUE]

    assert [] == vague


def test_anything_is_caught_only_at_the_top_of_a_process() -> None:
    """Of the command line's and of a child's, once each; everywhere else an error is caught by its name."""
    found = []
    for path in shipped():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
                if any(one is None or getattr(one, "id", "") in {"Exception", "BaseException"} for one in caught):
                    found.append(name_of(path))

    assert TOPS == found


@pytest.mark.claim("000.code-structure.2")
def test_every_pin_is_exact(pyproject: dict[str, Any]) -> None:
    loose = [pin for pin in requirements(pyproject) if not re.fullmatch(r"[a-z][a-z0-9-]*==\d+(\.\d+)*", pin)]

    assert [] == loose


def test_a_package_is_pinned_to_one_version(pyproject: dict[str, Any]) -> None:
    """Whether for the build, for running or for testing."""
    versions: dict[str, set[str]] = {}
    for pin in requirements(pyproject):
        name, version = pin.split("==")
        versions.setdefault(name, set()).add(version)

    assert {} == {name: several for name, several in versions.items() if len(several) > 1}


def test_what_is_installed_is_what_is_pinned(pyproject: dict[str, Any]) -> None:
    """Down to what the dependencies bring along; linters need not be there."""
    pins = dict(pin.split("==") for pin in requirements(pyproject))
    waiting = [pin.split("==")[0] for pin in requirements(pyproject)]
    seen: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        seen[name] = distribution.version
        needs = [Requirement(line) for line in distribution.requires or []]
        waiting += [
            canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})
        ]

    assert {name: pins.get(name, "no pin") for name in seen} == seen


def test_no_registry_and_no_machine_is_named() -> None:
    """Where packages come from is the user's setting, and no path of one machine means anything on another."""
    hosts = [".".join(host) for host in [("pypi", "org"), ("pythonhosted", "org"), ("debian", "org"), ("npmjs", "org")]]
    hosts += [".".join(host) for host in [("docker", "io"), ("quay", "io"), ("ghcr", "io"), ("gcr", "io")]]
    folders = ["/" + folder + "/" for folder in ("work", "root", "Users", "opt/pypi", "opt/wheels", "tmp/lab")]
    named = re.compile("|".join(map(re.escape, hosts)) + r"|(?<![\w.}])(?:" + "|".join(folders) + r"|/home/\w)")
    found = []
    for path in tracked():
        if path.suffix in {".png", ".gif", ".ico", ".gz", ".db"}:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [
            f"{name_of(path)}:{number} {line.strip()[:80]}"
            for number, line in enumerate(lines, 1)
            if named.search(line)
        ]

    assert [] == found


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in tracked("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            place = target.partition("#")[0]
            if place and not re.match(r"[a-z]+:", place) and not (page.parent / place).exists():
                broken.append(f"{name_of(page)}: {target}")

    assert [] == broken


def test_documents_name_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        (name_of(page), target)
        for page in tracked("*.md", ".ci/run")
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }

    assert set() == {(page, target) for page, target in named if target not in targets}


def test_the_changelog_knows_the_version(pyproject: dict[str, Any]) -> None:
    """The newest release on record, or, with changes waiting under Unreleased, a version after it."""
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    version = Version(pyproject["project"]["version"])
    released = [Version(heading) for heading in headings if heading != "Unreleased"]

    if headings[0] == "Unreleased":
        assert all(version > older for older in released)
    else:
        assert version == released[0]


def test_the_wheel_holds_the_packages_and_the_configs(tmp_path: Path) -> None:
    """Everything that git tracks of them, and nothing else: `pip install .` gives the whole command."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "PYTHONWARNINGS": ""})
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    code = {name_of(path) for path in tracked("fleet", "worker", "supervisor.py")}
    configs = {f"fleet/{name_of(path)}" for path in tracked("configs")}
    assert code | configs == packed
