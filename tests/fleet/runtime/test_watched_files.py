"""Files that are watched: what editors do to them, and which changes are reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleet.runtime.watched_files import WatchedFiles

pytestmark = pytest.mark.claim("002.dynamic-configuration.1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text("version: 2\n")
    return path


def watched(file: Path) -> WatchedFiles:
    return WatchedFiles(lambda: [file])


def looks(subject: WatchedFiles, times: int = 3) -> list[list[Path]]:
    return [subject.changed() for _ in range(times)]


def test_a_change_is_told_once_and_when_it_has_come_to_rest(file: Path) -> None:
    subject = watched(file)
    assert [[], []] == looks(subject, 2)
    file.write_text("version: 1\n")

    assert [[], [file], []] == looks(subject)


def test_what_is_still_written_waits(file: Path) -> None:
    """As long as two looks differ."""
    subject = watched(file)
    for size in range(1, 5):
        file.write_text("v" * size)
        assert [] == subject.changed()

    assert [[file], []] == looks(subject, 2)


@pytest.mark.parametrize("keeps_times", [False, True])
def test_a_replaced_file_is_another(file: Path, keeps_times: bool) -> None:
    """Of the same size, even with the times of the old one."""
    subject, facts = watched(file), file.stat()
    other = file.with_name("other")
    other.write_text("version: 1\n")
    if keeps_times:
        os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, file)

    assert [[], [file], []] == looks(subject)


def test_a_file_that_is_gone_for_a_moment_was_never_gone(file: Path) -> None:
    subject = watched(file)
    text = file.read_text()
    file.unlink()
    assert [] == subject.changed()
    file.write_text(text)

    assert [[], [file], []] == looks(subject)


def test_files_come_and_go(tmp_path: Path, file: Path) -> None:
    subject = WatchedFiles(lambda: sorted(tmp_path.iterdir()))
    other = tmp_path / "other.json"
    other.write_text("{}")
    file.unlink()

    assert [[], [file, other], []] == looks(subject)


def test_a_file_that_was_read_a_while_ago_is_told_at_once(file: Path) -> None:
    """It may have changed since."""
    assert [[file], []] == looks(WatchedFiles(lambda: [file], report_existing=True), 2)


@pytest.mark.parametrize("deleted", ["before the watch", "before the first poll", "after the first poll"])
def test_a_file_that_was_read_a_while_ago_and_is_gone_is_reported(file: Path, deleted: str) -> None:
    """A deletion right after the file was read is a change, however early it comes."""
    if deleted == "before the watch":
        file.unlink()
    subject = WatchedFiles(lambda: [file], report_existing=True)
    if deleted == "after the first poll":
        subject.changed()
    file.unlink(missing_ok=True)

    assert [file] in looks(subject)


def test_those_that_are_made_meanwhile_are_known(tmp_path: Path, file: Path) -> None:
    """Those that were there are not, if they changed."""
    subject = WatchedFiles(lambda: sorted(tmp_path.iterdir()))
    (tmp_path / "made.json").write_text("{}")
    file.write_text("version: 1\n")
    subject.mark_known()

    assert [[file], []] == looks(subject, 2)
