"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.stores import SensorWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "CHI_123456.db"


@pytest.fixture
def writer(path: Path) -> Iterator[SensorWriter]:
    subject = SensorWriter(path)
    yield subject
    subject.sink.close()
