"""Exports have the readings that were asked for, in the form that was asked for, and describe themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from fleet.errors import UserError
from fleet.history.export import ExportOptions, ExportResult, export
from fleet.history.formats.registry import FORMAT_NAMES, FormatName
from fleet.history.rows import RowOptions
from fleet.history.selection import Selection
from fleet.history.stored import StoredHistory, read_histories
from tests.fleet.history.test_stored import exported_rows, stored_rows
from tests.worker.further import AIR_IDENTITY, kinds_writer
from tests.worker.samples import NEW_YEAR, SECOND_US
from tests.worker.stores import SensorWriter

JSONL = ExportOptions("jsonl")
AIR = AIR_IDENTITY.sensor_id


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sensors of three kinds around midnight."""
    folder = tmp_path_factory.mktemp("data")
    writer = kinds_writer(folder / "pack.db")
    writer.deliver(3000)
    writer.sink.close()
    return folder


@pytest.fixture(scope="module")
def histories(data: Path) -> list[StoredHistory]:
    return read_histories(data)


@pytest.fixture
def run(histories: list[StoredHistory], tmp_path: Path) -> Any:
    def run(options: ExportOptions = JSONL, folder: str = "out", **selection: Any) -> ExportResult:
        return export(histories, Selection(**selection), options, tmp_path / folder, "data")

    return run


def lines(*paths: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def test_all_readings_in_one_file_with_what_explains_them(run: Any, data: Path, tmp_path: Path) -> None:
    result = run()

    out = tmp_path / "out"
    rows = lines(out / "readings.jsonl")
    expected = [row for sensor in sensors(rows) for row in stored_rows([data / "pack.db"], sensor)]
    assert len(sensors(rows)) == 3
    assert [{**dict.fromkeys(expected[0]), **row} for row in rows] == expected
    assert (result.rows, result.sensors, result.files) == (len(rows), 3, 1)
    episodes = lines(out / "episodes.jsonl")
    labelled = {(row["sensor_id"], row["seq"]): row["anomaly_type"] for row in rows if row["anomaly_flag"]}
    covered = {
        (each["sensor_id"], seq): each["type"]
        for each in episodes
        for seq in range(each["first_seq"], each["last_seq"] + 1)
        if each["type"] != "missing_data" and seq <= 3000
    }
    assert labelled == covered
    assert [each["sensor_id"] for each in lines(out / "identities.jsonl")] == sensors(rows)
    assert [each["end_seq"] for each in lines(out / "epochs.jsonl")] == [3001] * 3
    assert "label" in (out / "README.md").read_text()


def sensors(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["sensor_id"] for row in rows))


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_the_data_package_describes_every_file(name: FormatName, run: Any, tmp_path: Path) -> None:
    run(ExportOptions(name, split="sensor"))

    out = tmp_path / "out"
    package = json.loads((out / "datapackage.json").read_text())
    described = {each["path"]: each for each in package["resources"]}
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    extra = {"datapackage.json", "README.md"} | {f"{each['schema']}" for each in described.values()}
    assert {*described} == written - extra
    assert len(described) == 6
    names = [each["name"] for each in described.values()]
    assert len({*names}) == len(names)
    for path, each in described.items():
        fields = [field["name"] for field in json.loads((out / each["schema"]).read_text())["fields"]]
        if name == "csv":
            header, *rows = (out / path).read_text().splitlines()
            assert (header.split(","), len(rows)) == (fields, each["rows"])
        if name == "parquet":
            table = parquet.read_table(out / path)
            assert (table.column_names, table.num_rows) == (fields, each["rows"])


def test_a_file_for_each_day_and_for_each_sensor(run: Any, tmp_path: Path) -> None:
    run()
    run(replace(JSONL, split="sensor"), "sensors")
    run(replace(JSONL, split="day"), "days")

    expected = lines(tmp_path / "out" / "readings.jsonl")
    by_sensor = lines(*[tmp_path / "sensors" / "readings" / f"{sensor}.jsonl" for sensor in sensors(expected)])
    assert by_sensor == expected
    by_day = lines(*sorted((tmp_path / "days" / "readings").iterdir()))
    assert sorted(by_day, key=lambda row: (row["sensor_id"], row["seq"])) == sorted(
        expected, key=lambda row: (row["sensor_id"], row["seq"])
    )


