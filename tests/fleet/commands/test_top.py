"""The table of `fleet top` and what keys do to it, without a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fleet.commands.top.screen import parse_keys
from fleet.commands.top.table import (
    COLUMN_NAMES,
    TABLE_COLUMNS,
    SensorTable,
    ViewState,
    build_table,
    handle_key,
    heading,
)
from fleet.monitoring.observation import Observer
from fleet.monitoring.stats import compact_number
from tests.fleet.staged import SECOND_NS, StagedFleet, sensor_name

HEIGHT = 4


@pytest.fixture
def staged(tmp_path: Path) -> StagedFleet:
    return StagedFleet(tmp_path / "data", 10)


def observed_table(staged: StagedFleet, view: ViewState | None = None) -> SensorTable:
    view = view or ViewState()
    return build_table(
        Observer(staged.run, clock=lambda: staged.started_ns + 60 * SECOND_NS).observe(),
        view.sort,
        view.filter_text,
        backwards=view.backwards,
    )


def after(view: ViewState, table: SensorTable, *names: str) -> ViewState:
    for key in names:
        view = handle_key(view, key, table, HEIGHT)
    return view


@pytest.mark.parametrize(
    ("received", "names", "rest"),
    [
        (b"q", ["q"], b""),
        (b"\x1b[A\x1b[B\x1bOA\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["up", "down", "up", "pgup", "pgdn", "home", "end"], b""),
        (b"a\x1b", ["a"], b"\x1b"),
        (b"\x1b[", [], b"\x1b["),
        (b"\x1b[5", [], b"\x1b[5"),
        (b"\x1bq", ["escape", "q"], b""),
        ("é☃".encode(), ["é", "☃"], b""),
        ("☃".encode()[:2], [], "☃".encode()[:2]),
        (b"\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"], b""),
        (b"\x1b[200~\x1b[1;5C\xff\x00\x1a", [], b""),
    ],
)
def test_keys(received: bytes, names: list[str], rest: bytes) -> None:
    """Keys get names; an incomplete rest is kept, keys that are not used are left out."""
    parsed, left = parse_keys(received)

    assert ([name for name in parsed if name != "�"], left) == (names, rest)


def test_the_cursor_stays_among_the_sensors_and_on_the_screen(staged: StagedFleet) -> None:
    table = observed_table(staged)
    for names, cursor, top in (
        ((), 0, 0),
        (("up",), 0, 0),
        (("down",) * 4, 4, 1),
        (("pgdn",), 4, 1),
        (("end",), 9, 6),
        (("end", "down", "pgdn"), 9, 6),
        (("end", "up", "home"), 0, 0),
        (("end", "pgup"), 5, 5),
    ):
        view = after(ViewState(), table, *names)
        assert (cursor, top) == (view.cursor, view.top), names
    assert (0, 0) == ((few := replace(ViewState(), cursor=9, top=6).clamped(0, HEIGHT)).cursor, few.top)


@pytest.mark.parametrize("number", range(len(TABLE_COLUMNS)))
def test_every_column_can_be_sorted_by(staged: StagedFleet, number: int) -> None:
    """s sorts by the next column, S reverses the order, and the order is that of the values."""
    staged.set(3, "failed", readings=7, restarts=2, errors=3, lag_us=5, anomalies=[1, 2, 3, 4, 5])
    view = after(ViewState(), observed_table(staged), *["s"] * number)
    table, backwards = observed_table(staged, view), observed_table(staged, after(view, observed_table(staged), "S"))

    assert COLUMN_NAMES[number] == COLUMN_NAMES[view.sort]
    ordered = [table.columns[number][position] for position in table.order]
    assert ordered == sorted(ordered, reverse=not TABLE_COLUMNS[number].is_text)
    assert ordered[::-1] == [backwards.columns[number][position] for position in backwards.order]
    assert 0 == after(view, table, *["s"] * (len(TABLE_COLUMNS) - number)).sort


def test_a_filter_holds_while_it_is_typed(staged: StagedFleet) -> None:
    """It matches any text column, ignoring case; escape removes it."""
    staged.set(3, "failed")
    table = observed_table(staged)
    view = after(ViewState(cursor=5), table, "/", *"FAIL")

    assert (sensor_name(3), 1) == (observed_table(staged, view).sensor(0), len(observed_table(staged, view)))
    assert "fai" == after(view, table, "backspace").filter_text.lower()
    assert ("FAIL", None) == ((kept := after(view, table, "enter")).filter_text, kept.prompt)
    assert "" == after(view, table, "escape").filter_text
    assert "" == after(kept, table, "escape").filter_text
    assert 10 == len(observed_table(staged, replace(view, filter_text="berlin")))
    assert "there is no sensor" in after(kept, observed_table(staged, replace(view, filter_text="nobody")), "p").message


def test_commands_are_for_the_sensor_under_the_cursor(staged: StagedFleet) -> None:
    table = observed_table(staged)
    third = [sensor_name(2)]
    view = after(ViewState(), table, "down", "down")

    assert {"command": "pause", "sensors": third} == after(view, table, "p").command
    assert {"command": "resume", "sensors": third} == after(view, table, "r").command
    inject = {"command": "inject", "type": "trend", "seconds": 30.0, "sensors": third}
    assert inject == after(view, table, "i", *"tr", "enter", "enter").command
    fast = after(view, table, "i", *"missing_data", "enter", "backspace", "backspace", *"0.5", "enter").command
    assert inject | {"type": "missing_data", "seconds": 0.5} == fast
    assert {} == after(view, table, "p", "up").command
    assert "allowed is one of spike, trend" in after(view, table, "i", "x", "enter").message
    assert "nothing: allowed" in after(view, table, "i", "enter").message
    assert "allowed is a number" in after(view, table, "i", "n", "enter", "x", "enter").message
    assert None is after(view, table, "i", "n", "escape").prompt
    assert not after(view, table, "i", "q").finished


@pytest.mark.parametrize("width", [20, 40, 80, 132, 300])
def test_a_line_is_as_wide_as_the_terminal(staged: StagedFleet, width: int) -> None:
    """Columns that do not fit are left out, and control sequences are escaped."""
    staged.members = tuple(
        replace(member, identity=replace(member.identity, location="重慶\x1b[2J")) for member in staged.members
    )
    staged.write_roster()
    from rich.cells import cell_len

    line = observed_table(staged).line(0, width)
    assert width == cell_len(line) == cell_len(heading(width))
    assert "\x1b" not in line
    assert ("重慶" in line) == (width >= 132)


def test_numbers_stay_short() -> None:
    expected = ["0", "0.5", "999", "9,999", "10.0k", "123k", "1.2M", "123M", "1.2G"]

    assert expected == [
        compact_number(number) for number in (0, 0.5, 999, 9_999, 10_000, 123_456, 1_234_567, 123_456_789, 1.234e9)
    ]
