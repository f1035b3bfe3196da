"""A config that is no regular file: a pipe such as that of `<(command)`, /dev/stdin, a FIFO."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from fleet.config.config import load_config
from fleet.errors import UserError
from fleet.validation import yaml_tree


def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_pipe_is_read_once_and_keeps_its_content() -> None:
    """The start reads a config more than once; the second time a pipe is empty."""
    reader, writer = os.pipe()
    os.write(writer, b"replicas: {count: 3}\n")
    os.close(writer)
    path = Path(f"/dev/fd/{reader}")

    assert [3, 3] == [load_config(path).replicas.count for _ in range(2)]
    os.close(reader)


def test_a_slow_writer_is_waited_for(tmp_path: Path) -> None:
    path = fifo(tmp_path)

    def write() -> None:
        time.sleep(0.1)
        with path.open("w") as file:
            file.write("replicas:\n")
            file.flush()
            time.sleep(0.1)
            file.write("  count: 4\n")

    writer = threading.Thread(target=write)
    writer.start()

    assert 4 == load_config(path).replicas.count
    writer.join()


def test_a_fifo_that_no_program_writes_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_tree, "STREAM_TIMEOUT_SECONDS", 0.1)
    path = fifo(tmp_path)

    with pytest.raises(UserError) as refused:
        load_config(path)

    assert f"{path}: cannot be read: nothing was written to it for 0.1 s" == str(refused.value)
