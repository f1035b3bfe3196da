"""The command line, in this process: whatever is typed, the exit code is 0, 1 or 2, and an error is one line."""

from __future__ import annotations

import io
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.cli import main
from fleet.resources import resource_path
from tests.fuzz.bounds import LONGEST_LINE, examples, processor_time_limit

pytestmark = pytest.mark.thorough

UP = ("--replicas", "--rate", "--seed", "--prefix", "--identities", "--for", "--start", "--host", "--port", "--config")
MINT = ("--out", "--seed", "--prefix", "--config")
VALUES = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "3",
        "+3",
        "03",
        "1.5",
        "1e3",
        "1e-7",
        "nan",
        "inf",
        "１２",
        "٣",
        "²",
        "0x1",
        "1_0",
        "9" * 30,
    ),
    *("9" * 5000, "1e9999", "5x", "1d1h", "1m1m", "s", "5S", "1e3s", "1ms", "0.0001s", "99999d", "1d" * 1000, "-5s"),
    *(
        "2026-01-01",
        "2026-W01",
        "2026-01-01T00:00:00Z",
        "2026-13-01",
        "0001-01-01T00:00+14:00",
        "2199-12-31T23:59-23:59",
    ),
    *(
        "a/b",
        "..",
        ".",
        "/",
        "/dev/null",
        "/dev/zero",
        "/proc/self/mem",
        "missing/x",
        "file",
        "folder",
        "x" * 300,
        "x" * 5000,
    ),
    *(
        "\udcff",
        "a\udc80b",
        "\ud800",
        "\x1b[31m",
        "a\nb",
        "\u2028",
        "\u202e",
        "é",
        "🦆",
        "'",
        '"',
        "%s",
        "${HOME}",
        "~",
    ),
    *(
        "localhost",
        "::1",
        "256.1.1.1",
        "1.2.3",
        "a..b",
        "a" * 64 + ".b",
        "*",
        "0",
        "[::1]",
        "127.0.0.1:80",
        "xn--a",
        "é.b",
    ),
    *("--", "-", "--no-such", "-x", "--help", "-h", "--version", "true", "null", "small.yaml", "odd.yaml"),
)
values = st.sampled_from(VALUES) | st.text(st.characters(exclude_characters="\0"), max_size=12)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current one; it has a file, a folder and a config, and no fleet can run in what is given as --data."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SENSOR_", "MONITORING_"))]:
        monkeypatch.delenv(name)
    Path("file").write_text("x")
    Path("folder").mkdir()
    Path("odd.yaml").write_text('sensor: {location: "\\e"}')
    Path("cities.tsv").write_text("\n".join(resource_path("cities.tsv").read_text().splitlines()[:20]))
    Path("small.yaml").write_text("random_location: {cities_file: cities.tsv}\nmonitoring: {port: 0}\n")
    monkeypatch.setenv("CONFIG_FILE", "small.yaml")
    return tmp_path


@pytest.fixture(scope="module")
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors, with streams that encode as those of a terminal do."""
    written, said = io.BytesIO(), io.BytesIO()
    out = io.TextIOWrapper(written, "utf-8", "strict", write_through=True)
    err = io.TextIOWrapper(said, "utf-8", "backslashreplace", write_through=True)
    before, sys.argv = sys.argv, ["fleet", *arguments]
    try:
        with redirect_stdout(out), redirect_stderr(err), processor_time_limit(), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert isinstance(ended.value.code, int)
    return ended.value.code, written.getvalue().decode(), said.getvalue().decode()


def check(*arguments: str) -> None:
    code, out, err = run(*arguments)

    assert code in (0, 1, 2), err
    lines = err.split("\n")
    assert lines.pop() == "", repr(err)
    if code:
        assert "" == out
        # click says again what it did not expect, with its line ends.
        assert 1 == len(lines) or (code == 2 and "\n" in "".join(arguments)), err
        assert lines[0].startswith("fleet"), err
    # What was typed may come back as it is: the terminal has had it already.
    typed = sum(map(len, arguments))
    assert all(len(line) <= LONGEST_LINE + 10 * typed for line in lines), err
    assert not all(map(str.isprintable, arguments)) or all(map(str.isprintable, lines)), err


@examples(90)
@given(flags=st.lists(st.tuples(st.sampled_from(UP), values), min_size=1, max_size=4))
def test_up(folder: Path, flags: Sequence[tuple[str, str]]) -> None:
    """Any value for its flags. Nothing is started: what is given as the data directory is a file."""
    check("up", "--data", "file", *(word for flag in flags for word in flag))


@examples(80)
@given(data=values, identities=values)
def test_up_somewhere(folder: Path, taken_port: str, data: str, identities: str) -> None:
    """Any name for its folders. Nothing is started: the port is taken, which is found out last."""
    check("up", f"--data={data}", f"--identities={identities}", "--port", taken_port)


@examples(60)
@given(
    count=st.sampled_from(("0", "-1", "2", "+2", " 2", "１", "²", "1.5", "x", "", "9" * 30, "--", "-h")),
    flags=st.lists(st.tuples(st.sampled_from(MINT), values), max_size=3),
)
def test_mint(folder: Path, count: str, flags: Sequence[tuple[str, str]]) -> None:
    """Any value for its flags."""
    check("identities", "mint", count, "--out", "new", *(word for flag in flags for word in flag))


OTHERS = (
    *(("config", "check"), ("config", "show"), ("verify", "--data"), ("status", "--data"), ("down", "--data")),
    *(("scale", "3", "--data"), ("scale",), ("restart", "X", "--data"), ("restart",), ("logs", "--data"), ("logs",)),
    *(("down", "--timeout"), ("logs", "-n"), ("verify", "--sensor"), ("config",), ("identities",), ()),
)


@examples(120)
@given(command=st.sampled_from(OTHERS), words=st.lists(values, min_size=1, max_size=2))
def test_the_other_commands(folder: Path, command: Sequence[str], words: Sequence[str]) -> None:
    """Where no fleet runs, with any words after them."""
    check(*command, *words)
