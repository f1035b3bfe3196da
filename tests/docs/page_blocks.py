"""The blocks of a page, and a reader who types them in their order in an empty folder.

A page says in comments, which its readers do not see, how a block is tested where that does not follow from its language:
`<!-- not run: REASON -->` above a block leaves it out, `<!-- pipe: COMMAND -->` gives it to a command as its input, and
`<!-- run: COMMAND -->` on a line of its own is a command that the page does not show.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.process.evidence import open_database
from tests.process.running_fleet import ENVIRONMENT, ROOT

SHELL = ("sh", "bash", "console")
BLOCK = re.compile(
    r"^ *<!-- run: (?P<hidden>.+?) -->$"
    r"|(?:^ *<!-- (?P<marker>not run|pipe): (?P<argument>.+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$"
    r"(?:\n\n(?P=indent)```\n(?P<shown>.*?)^(?P=indent)```$)?",
    re.MULTILINE | re.DOTALL,
)
SECONDS_TO_SETTLE = 10.0
DEFAULT_PORTS = ("8080", "8090")
LONG_RUN, SHORT_RUN = "--for 10s", "--for 1s"
"""A reader watches a fleet for ten seconds; one second of it needs the same commands. With a seed the page says what is in it."""


@dataclass(frozen=True)
class Block:
    """One fenced block, or a hidden command. `shown` is the output that the page shows below it."""

    language: str
    text: str
    shown: str | None = None
    not_run: str | None = None
    pipe: str | None = None


def blocks(page: Path) -> list[Block]:
    found = []
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["hidden"]:
            found.append(Block("sh", match["hidden"]))
        else:
            reason, pipe = (match["argument"] if match["marker"] == kind else None for kind in ("not run", "pipe"))
            text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
            found.append(Block(match["language"], text, match["shown"], reason, pipe))
    return found


def without_figures(line: str) -> str:
    """Words with a digit in them differ from run to run; rules of tables are as long as their cells."""
    return re.sub(r"#+", "#", re.sub(r"\S*\d\S*|─+|\s+", "#", line.strip()))


def differences(shown: str, printed: str) -> list[str]:
    """Lines that are shown and not printed, in their order; without a line `...`, also those printed and not shown."""
    lines = [line for line in shown.splitlines() if line.strip()]
    expected = [without_figures(line) for line in lines]
    found = [without_figures(line) for line in printed.splitlines() if line.strip()]
    if "..." not in expected and len(expected) != len(found):
        return [f"{len(expected)} lines are shown, {len(found)} printed"]
    missing = []
    for line, wanted in zip(lines, expected, strict=True):
        if wanted in found:
            found = found[found.index(wanted) + 1 :]
        elif wanted != "...":
            missing.append(line)
    return missing


def cells(table: str) -> list[list[str]]:
    """The rows of a table as `sqlite3 -box` draws it."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines()[3:-1]]


class Reader:
    """Types what a page says. Wherever a page has a default port, a free one is taken."""

    def __init__(self, folder: Path, commands: Path) -> None:
        self._folder, self._output = folder, commands.parent / "output"
        self._data: str | None = None
        self._ports = {port: free_port() for port in DEFAULT_PORTS}
        self._environment = ENVIRONMENT | {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "MONITORING_PORT": self._ports["8080"],
            "CLONE": str(ROOT),
        }

    def read(self, block: Block) -> None:
        """Do what a block says, and compare with what is shown below it. AssertionError where either fails."""
        if block.not_run is not None:
            return
        if block.pipe is not None:
            self._compare(block, self._bash(block.pipe, block.text))
        elif block.language in SHELL:
            self._type(block)
        elif block.language == "sql":
            self._query(block)
        elif block.language == "python":
            self._compare(block, self._bash("python -", block.text), exactly=True)
        elif block.language == "yaml":
            self._check_config(block)

    def _type(self, block: Block) -> None:
        """Run commands. A query of a running fleet is repeated: a reader types it seconds after the command before it,
        when the next batch is committed."""
        if block.text.startswith("sqlite3") and not shutil.which("sqlite3"):
            return
        self._data = self._data or next(iter(re.findall(r"--data (\S+)", block.text)), None)
        output = self._bash(block.text)
        end = time.monotonic() + SECONDS_TO_SETTLE
        while (
            block.text.startswith("sqlite3") and differences(block.shown or output, output) and time.monotonic() < end
        ):
            time.sleep(0.2)
            output = self._bash(block.text)
        self._compare(block, output)

    def _query(self, block: Block) -> None:
        """Ask the database of the fleet that the page named first. A query finds something, and exactly what is shown."""
        data = self._folder / (self._data or "data")
        shared = data / "sensor_data.db"
        with open_database(shared if shared.exists() else min(data.glob("*.db"))) as connection:
            for query in filter(str.strip, block.text.split(";\n")):
                cursor = connection.execute(query)
                rows = [["" if value is None else str(value) for value in row] for row in cursor]
                assert rows or changes(query), f"finds nothing: {query}"
                if block.shown is not None:
                    assert cells(block.shown) == rows

    def _check_config(self, block: Block) -> None:
        """A block whose first line is a comment with a file's name is that file; any other is a config."""
        name = re.match(r"# (\S+\.yaml)\n", block.text)
        path = self._folder / (name[1] if name else "data/block.yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        if not name:
            self._bash(f"fleet config check {shlex.quote(str(path))}")

    def _compare(self, block: Block, output: str, exactly: bool = False) -> None:
        if block.shown is not None:
            assert [] == differences(block.shown, output), output
            assert not exactly or block.shown.split() == output.split()

    def _bash(self, script: str, text: str = "", seconds: float = 120) -> str:
        """Run to its end, each command successful; the output of all."""
        for port, free in self._ports.items():
            script = script.replace(port, free)
        lines = script.split("\n")
        script = "\n".join(line if "--seed" in line else line.replace(LONG_RUN, SHORT_RUN) for line in lines)
        with self._output.open("w+") as output:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                process.communicate(text.encode(), timeout=seconds)
            finally:
                end_group(process)
            output.seek(0)
            printed = output.read()
        for port, free in self._ports.items():
            printed = printed.replace(free, port)
        assert 0 == process.returncode, f"{script}\n{printed}"
        return printed


def end_group(process: subprocess.Popen[bytes]) -> None:
    """What a script that failed has left in the background, too. A detached fleet is in a session of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def changes(query: str) -> bool:
    return query.lstrip().startswith(("UPDATE", "CREATE"))
