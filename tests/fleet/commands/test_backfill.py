"""The flags of `fleet backfill`: times and targets, what contradicts, what a directory has already."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fleet.cli import cli
from fleet.commands.backfill import Wanted, parse_time, span_of, split_times_and_targets
from fleet.config.sections import Simulation
from fleet.datadir.backfill_record import BackfillRecord, check_backfill_complete, write_backfill
from fleet.errors import UserError

JANUARY, FEBRUARY = 1_767_225_600_000_000, 1_769_904_000_000_000
DAY_US = 86_400_000_000


def refusal(*arguments: object) -> str:
    result = CliRunner().invoke(cli, ["backfill", *map(str, arguments)])
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


def test_values_of_to_are_times_or_targets() -> None:
    given = ("2026-02-01", "postgresql://host/db", "now", "2026-02-01T12:00:00+01:00", "env:URL", "csv:x.csv")
    times, targets = split_times_and_targets(given)

    assert ["2026-02-01", "now", "2026-02-01T12:00:00+01:00"] == times
    assert ["postgresql://host/db", "env:URL", "csv:x.csv"] == targets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-01", FEBRUARY),
        ("2026-02-01T00:00:00Z", FEBRUARY),
        ("2026-02-01T01:00:00.000001+01:00", FEBRUARY + 1),
        ("yesterday", None),
    ],
)
def test_a_time_is_in_utc_unless_it_says_so(text: str, expected: int | None) -> None:
    assert expected == parse_time(text)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted("2026-01-01", "2026-02-01", None, "sqlite"), (JANUARY, FEBRUARY)),
        (Wanted("31d", "2026-02-01", None, "sqlite"), (JANUARY, FEBRUARY)),
        (Wanted("2026-01-01", None, "1d", "sqlite"), (JANUARY, JANUARY + DAY_US)),
        (Wanted(None, "2026-02-01", None, "sqlite"), (JANUARY, FEBRUARY)),
    ],
)
def test_the_span_follows_from_what_is_given(wanted: Wanted, expected: tuple[int, int]) -> None:
    assert expected == span_of(wanted, Simulation(start="2026-01-01T00:00:00Z"), None)


def test_a_config_with_a_start_and_a_duration_has_a_history() -> None:
    configured = Simulation(start="2026-01-01T00:00:00Z", duration_seconds=86_400.0)

    assert (JANUARY, JANUARY + DAY_US) == span_of(Wanted(None, None, None, "sqlite"), configured, None)
    assert (JANUARY, FEBRUARY) == span_of(Wanted("2026-01-01", "2026-02-01", None, "sqlite"), configured, None)


def test_a_backfill_that_goes_on_keeps_the_end_that_now_was() -> None:
    old = BackfillRecord("sqlite", JANUARY, FEBRUARY, 1, "", "")

    assert (FEBRUARY - DAY_US, FEBRUARY) == span_of(Wanted("1d", None, None, "sqlite"), Simulation(), old)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "february"), "--to: 'february' is neither a time, such as 2026-02-01"),
        (("--to", "2026-02-01", "--until", "2026-03-01"), "--until: 2026-03-01 is a second end of the history"),
        (("--to", "2026-02-01", "--for", "1d"), "--for: 1d is a second end of the history"),
        (("--format", "xml"), "--format: 'xml' is not one of sqlite, parquet, jsonl, csv, arrow"),
        (("--format", "csv", "--to", "csv:x"), "--format: csv files cannot be delivered"),
        (("--from", "2026-01-01"), "--out: name the directory to write to"),
        (("--out", "x"), "--from: say when the history begins"),
        (("--out", "x", "--from", "1st"), "--from: '1st' is not a time such as 2026-02-01"),
        (
            ("--out", "x", "--from", "2026-02-01", "--to", "2026-01-01"),
            "--until: the history ends at 2026-01-01T00:00:00",
        ),
        (("--out", "x", "--from", "1d", "--for", "1h"), "--from: 1d counts from the end"),
        (("--record", "nested"), "--record: goes with --to"),
        (("--to", "postgresql://me:secret@host/db"), "--to: 'postgresql://"),
        (("--out", "x", "--from", "2026-01-01", "--replicas", "0"), "--replicas: 0"),
    ],
)
def test_a_wrong_flag_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = refusal(*arguments)

    assert told.startswith(message)
    assert "secret" not in told
    assert [] == list(tmp_path.iterdir())


def test_a_directory_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()

    assert f"--out: {tmp_path} has other files, such as letter.txt" in refusal("--from", "1d", "--out", tmp_path)


def test_a_history_that_is_not_complete_keeps_a_fleet_from_starting(tmp_path: Path) -> None:
    record = BackfillRecord("sqlite", JANUARY, FEBRUARY, 1, "", "")
    write_backfill(tmp_path, record)

    assert "give --format sqlite" in refusal("--from", "1d", "--out", tmp_path, "--format", "csv")
    with pytest.raises(UserError, match="is not complete"):
        check_backfill_complete(tmp_path)
    started = CliRunner().invoke(cli, ["up", "--data", str(tmp_path), "--replicas", "1", "--for", "1s", "--no-http"])
    assert "is not complete" in str(started.exception)
    assert not (tmp_path / "fleet.json").exists()
