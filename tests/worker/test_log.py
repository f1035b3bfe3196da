"""One log of many processes: no line is lost or torn during rotation; formats."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.datadir.logs import LogRotation, rotated_files
from worker.log import JSON_FORMAT, LogFile, LogSpec, configure_logging, format_sample_line, log_streams, make_formatter

pytestmark = pytest.mark.claim("000.configuration-file.5", "000.error-handling.6", "002.introduction-features.9")

WRITERS, LEAST, MOST = 4, 400, 1_000_000


def write_lines(path: Path, number: int) -> None:
    """Write lines until the log was rotated several times."""
    configure_logging(LogSpec(path, format="%(message)s"))
    for line in range(MOST):
        logging.getLogger("test").info("%d %d %s", number, line, "x" * 50)
        if line > LEAST and path.with_name("log.5").exists():
            path.with_name(f"count-{number}").write_text(str(line + 1))
            return


@pytest.fixture
def handler(tmp_path: Path) -> Iterator[LogFile]:
    subject = LogFile(tmp_path / "log")
    yield subject
    subject.close()


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("who", logging.WARNING, "", 0, message, (), None)


@pytest.mark.process
def test_no_line_is_lost_while_many_write_and_one_rotates(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_lines, args=(path, number)) for number in range(WRITERS)]
    rotation = LogRotation(path, 5_000, 1_000)
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        rotation()
    for writer in writers:
        writer.join()

    files = [*rotated_files(path), *([path] if path.exists() else [])]
    lines = [line.split(" ") for file in files for line in file.read_text().splitlines()]
    for number in range(WRITERS):
        mine = sorted(int(line) for writer, line, _ in lines if int(writer) == number)
        assert list(range(int((tmp_path / f"count-{number}").read_text()))) == mine
    assert all(rest == "x" * 50 for _, _, rest in lines)


@pytest.mark.claim("001.configuration-options.15")
def test_rotation_keeps_a_number_of_older_files(tmp_path: Path) -> None:
    """Number 1 is the newest. A new log is created at once, for its readers."""
    path = tmp_path / "log"
    for number in range(6):
        path.write_text(f"{number}" * 20)
        LogRotation(path, 10, 3)()

    assert ["3" * 20, "4" * 20, "5" * 20] == [file.read_text() for file in rotated_files(path)]
    assert ("", 4) == (path.read_text(), len(list(tmp_path.iterdir())))


def test_rotation_can_keep_no_older_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x" * 20)
    LogRotation(path, 10, 0)()

    assert ([path], "") == (list(tmp_path.iterdir()), path.read_text())


def test_a_log_below_its_limit_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("x" * 10)
    LogRotation(path, 10, 3)()
    LogRotation(tmp_path / "none", 10, 3)()

    assert [path] == list(tmp_path.iterdir())


def test_a_log_that_was_moved_is_followed_by_its_name(handler: LogFile, tmp_path: Path) -> None:
    handler.emit(record("one"))
    os.replace(tmp_path / "log", tmp_path / "aside")
    handler.emit(record("two"))

    assert ("one\n", "two\n") == ((tmp_path / "aside").read_text(), (tmp_path / "log").read_text())


def test_where_there_can_be_no_new_log_the_old_one_is_written(handler: LogFile, tmp_path: Path) -> None:
    os.replace(tmp_path / "log", tmp_path / "aside")
    (tmp_path / "log").mkdir()
    handler.emit(record("one"))

    assert "one\n" == (tmp_path / "aside").read_text()


def crash(path: Path) -> None:
    import faulthandler

    configure_logging(LogSpec(path))
    faulthandler.enable(log_streams()[0])
    os.replace(path, path.with_name("aside"))
    logging.getLogger("test").info("reopened")
    with path.with_name("database").open("w"):
        os.abort()


@pytest.mark.process
def test_a_fatal_error_is_written_to_the_new_log(tmp_path: Path) -> None:
    """Never to a file that has the descriptor of the old log by then, such as a database."""
    process = multiprocessing.get_context("fork").Process(target=crash, args=(tmp_path / "log",))
    process.start()
    process.join()

    assert "Fatal Python error: Aborted" in (tmp_path / "log").read_text()
    assert ("", "") == ((tmp_path / "aside").read_text(), (tmp_path / "database").read_text())


@pytest.mark.claim("000.integration-points.4")
def test_a_line_as_json() -> None:
    """One object on one line, whatever the message has in it; with the traceback of an error."""
    try:
        raise ValueError("a bug")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    error_record = logging.LogRecord("who", logging.ERROR, "", 0, "two\nlines \N{GREEK SMALL LETTER PI} %d", (5,), info)
    line = make_formatter(JSON_FORMAT).format(error_record)

    assert "\n" not in line
    read = json.loads(line)
    assert ("ERROR", "who", "two\nlines π 5", os.getpid()) == tuple(
        read[key] for key in ("level", "logger", "message", "pid")
    )
    assert read["time"].endswith("+00:00")
    assert "ValueError: a bug" in read["traceback"]


@pytest.mark.parametrize("form", ["%(unknown)s", "%(asctime", "%(levelname)d", "no field"])
def test_an_invalid_format_is_refused(form: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        format_sample_line(form)


def test_a_spec_travels_as_text(tmp_path: Path) -> None:
    spec = LogSpec(tmp_path / 'a " log', "DEBUG", JSON_FORMAT)

    assert spec == LogSpec.from_json(spec.to_json())
