"""The table of `fleet top` and what keys do to it, without a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.commands.top.screen import Screen, header_lines, parse_keys
from fleet.commands.top.table import SensorTable, build_table, columns_beyond
from fleet.commands.top.view import HELP_LINES, ViewState, handle_key
from fleet.datadir.directory import DataDirectory
from fleet.errors import UserError
from fleet.monitoring.observation import Observer
from fleet.monitoring.stats import compact_number
from tests.fleet.mixed import MixedFleet, mixed_with_readings
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


def heading(table: SensorTable, width: int, view: ViewState) -> str:
    return table.heading(width, view.sort, backwards=view.backwards, first=view.first_column)


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
        (b"\x1b[C\x1bOD?", ["right", "left", "?"], b""),
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


@pytest.mark.parametrize("number", range(16))
def test_every_column_can_be_sorted_by(staged: StagedFleet, number: int) -> None:
    """s sorts by the next column, S reverses the order, the order is that of the values, and the heading marks it."""
    staged.set(3, "failed", readings=7, restarts=2, errors=3, lag_us=5, anomalies=[1, 2, 3, 4, 5])
    view = after(ViewState(), observed_table(staged), *["s"] * number)
    backwards_view = after(view, observed_table(staged), "S")
    table, backwards = observed_table(staged, view), observed_table(staged, backwards_view)
    column = table.columns[number]

    assert (16, column.name) == (len(table.columns), view.sort)
    ordered = [table.values[number][position] for position in table.order]
    known = [value for value in ordered if value is not None]
    assert ordered == sorted(known, reverse=not column.is_text) + [None] * (len(ordered) - len(known))
    assert known[::-1] == [backwards.values[number][position] for position in backwards.order][: len(known)]
    marks = ("▲", "▼") if column.is_text else ("▼", "▲")
    headings = heading(table, table.width, view), heading(backwards, table.width, backwards_view)
    assert all(f"{column.name}{mark}" in line for mark, line in zip(marks, headings, strict=True))
    assert "sensor" == after(view, table, *["s"] * (16 - number)).sort


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

    assert third == [view.sensor]
    assert {"command": "pause", "sensors": third} == after(view, table, "p").command
    assert {"command": "resume", "sensors": third} == after(view, table, "r").command
    inject = {"command": "inject", "type": "trend", "seconds": 30.0, "sensors": third}
    assert inject == after(view, table, "i", *"tr", "enter", "enter").command
    fast = after(view, table, "i", *"missing_data", "enter", *"0.5", "enter").command
    assert "" == after(view, table, "i", "n", "enter", "backspace").prompt.text  # type: ignore[union-attr]
    assert inject | {"type": "missing_data", "seconds": 0.5} == fast
    assert {} == after(view, table, "p", "up").command
    assert "allowed is one of spike, trend" in after(view, table, "i", "x", "enter").message
    assert "nothing: allowed" in after(view, table, "i", "enter").message
    assert "allowed is a number" in after(view, table, "i", "n", "enter", "x", "enter").message
    assert None is after(view, table, "i", "n", "escape").prompt
    assert not after(view, table, "i", "q").finished


def test_the_cursor_stays_on_its_sensor(staged: StagedFleet) -> None:
    """Another order, or another sensor on its line, changes nothing about the sensor that keys act on. Nothing is done to
    one that is not on the screen."""
    view = after(ViewState(sort="lag s"), observed_table(staged, ViewState(sort="lag s")), "down")
    staged.set(7, lag_us=9_000_000)
    staged.set(8, lag_us=8_000_000)
    table = observed_table(staged, view)
    view = view.following(table, HEIGHT)

    assert (sensor_name(1), 3) == (view.sensor, view.cursor)
    assert {"command": "resume", "sensors": [sensor_name(1)]} == after(view, table, "r").command
    assert sensor_name(0) == after(view, table, "up").sensor
    for number in (4, 5, 6):
        staged.set(number, lag_us=7_000_000)
    table = observed_table(staged, view)
    view = view.following(table, HEIGHT)
    assert (0, 6) == (view.top, view.cursor)  # the worst stay in view
    refused = after(view, table, "p")
    assert ({}, True, 3) == (refused.command, "had moved off the screen" in refused.message, refused.top)
    assert [sensor_name(1)] == after(refused, table, "p").command["sensors"]


def test_a_sensor_that_leaves_the_table_is_not_replaced_by_its_neighbour(staged: StagedFleet) -> None:
    view = after(ViewState(filter_text="healthy"), observed_table(staged), "down")
    staged.set(1, "paused")
    table = observed_table(staged, view)
    view = view.following(table, HEIGHT)

    assert sensor_name(2) == table.sensor(view.cursor)
    resumed = after(view, table, "r")
    assert ({}, f"{sensor_name(1)} has left the table: choose a sensor with the arrows") == (
        resumed.command,
        resumed.message,
    )
    assert sensor_name(3) == after(view, table, "down").sensor


def test_a_key_before_the_new_order_is_seen_does_nothing(staged: StagedFleet) -> None:
    """`s` and `p` typed at once: the first line of the new order was not on the screen yet."""
    view = after(ViewState(), observed_table(staged), "down", "s", "p")

    assert ({}, "there is no sensor under the cursor") == (view.command, view.message)


def test_readings_with_units(staged: StagedFleet) -> None:
    """Of every channel, to be sorted by, sensors without a value last; arrows show other columns, the ids stay."""
    staged.scoreboard.rows["readings"] = 5
    staged.scoreboard.rows["values"][3][0] = 30.0
    staged.scoreboard.rows["values"][4][0] = float("nan")
    view = ViewState(sort="temperature")
    table = observed_table(staged, view)

    assert (sensor_name(3), sensor_name(4)) == (table.sensor(0), table.sensor(9))
    line = table.line(0, table.width)
    assert all(text in line for text in ("30.00 °C", "60.25 %", "101,325 Pa", "0.512 mm/s²", "24.03 V"))
    assert "–" in table.line(9, table.width)
    scrolled = after(view, table, *["right"] * 5)
    assert heading(table, 80, scrolled).split()[:2] == ["sensor", "pressure"]
    assert table.line(0, 80, scrolled.first_column).startswith(f"{sensor_name(3):16} ")
    assert 1 == after(scrolled, table, *["left"] * 99).first_column
    assert "location" in heading(table, 80, after(view, table, *["right"] * 99))
    assert 1 == after(scrolled, table, *["s"] * 12).first_column  # the column to sort by is in view


def test_kinds_of_sensor(tmp_path: Path) -> None:
    """All kinds have a column for each channel and unit; `k` shows one kind after the other, with its channels."""
    staged = mixed_with_readings(tmp_path / "mixed", 6, 20)
    view = ViewState()
    table = mixed_table(staged, view)

    assert ("environmental_monitoring", "pipeline", "people_counter") == table.kinds
    assert ("kind", "temperature (°C)", "humidity", "flow_rate", "temperature (fahrenheit)") == table.column_names[4:9]
    assert 6 == len(table)
    assert f"{columns_beyond(table.columns, 80, 1)} more columns →" in shown_above(staged, table, view)
    view = after(view, table, "right", "right", "k")
    rooms = mixed_table(staged, view)
    assert ("environmental_monitoring", 1, 2) == (view.kind, view.first_column, len(rooms))
    assert ("temperature (°C)", "humidity", "readings") == rooms.column_names[5:8]
    assert "only environmental_monitoring" in shown_above(staged, rooms, view)
    pipes = mixed_table(staged, view := after(view, rooms, "k"))
    assert ("flow_rate", "temperature (fahrenheit)") == pipes.column_names[5:7]
    assert "more columns" not in shown_above(staged, pipes, view, pipes.width)
    line = pipes.line(0, pipes.width)
    assert all(re.search(rf"\d {re.escape(unit)} ", line) for unit in ("gpm", "fahrenheit", "psi", "mm/s²", "kg/m³"))
    assert "" == after(view, pipes, "k", "k").kind == after(view, pipes, "escape").kind


def test_a_kind_that_is_not_there(tmp_path: Path, staged: StagedFleet) -> None:
    """It can be named as in a config; a fleet of one kind has no choice."""
    mixed = mixed_with_readings(tmp_path / "mixed", 3, 5)
    directory = DataDirectory(mixed.data)
    with pytest.raises(UserError, match="--kind: nonsense is not one of environmental_monitoring, pipeline, people_c"):
        Screen(directory, ViewState(kind="nonsense"))

    Screen(directory, ViewState(kind="environmental", sort="humidity"))
    with pytest.raises(UserError, match="--sort: flow_rate is not one of"):
        Screen(directory, ViewState(kind="environmental", sort="flow_rate"))
    table = observed_table(staged)
    assert ("", "all sensors are of one kind") == ((view := after(ViewState(), table, "k")).kind, view.message)
    assert "kind" not in table.column_names


def mixed_table(staged: MixedFleet, view: ViewState) -> SensorTable:
    return build_table(Observer(staged.run, tick=0).observe(), view.sort, view.filter_text, kind=view.kind)


def shown_above(staged: MixedFleet, table: SensorTable, view: ViewState, width: int = 80) -> str:
    return header_lines(Observer(staged.run, tick=0).observe(), table, view, width)[1]


def test_help_is_shown_until_a_key(staged: StagedFleet) -> None:
    table = observed_table(staged)
    view = after(ViewState(), table, "?")

    assert view.help_shown
    closed = after(view, table, "q")
    assert (False, False) == (closed.help_shown, closed.finished)
    text = "\n".join(HELP_LINES)
    assert all(key in text for key in ("page up", "home", "left, right", "s, S", "/", "p, r", "i ", "q, Ctrl-C"))
    assert max(len(line) for line in HELP_LINES) <= 100


def test_a_column_that_is_not_there(staged: StagedFleet) -> None:
    with pytest.raises(UserError, match=r"--sort: nonsense is not one of sensor, state, .*, temperature, .*, location"):
        Screen(DataDirectory(staged.data), ViewState(sort="nonsense"))


@pytest.mark.parametrize("width", [20, 40, 80, 132, 300])
def test_a_line_is_as_wide_as_the_terminal(staged: StagedFleet, width: int) -> None:
    """Columns that do not fit are left out, and control sequences are escaped."""
    staged.members = tuple(
        replace(member, identity=replace(member.identity, location="重慶\x1b[2J")) for member in staged.members
    )
    staged.write_roster()
    from rich.cells import cell_len

    table = observed_table(staged)
    line = table.line(0, width)
    assert width == cell_len(line) == cell_len(heading(table, width, ViewState()))
    assert "\x1b" not in line
    assert ("重慶" in line) == (width >= table.width)


def test_numbers_stay_short() -> None:
    expected = ["0", "0.5", "999", "9,999", "10.0k", "123k", "1.2M", "123M", "1.2G"]

    assert expected == [
        compact_number(number) for number in (0, 0.5, 999, 9_999, 10_000, 123_456, 1_234_567, 123_456_789, 1.234e9)
    ]
