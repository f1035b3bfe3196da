"""State files are never written with what their readers would refuse."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.datadir.backups import BACKUP_STATUS_FILE, BackupStatus, read_backup_status
from fleet.datadir.interventions import Interventions, read_interventions
from fleet.datadir.manifest import MAX_START_US, FleetManifest, read_manifest, write_manifest
from fleet.datadir.reload_report import ReloadReport, read_report
from fleet.datadir.roster import Roster
from fleet.errors import UserError
from fleet.runtime.rollout import Rollout, read_rollout, write_rollout
from tests.fleet.datadir.test_directory import RECORD
from worker.clock import SimulatedClock

NUMBERS = st.integers(-(1 << 70), 1 << 70) | st.integers(-3, 300)
SCALARS: Mapping[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(), max_size=8) | st.sampled_from(["A_1", "pack_0000", "../a"]),
    bool: st.booleans(),
    int: NUMBERS,
    float: st.floats() | NUMBERS | st.floats(0, 1),
    Path: st.text(st.characters(exclude_characters="\0"), max_size=8).map(Path),
    NoneType: st.none(),
    SimulatedClock: st.builds(SimulatedClock, NUMBERS, NUMBERS, st.fractions(Fraction(1, 1000), 10_000)),
}


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Return the values of an annotated type, also those that its file cannot have."""
    of_origin = VALUES_BY_ORIGIN.get(get_origin(annotation))
    if of_origin is not None:
        return of_origin(*get_args(annotation))
    if is_dataclass(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        make: Any = annotation
        return st.builds(make, **{field.name: values_of(hints[field.name]) for field in fields(annotation)})
    return SCALARS[annotation]


def union_values(*members: Any) -> st.SearchStrategy[Any]:
    return st.one_of(*map(values_of, members))


def tuples(*items: Any) -> st.SearchStrategy[Any]:
    if items[1:] == (...,):
        return st.lists(values_of(items[0]), max_size=2).map(tuple)
    return st.tuples(*map(values_of, items))


VALUES_BY_ORIGIN: Mapping[Any, Callable[..., st.SearchStrategy[Any]]] = {
    Annotated: lambda kind, *_: values_of(kind),
    Literal: lambda *choices: st.sampled_from(choices),
    typing.Union: union_values,
    UnionType: union_values,
    tuple: tuples,
    collections.abc.Mapping: lambda _, item: st.dictionaries(SCALARS[str], values_of(item), max_size=2),
}

STATES: Mapping[type, tuple[str, Callable[[Any, Path], None], Callable[[Path], object]]] = {
    FleetManifest: ("fleet.json", lambda state, path: write_manifest(path, state), read_manifest),
    Roster: ("roster.json", Roster.write, Roster.read),
    Interventions: ("interventions.json", Interventions.write, read_interventions),
    Rollout: ("rollout.json", lambda state, path: write_rollout(path, state), read_rollout),
    ReloadReport: ("reload.json", ReloadReport.write, read_report),
    BackupStatus: (BACKUP_STATUS_FILE, BackupStatus.write, lambda path: read_backup_status(path.parent)),
}


@pytest.mark.parametrize("kind", STATES, ids=lambda kind: kind.__name__)
@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_state_is_read_as_it_was_written_or_is_not_written(kind: type, data: st.DataObject, tmp_path: Path) -> None:
    """Whatever the values are: the old file is kept if the new one could not be read."""
    file, write, read = STATES[kind]
    path = tmp_path / file
    state = data.draw(values_of(kind))
    path.write_text("the file before")

    refusal = ""
    try:
        write(state, path)
    except UserError as error:
        refusal = str(error)

    assert not refusal or refusal.startswith(f"{path}: not written: ")
    assert refusal.isprintable()
    if path.read_text() != "the file before":
        assert (state.relocated(tmp_path.parent) if isinstance(state, Roster) else state) == read(path)


def test_the_file_before_is_kept(tmp_path: Path) -> None:
    """The error names the value and what is allowed."""
    write_manifest(tmp_path / "fleet.json", RECORD)

    with pytest.raises(UserError) as refused:
        write_manifest(tmp_path / "fleet.json", replace(RECORD, start_us=1 << 62))

    assert str(refused.value) == (
        f"{tmp_path}/fleet.json: not written: start_us: {1 << 62} is not a whole number from 0 to {MAX_START_US}"
    )
    assert RECORD == read_manifest(tmp_path / "fleet.json")
    assert ["fleet.json"] == [path.name for path in tmp_path.iterdir()]
