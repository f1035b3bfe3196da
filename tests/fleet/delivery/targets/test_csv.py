"""A CSV file as a target: every reading is in it once, and comes back with the types of its values."""

from __future__ import annotations

import csv
import gzip
import io
from contextlib import closing
from pathlib import Path

import pytest

from fleet.delivery.compare.against import ComparisonOptions, compare
from fleet.delivery.compare.verdict import DeliveryVerdict
from fleet.delivery.records.record import Document
from fleet.delivery.records.registry import record_named
from fleet.delivery.targets.csv.format import CSV
from fleet.delivery.targets.csv.target import CsvTarget
from fleet.delivery.targets.registry import TargetOptions, open_target
from fleet.errors import UserError
from tests.fleet.delivery.samples import batch, episodes, epochs, foreign_batch, with_values
from tests.fleet.delivery.several_kinds import data
from tests.fleet.delivery.swept import sweep_into
from tests.worker.further import attributes

__all__ = ["attributes", "data"]

ODD_VALUES: Document = {
    "null": None,
    "empty": "",
    "number": "17",
    "word": "null",
    "lines": 'a "quoted" text,\r\nand a second line\n',
    "whole": 2**63 - 1,
    "real": 1.0,
    "small": 5e-324,
    "infinite": float("inf"),
    "yes": True,
    "name, with": "🌍",
}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows as another program reads them."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def verdict(data: Path, path: Path) -> DeliveryVerdict:
    return compare(data, ComparisonOptions(f"csv:{path}", complete=True))


def test_values_come_back_as_they_were() -> None:
    """NULL is an empty field, the empty text has quotes; a later field without a column is in `extra`."""
    lines, header = CSV.dump([ODD_VALUES], None)
    more, same = CSV.dump([{"empty": "x", "new": {"a": [1, None]}, "extra": 2.5}], header)
    first, second = CSV.load(io.BytesIO(lines + more))

    assert header == same == [*ODD_VALUES, "extra"]
    assert ODD_VALUES == first
    assert [type(value) for value in ODD_VALUES.values()] == [type(value) for value in first.values()]
    assert {"empty": "x", "new": {"a": [1, None]}, "extra": 2.5} == {
        name: value for name, value in second.items() if value is not None
    }
    assert lines.split(b"\n")[1].startswith(b',"","17","null",')


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_readings_arrive_as_rows(name: str, tmp_path: Path) -> None:
    """With one header, also when another process goes on."""
    path = tmp_path / name
    with closing(open_target(f"csv:{path}", TargetOptions())) as opened:
        receipt = opened.deliver(batch(1, 4, epochs=epochs(0)))
    with closing(open_target(f"csv:{path}", TargetOptions())) as opened:
        again = opened.deliver(batch(3, 6, episodes=episodes((7, 9))))

    assert (frozenset({1, 2, 3}), 0, {}) == (receipt.accepted, receipt.duplicates, receipt.rejected)
    assert 1 == again.duplicates
    assert ["1", "2", "3", "4", "5"] == [row["id"] for row in rows(path)]
    assert ("", "Kinshasa, 🌍") == (rows(path)[0]["humidity"], rows(path)[0]["location"])
    epoch, episode = rows(tmp_path / name.replace(".csv", ".history.csv"))
    assert ("epochs", "0", str(2**63)) == (epoch["table"], epoch["first_seq"], epoch["seed"])
    assert ("anomaly_episodes", "7", "9") == (episode["table"], episode["first_seq"], episode["last_seq"])


def test_what_is_no_text_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    bad = with_values(with_values(batch(1, 5), 2, location=b"\xff"), 3, location="\udc80")
    with closing(open_target(f"csv:{path}", TargetOptions())) as opened:
        receipt = opened.deliver(bad)

    assert {2: "location: is binary data, which is no text"} | {3: receipt.rejected[3]} == receipt.rejected
    assert receipt.rejected[3].endswith("is not Unicode")
    assert ["1", "4"] == [row["id"] for row in rows(path)]


def test_columns_of_another_source_are_in_the_last_column(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with closing(open_target(f"csv:{path}", TargetOptions())) as opened:
        opened.deliver(batch(1, 2))
        opened.deliver(foreign_batch(1, 2))

    assert ["", '{"battery":0.1}'] == [row["extra"] for row in rows(path)]


@pytest.mark.usefixtures("attributes")
@pytest.mark.parametrize("marking", [True, False])
def test_a_sweep_is_compared(marking: bool, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.csv.gz"
    sweep_into(CsvTarget(path), data, batch_size=50, marking=marking)
    found = verdict(data, path)
    assert (True, ()) == (found.ok, found.findings)
    assert found.generated == len(rows(path)) > 300
    assert found.epochs > 0

    assert 0 == sweep_into(CsvTarget(path), data, marking=marking).totals().delivered


@pytest.mark.parametrize("name", ["nested", "own.yaml"])
def test_objects_are_compared(name: str, data: Path, tmp_path: Path) -> None:
    """A field has the JSON of an object."""
    path, own = tmp_path / "out.csv", tmp_path / "own.yaml"
    own.write_text("{from: {device: sensor_id}, ts: timestamp as epoch_ms, air: {temp_c: temperature}}")
    record = str(own) if name == own.name else name
    sweep_into(open_target(f"csv:{path}", TargetOptions(record=record_named(record))), data)
    found = compare(data, ComparisonOptions(f"csv:{path}", record=record, complete=True))

    assert ({}, found.generated) == (dict(found.counts), found.arrived)


@pytest.mark.usefixtures("attributes")
def test_what_was_changed_in_the_file_is_found(data: Path, tmp_path: Path) -> None:
    """Also an empty text where NULL was."""
    path = tmp_path / "out.csv"
    sweep_into(CsvTarget(path), data)
    header, *lines = path.read_text().splitlines(keepends=True)
    place = header.split(",").index("anomaly_type")
    changed = next(number for number, line in enumerate(lines) if not line.split(",")[place])
    fields = lines[changed].split(",")
    fields[place] = '""'
    lines[changed] = ",".join(fields)
    del lines[-1]
    path.write_text("".join((header, *lines)))

    assert {"delivered altered": 1, "not delivered": 1} == verdict(data, path).counts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('a,b\n1,"x"\n2', r"line 3: has 1 fields, the header has 2"),
        ('a,b\n1,"x"y\n', r"line 2: has something beside the quotes"),
        ('a,b\n1,"x\n\n', r"line 3: has something beside the quotes"),
        ("a,b\n1,\udcff\n", r"line 2: 'utf-8' codec"),
    ],
)
def test_a_damaged_file_is_told(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=rf"out\.csv cannot be read: {reason}"):
        verdict(tmp_path, path)
