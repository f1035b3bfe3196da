"""`--to jsonl:-`: nothing but readings is on standard output."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.process.running_fleet import ENVIRONMENT, command, fleet


def test_a_fleet_writes_to_standard_output(tmp_path: Path) -> None:
    """While it runs and, once more, by a collector; a reader that has gone is an error of the target."""
    data, file = tmp_path / "data", tmp_path / "out.csv"
    small = ("--replicas", 2, "--rate", 20, "--no-http", "--data", data)
    run = fleet("up", *small, "--for", "2s", "--to", "csv:-")
    assert 0 == run.returncode, run.stderr
    assert "delivered to csv:-: 80 readings" in run.stderr
    file.write_text(run.stdout)
    verdict = fleet("verify", "--data", data, "--against", f"csv:{file}", "--complete")
    assert 0 == verdict.returncode, verdict.stdout

    collected = fleet("collect", "--data", data, "--to", "jsonl:-", "--once", "--cursor", "--json")
    assert 80 == len([json.loads(line)["key"] for line in collected.stdout.splitlines()])
    assert '"ok": true' in collected.stderr

    with subprocess.Popen(
        command("collect", "--data", data, "--to", "csv:-", "--once", "--cursor", "--state", tmp_path),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert 1 == process.wait(30)
    assert "csv:-: nothing reads standard output any more" in said


def test_a_fleet_in_the_background_has_no_standard_output(tmp_path: Path) -> None:
    refused = fleet("up", "--detach", "--data", tmp_path / "data", "--to", "jsonl:-")
    assert 1 == refused.returncode
    assert "--to: jsonl:- is standard output, which a fleet in the background has not: name a file" in refused.stderr
    assert not (tmp_path / "data").exists()