def test_some_sensors_columns_and_times(run: Any, tmp_path: Path) -> None:
    run(
        sensors=(AIR,),
        start_us=NEW_YEAR + 10 * SECOND_US,
        end_us=NEW_YEAR + 14 * SECOND_US,
        columns=("co2", "anomaly_type", "seq"),
    )

    rows = lines(tmp_path / "out" / "readings.jsonl")
    assert [row["seq"] for row in rows] == [10, 11, 12, 13]
    assert {tuple(row) for row in rows} == {("timestamp", "sensor_id", "co2", "anomaly_type", "seq")}


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        ({"sensors": ("NOPE",)}, "there is no sensor NOPE: known are "),
        ({"kinds": ("pump",)}, "there is no kind pump"),
        ({"columns": ("temperatur",)}, "there is no column temperatur: did you mean temperature?"),
        ({"start_us": NEW_YEAR + 10**12}, "those sensors have readings from 2026-01-01T00:00:00"),
    ],
)
def test_what_is_not_there_is_an_error_in_one_line(selection: Any, words: str, run: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        run(**selection)

    assert words in str(error.value)
    assert not [*tmp_path.iterdir()]


def test_a_row_for_each_time(run: Any, tmp_path: Path) -> None:
    run()
    run(replace(JSONL, layout="wide"), "wide")

    long, wide = lines(tmp_path / "out" / "readings.jsonl"), lines(tmp_path / "wide" / "readings.jsonl")
    assert len({row["timestamp"] for row in wide}) == len(wide) <= 3001
    assert sorted(row["timestamp"] for row in wide) == [row["timestamp"] for row in wide]
    for sensor in sensors(long):
        expected = [row["temperature"] for row in long if row["sensor_id"] == sensor]
        found = [row[f"{sensor}.temperature"] for row in wide if row[f"{sensor}.temperature"] is not None]
        assert found == [value for value in expected if value is not None]
    assert f"{AIR}.co2" in wide[0]
    assert f"{AIR}.power" not in wide[0]


def test_missing_readings_are_null_or_held(run: Any, tmp_path: Path) -> None:
    for missing in ("omit", "null", "held"):
        run(replace(JSONL, rows=RowOptions(missing)), missing, sensors=(AIR,))

    omitted, null, held = (lines(tmp_path / name / "readings.jsonl") for name in ("omit", "null", "held"))
    assert len(omitted) < len(null) == len(held) == 3001
    recorded = {row["seq"]: row for row in omitted}
    before: dict[str, Any] = {}
    for empty, kept in zip(null, held, strict=True):
        if empty["seq"] in recorded:
            assert empty == kept == recorded[empty["seq"]]
            before = kept
        else:
            assert (empty["anomaly_type"], empty["temperature"], empty["status"]) == ("missing_data", None, None)
            assert kept["anomaly_type"] == "missing_data"
            same = ("temperature", "co2", "status", "quality")
            assert [kept[name] for name in same] == [before.get(name) for name in same]


@pytest.mark.parametrize("aggregate", ["mean", "min", "max", "first", "last"])
def test_readings_of_a_minute_become_one(aggregate: Any, run: Any, tmp_path: Path) -> None:
    pandas: Any = pytest.importorskip("pandas")
    run(sensors=(AIR,))
    run(replace(JSONL, rows=RowOptions("omit", 60 * SECOND_US, aggregate)), "minutes", sensors=(AIR,))

    frame = pandas.DataFrame(lines(tmp_path / "out" / "readings.jsonl"))
    groups = frame.groupby(frame["seq"] // 60)
    found = pandas.DataFrame(lines(tmp_path / "minutes" / "readings.jsonl"))
    for name in ("temperature", "co2", "quality"):
        pandas.testing.assert_series_equal(
            getattr(groups[name], aggregate)(), found[name], check_index=False, check_names=False
        )
    assert found["readings"].tolist() == groups.size().tolist()
    assert found["anomaly_flag"].tolist() == groups["anomaly_flag"].max().tolist()
    assert found["anomaly_type"].fillna("").tolist() == groups["anomaly_type"].first().fillna("").tolist()
    assert found["timestamp"][1] == "2026-01-01T00:01:00.000000+00:00"


def test_computed_readings_make_the_same_files_as_stored_ones(tmp_path: Path) -> None:
    for name in ("stored", "computed"):
        (tmp_path / name).mkdir()
        writer = SensorWriter(tmp_path / name / "x.db", readings=name == "stored")
        writer.deliver(2000, final=True)
        writer.sink.close()
        for format_name in FORMAT_NAMES:
            options = ExportOptions(format_name, rows=RowOptions("held"))
            export(read_histories(tmp_path / name), Selection(), options, tmp_path / name / format_name, "data")

    for format_name in FORMAT_NAMES:
        stored, computed = (
            {path.name: path.read_bytes() for path in (tmp_path / name / format_name).iterdir()}
            for name in ("stored", "computed")
        )
        assert stored == computed
        assert len(stored) == 10


def test_what_exists_is_replaced_only_if_it_is_an_export(run: Any, tmp_path: Path) -> None:
    run()
    with pytest.raises(UserError, match=r"-o: .*/out exists already: give another folder, or --overwrite"):
        run()
    (tmp_path / "out" / "readings.jsonl").write_text("old")
    run(replace(JSONL, overwrite=True))
    assert len(lines(tmp_path / "out" / "readings.jsonl")) > 3000

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not an export, so it is not replaced"):
        run(replace(JSONL, overwrite=True), "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_export_that_fails_leaves_nothing(
    histories: list[StoredHistory], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fleet.history.export.write_descriptions", fail)
    with pytest.raises(UserError, match="out cannot be written: No space left on device"):
        export(histories, Selection(), JSONL, tmp_path / "out", "data")

    assert [*tmp_path.iterdir()] == []


def test_exported_rows_are_those_of_the_histories(histories: list[StoredHistory], run: Any, tmp_path: Path) -> None:
    run()

    rows = lines(tmp_path / "out" / "readings.jsonl")
    assert rows == [row for history in histories for row in exported_rows(history, list(rows[0]))]
