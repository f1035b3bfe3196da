"""Failures of a Parquet target: a killed writer, files moved away or damaged, a full disk."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.delivery.target import SourceFailed, TargetMisconfigured
from fleet.errors import UserError
from tests.fleet.delivery.parquet_folder import ids, names, target
from tests.fleet.delivery.samples import batch, episodes

KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from fleet.delivery.targets.parquet import files as parquet_files
from fleet.delivery.targets.parquet.target import ParquetTarget
from tests.fleet.delivery.samples import batch, episodes
renamed, left = Path.replace, int(sys.argv[2])
def replace(self, target):
    global left
    if not left:
        os.kill(os.getpid(), 9)
    left -= 1
    return renamed(self, target)
Path.replace = replace
ParquetTarget(Path(sys.argv[1]), lambda: datetime.now(UTC)).deliver(batch(5, 15, episodes=episodes((4, 9))))
"""


@pytest.mark.process
@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_who_is_killed_in_the_middle_does_no_harm(tmp_path: Path, renamed: int) -> None:
    """Killed between the files of two hours, or before the rename of one: the next delivery completes it and cleans up."""
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(renamed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4])
    assert -signal.SIGKILL == done.returncode, done.stderr
    assert 1 == len(list(tmp_path.rglob(".*.tmp")))
    seen = len(list(tmp_path.glob("date=*/hour=*/[!.]*")))
    receipt = target(tmp_path).deliver(batch(3, 18, episodes=episodes((4, 9))))

    assert max(0, renamed - 1) == seen
    assert (15, 6 if renamed == 2 else 0) == (len(receipt.accepted), receipt.duplicates)
    assert list(range(3, 18)) == ids(tmp_path)
    assert [] == list(tmp_path.rglob(".*.tmp"))


def test_files_that_were_moved_away_are_not_missed(tmp_path: Path) -> None:
    """Files may be moved elsewhere; readings that are delivered again are then written again."""
    one = target(tmp_path)
    one.deliver(batch(1, 4))
    (tmp_path / names(tmp_path)[0]).unlink()
    receipt = one.deliver(batch(1, 6))

    assert (5, 0) == (len(receipt.accepted), receipt.duplicates)
    assert [1, 2, 3, 4, 5] == ids(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    one = target(tmp_path)
    one.deliver(batch(1, 4))
    (tmp_path / names(tmp_path)[0]).write_bytes(b"PAR1 and nothing else")

    with pytest.raises(SourceFailed, match=r"generation-1\.000000000001-000000000003\.parquet"):
        one.deliver(batch(1, 4))
    assert 2 == len(one.deliver(batch(4, 6)).accepted)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 200 bytes, as on a disk that is full but for that."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_what_cannot_be_written_is_not_accepted(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(TargetMisconfigured, match="File too large"):
        target(tmp_path).deliver(batch(1, 1000))

    assert [] == [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "_sources"]


def test_a_place_where_nothing_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match="file: is no directory"):
        target(tmp_path / "file")
    with pytest.raises(TargetMisconfigured, match="file: File exists"):
        target(tmp_path / "file" / "below").deliver(batch(1, 2))
    assert f"parquet:{tmp_path}" == target(tmp_path).name
    assert ["file"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.process
def test_without_the_extra_the_message_says_what_to_install() -> None:
    script = "import sys; sys.modules['pyarrow'] = None; import fleet.delivery.targets.parquet.target"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "UserError: Parquet needs an extra: pip install 'sensor-fleet[parquet]'" in done.stderr
