"""Standard output as a target: whole lines, whatever happens in between."""

from __future__ import annotations

import csv
import json
import os
from contextlib import closing
from typing import Any

import pytest

from fleet.delivery.target import TargetMisconfigured, TargetUnavailable
from fleet.delivery.targets.registry import ReadBackOptions, TargetOptions, open_target, read_back
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch, episodes, with_values

REAL_WRITE = os.write


def test_lines_are_written(capfd: pytest.CaptureFixture[str]) -> None:
    """Without episodes, and without what cannot be represented."""
    with closing(open_target("jsonl:-", TargetOptions())) as opened:
        receipt = opened.deliver(with_values(batch(1, 4, episodes=episodes((7, 9))), 2, temperature=float("inf")))
        assert opened.cursor("generation-1") is None

    assert (frozenset({1, 3}), {2}) == (receipt.accepted, set(receipt.rejected))
    assert [1, 3] == [json.loads(line)["id"] for line in capfd.readouterr().out.splitlines()]


def test_a_table_has_one_header(capfd: pytest.CaptureFixture[str]) -> None:
    with closing(open_target("csv:-", TargetOptions())) as opened:
        opened.deliver(batch(1, 3))
        opened.deliver(batch(3, 4))

    assert ["1", "2", "3"] == [row["id"] for row in csv.DictReader(capfd.readouterr().out.splitlines())]


@pytest.mark.parametrize("limit", [0, 1, 700, 5_000])
def test_a_failed_write_leaves_no_half_line(
    limit: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The readings come again, so some lines are there twice."""
    room = [limit]

    def write(descriptor: int, content: Any) -> int:
        if descriptor != 1:
            return REAL_WRITE(descriptor, content)
        if not room[0]:
            raise OSError(28, os.strerror(28))
        written = REAL_WRITE(descriptor, content[: room[0]])
        room[0] -= written
        return written

    with closing(open_target("jsonl:-", TargetOptions())) as opened:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            for _ in range(2):
                with pytest.raises(TargetUnavailable, match=r"^jsonl:-: No space left on device$"):
                    opened.deliver(batch(1, 30))
        opened.deliver(batch(1, 30))

    numbers = [json.loads(line)["id"] for line in capfd.readouterr().out.splitlines()]
    assert set(range(1, 30)) == set(numbers)


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise BrokenPipeError(32, os.strerror(32))

    with closing(open_target("csv:-", TargetOptions())) as opened, monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(TargetMisconfigured, match=r"^csv:-: nothing reads standard output any more$"):
            opened.deliver(batch(1, 2))


def test_it_cannot_be_read_back() -> None:
    with pytest.raises(UserError, match="--against: csv:- cannot be read back: name the file"):
        read_back("csv:-", ReadBackOptions())
