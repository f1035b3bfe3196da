"""State files: every value is checked, and an error names file, place, key, value and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from fleet.datadir.backups import BackupStatus, read_backup_status
from fleet.datadir.reload_report import ReloadReport, read_report
from fleet.datadir.state_file import Bounds, InvalidValue, Pattern, load_state, state_document
from fleet.errors import UserError


@dataclass(frozen=True, slots=True)
class Inner:
    flag: bool
    path: Path


@dataclass(frozen=True, slots=True)
class Outer:
    name: Annotated[str, Pattern("[a-z]+", "a word")]
    count: Annotated[int, Bounds(1, 9)]
    share: Annotated[float, Bounds(0, 1)]
    mode: Literal["a", "b"]
    pairs: tuple[tuple[str, float | None], ...]
    items: tuple[Inner, ...]
    by_name: Mapping[str, tuple[int, ...]]
    note: str | None = None
    values: tuple[str | float | int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Lenient:
    ignores_unknown_keys: ClassVar[bool] = True

    number: int = 7


DOCUMENT: dict[str, Any] = {
    "name": "x",
    "count": 3,
    "share": 1,
    "mode": "a",
    "pairs": [["p", 0.5], ["q", None]],
    "items": [{"flag": True, "path": "x/y"}],
    "by_name": {"k": [1, 2]},
}


def load(path: Path, document: object, kind: Any = Outer) -> Any:
    (path / "state.json").write_text(json.dumps(document, indent=1))
    return load_state(path / "state.json", kind)


def test_a_document_becomes_its_dataclass(tmp_path: Path) -> None:
    expected = Outer("x", 3, 1, "a", (("p", 0.5), ("q", None)), (Inner(True, Path("x/y")),), {"k": (1, 2)})

    assert expected == load(tmp_path, DOCUMENT)
    assert ("a", 4, 4.5, None) == load(tmp_path, DOCUMENT | {"values": ["a", 4, 4.5, None]}).values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "X1"}, '2:10: name: "X1" is not a word'),
        ({"count": 10}, "3:11: count: 10 is not a whole number from 1 to 9"),
        ({"count": True}, "3:11: count: true is not a whole number from 1 to 9"),
        ({"count": 1.0}, "3:11: count: 1.0 is not a whole number from 1 to 9"),
        ({"share": float("nan")}, "4:11: share: NaN is not a number from 0 to 1"),
        ({"share": "1"}, '4:11: share: "1" is not a number from 0 to 1'),
        ({"mode": ["a"]}, '5:10: mode: ["a"] is not one of a, b'),
        ({"pairs": [["p", 1, 2]]}, 'pairs[0]: ["p", 1, 2] is not a list of 2 values'),
        ({"pairs": [["p", 1 << 62]]}, "pairs[0][1]: 4611686018427387904 is not a number from "),
        ({"items": [{"flag": 1, "path": ""}]}, "items[0].flag: 1 is not true or false"),
        ({"items": [{"flag": True, "path": "", "odd": 1}]}, "items[0].odd: 1 is not a key that is known here"),
        ({"items": {}}, "items: {} is not a list"),
        ({"by_name": {"k": [None]}}, "by_name.k[0]: null is not a whole number"),
        ({"by_name": []}, "by_name: [] is not a JSON object"),
        ({"note": 5}, "note: 5 is not a text"),
        ({"values": ["a", True]}, "values[1]: true is not a text or a number"),
    ],
)
def test_a_wrong_value_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        load(tmp_path, DOCUMENT | change)

    assert str(refused.value).startswith(f"{tmp_path / 'state.json'}:")
    assert message in str(refused.value)


def test_a_missing_key_is_named_with_the_place_of_its_object(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"state\.json:17:3: flag is missing"):
        load(tmp_path, DOCUMENT | {"items": [{"path": "x"}]})
    with pytest.raises(UserError, match=r"state\.json:1:1: name is missing"):
        load(tmp_path, {})
    with pytest.raises(UserError, match=r"state\.json: null is not a JSON object"):
        load(tmp_path, None)


def test_keys_of_a_newer_version_are_ignored_where_the_dataclass_says_so(tmp_path: Path) -> None:
    assert Lenient(3) == load(tmp_path, {"number": 3, "newer": [1]}, Lenient)
    assert Lenient() == load(tmp_path, {}, Lenient)


def test_a_check_of_the_whole_names_the_value_and_the_advice(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"number": 3}')

    def check(state: Lenient) -> None:
        raise InvalidValue(state.number, "is odd", "number")

    with pytest.raises(UserError, match=r"state\.json:1:12: number: 3 is odd; take another"):
        load_state(tmp_path / "state.json", Lenient, check, "; take another")


def test_reports_are_read_as_they_were_written(tmp_path: Path) -> None:
    """None if there is no file or it is damaged."""
    report = ReloadReport(("c.yaml:1:1: bad",), ("a: 1 -> 2",), 12.5, ("b: 1 -> 2",))
    status = BackupStatus("backups", 60.0, 3, 2, 1, 12.5, (("a.db", "no room"),))
    assert (None, None) == (read_report(tmp_path / "reload.json"), read_backup_status(tmp_path))

    report.write(tmp_path / "reload.json")
    status.write(tmp_path / "backups.json")

    assert (report, status) == (read_report(tmp_path / "reload.json"), read_backup_status(tmp_path))
    assert (asdict(report), {}) == (state_document(report), state_document(None))
    (tmp_path / "reload.json").write_text('{"problems": 5}')
    assert read_report(tmp_path / "reload.json") is None
