"""Findings as they are counted and printed."""

from __future__ import annotations

import pytest

from fleet.commands.verify import print_findings
from fleet.verify.findings import WHOLE_KINDS, Finding, FindingLog


@pytest.mark.parametrize("kind", sorted(WHOLE_KINDS))
def test_a_finding_about_many_readings_counts_once(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A sensor whose database is gone, or an episode. The report printed "and -14 more"."""
    log = FindingLog()
    for first in (0, 15):
        log.add(Finding(kind, "S_000001", "S_000001.db", first, first + 14, "spike"))
    print_findings(log.counts, log.findings)

    printed = capsys.readouterr().out.splitlines()
    assert (2, True) == (log.counts[kind], printed[0].endswith(": 2"))
    assert ["0..14", "15..29"] == [line.split()[1] for line in printed[1:3]]
    assert not [line for line in printed if "more" in line]
