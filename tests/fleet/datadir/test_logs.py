"""`fleet logs` finds a worker's lines in any format, and in the older files of a log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fleet.commands.logs import print_log
from fleet.datadir.directory import DataDirectory
from fleet.datadir.logs import prepare_log
from tests.fleet.staged import StagedFleet, sensor_name
from worker.log import DEFAULT_FORMAT, JSON_FORMAT, LogSpec, make_formatter

pytestmark = pytest.mark.claim("000.configuration-file.5")

FORMATS = [
    DEFAULT_FORMAT,
    JSON_FORMAT,
    "%(asctime)s - %(name)s - %(levelname)s - %(message)s",
    "[%(levelname)-8s] %(process)d {%(name)s} %(message)s",
    "%(name)s %(message)s (%(levelname)s)",
]


def line(form: str, logger: str, message: str) -> str:
    return make_formatter(form).format(logging.LogRecord(logger, logging.INFO, "", 0, message, (), None)) + "\n"


@pytest.mark.parametrize("form", FORMATS)
def test_the_lines_of_one_sensor(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own, those of the supervisor about it, and what follows a line of its own. Older files come first."""
    staged = StagedFleet(tmp_path)
    spec = LogSpec(tmp_path / "logs" / "x.log", format=form)
    prepare_log(spec, DataDirectory(staged.data))
    mine, others = sensor_name(1), sensor_name(2)
    older = line(form, "supervisor", f"{mine}: died by SIGKILL, restart in 0.5 s")
    newer = line(form, mine, "paused: the disk is full")
    following = "" if form == JSON_FORMAT else "Traceback\n"
    spec.path.with_name("x.log.1").write_text(line(form, others, f"{mine} is not me") + older)
    spec.path.write_text(line(form, "keeper", "backup") + newer + following + line(form, "supervisor", f"{others}: x"))
    assert 0 == print_log(tmp_path, mine, 100, follow=False)

    assert older + newer + following == capsys.readouterr().out


def test_the_last_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of all files of the log together."""
    spec = LogSpec(tmp_path / "run" / "fleet.log")
    (tmp_path / "run").mkdir()
    prepare_log(spec, DataDirectory(tmp_path))
    spec.path.with_name("fleet.log.1").write_text("a\nb\n")
    spec.path.write_text("c\nd\n")
    assert 0 == print_log(tmp_path, None, 3, follow=False)

    assert "b\nc\nd\n" == capsys.readouterr().out
