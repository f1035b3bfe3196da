"""Reading both identity formats, refusing what is neither, and writing the nested one."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import UserError
from fleet.identities.files import IdentityOrigin, StoredIdentity, read_identities, read_identity, write_identity
from worker.spec import Identity

EXAMPLES = Path(__file__).parents[3] / "identities"

DENVER = StoredIdentity(
    Identity(
        sensor_id="SENSOR_CO_DEN_8548",
        firmware_version="DLG_v3.15.21",
        model="AirData-Plus",
        manufacturer="DataLogger",
        serial_number="DataLogger-578463",
        manufacture_date="2025-03-24",
        location="Denver, CO, USA",
        latitude=39.733741,
        longitude=-104.990653,
        timezone="America/Denver",
        deployment_type="mobile_unit",
        installation_date="2025-03-24",
        height_meters=8.3,
        orientation_degrees=183.0,
        instance_id="i-04d485582534851c9",
        sensor_type="environmental_monitoring",
    ),
    city="Denver",
    state="CO",
)


def failure(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_identity(path)
    return str(caught.value)


@pytest.mark.claim("001.configuration-identities.2")
def test_the_nested_format_is_read() -> None:
    """Every field of the nested example is kept, and there is nothing to warn of."""
    sensor = read_identity(EXAMPLES / "example-nested.json")

    assert sensor == DENVER
    assert sensor.warnings == ()


@pytest.mark.claim("001.configuration-identities.2")
def test_the_flat_format_is_read() -> None:
    sensor = read_identity(EXAMPLES / "example-flat.json")

    assert sensor == StoredIdentity(
        Identity(
            sensor_id="SENSOR_NY_123456",
            firmware_version="1.2.0",
            model="TempSensor Pro",
            manufacturer="SensorTech",
            location="New York",
            latitude=40.7128,
            longitude=-74.006,
            timezone="America/New_York",
        )
    )
    assert sensor.warnings == ()


def test_the_flat_format_may_name_the_type() -> None:
    """`type` is the kind in the catalogue; it is also what the column says. Without a time zone it is UTC."""
    path = EXAMPLES / "example-factory.json"
    sensor = read_identity(path)

    assert (sensor.sensor_id, sensor.type) == ("FACTORY_1_OLD", "temperature_vibration")
    assert sensor.identity.sensor_type == "temperature_vibration"
    assert (sensor.identity.location, sensor.identity.timezone) == ("Factory A - Line 1", "UTC")
    assert sensor.warnings == (f"{path}: no timezone in it, taken as UTC",)


def test_the_address_is_made_of_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"id": "a", "timezone": "UTC", "location": {"city": "Lyon", "country": "FR", "state": null}}')

    assert read_identity(path).identity.location == "Lyon, FR"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"id": "a",\n}', "a.json:1:11: invalid JSON: a comma after the last element"),
        ("", "a.json:1:1: invalid JSON: "),
        (b"\xff\xfe\x00", "a.json: not a text file (byte 0 is not UTF-8)"),
        ("[1]", "a.json: [1] is not an identity (a JSON object with sensor_id)"),
        ("[" * 100_000, "a.json: invalid JSON: nested too deeply"),
        ('{"id": "a", "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "a.json: invalid JSON: nested too deeply"),
        ('{"id": "a", "id": "b"}', 'a.json: invalid JSON: the key "id" occurs twice in one object'),
        ('{"id": 1' + "0" * 5000 + "}", "a.json: invalid JSON: a number of thousands of digits"),
        ("{}", "a.json: no sensor_id in it (or id, in the flat format)"),
        ('{"id": null}', "a.json: no sensor_id in it (or id, in the flat format)"),
        (
            '{"id": "A.rotated-0001"}',
            'a.json:1:8: id: "A.rotated-0001" must not end in .rotated-0001, like the name of',
        ),
        ('{"id": "A.before-2"}', 'a.json:1:8: id: "A.before-2" must not end in .before-2, like the name of'),
        ('{"id": "a/b"}', 'a.json:1:8: id: "a/b" must be 1 to 64 letters, digits, '),
        ('{"id": "../b"}', 'a.json:1:8: id: "../b" must be 1 to 64 letters, digits, '),
        ('{"id": "a\\n"}', 'a.json:1:8: id: "a\\n" must be 1 to 64 letters, digits, '),
        ('{"id": 5}', "a.json:1:8: id: 5 must be text, in double quotes"),
        ('{"id": "' + "a" * 65 + '"}', "must be 1 to 64 letters, digits, "),
        ('{"id": "a", "sensor_id": "b"}', 'a.json:1:26: sensor_id: "b" contradicts id: "a"'),
        (
            '{"sensor_id": "a",\n "location": {"city": "x",\n  "coordinates": {"longitude": 1, "latitude": 95}}}',
            "a.json:3:47: location.coordinates.latitude: 95 must be less than or equal to 90",
        ),
        ('{"id": "a", "latitude": NaN, "longitude": 1}', "a.json:1:25: latitude: NaN must be a finite number"),
        ('{"id": "a", "latitude": 1e999, "longitude": 1}', "a.json:1:25: latitude: Infinity must be a finite number"),
        ('{"id": "a", "latitude": "1", "longitude": 1}', 'a.json:1:25: latitude: "1" must be a number'),
        ('{"id": "a", "latitude": true, "longitude": 1}', "a.json:1:25: latitude: true must be a number"),
        ('{"id": "a", "latitude": 1}', "a.json:1:25: latitude: 1 must come with a longitude"),
        ('{"id": "a", "firmware_version": 1.4}', "firmware_version: 1.4 must be text, in double quotes"),
        ('{"id": "a", "timezone": "Mars/Base"}', 'timezone: "Mars/Base" must be a time zone such as America/Denver'),
        ('{"id": "a", "timezone": "../etc/passwd"}', "must be a time zone such as America/Denver"),
        ('{"id": "a", "manufacture_date": "2025-02-30"}', '"2025-02-30" must be a date such as 2025-03-24'),
        ('{"id": "a", "manufacture_date": "20250203"}', '"20250203" must be a date such as 2025-03-24'),
        ('{"id": "a", "deployment": {"height_meters": "high"}}', 'deployment.height_meters: "high" must be a number'),
        ('{"id": "a", "orientation_degrees": 361}', "orientation_degrees: 361 must be less than or equal to 360"),
        ('{"id": "a", "device_info": "x"}', 'a.json:1:28: device_info: "x" must be an object'),
        ('{"id": "a", "model": {"x": 1}}', 'model: {"x": 1} must be text, in double quotes'),
        ('{"id": "\\ud800"}', 'id: "\\ud800" must be text that UTF-8 can spell'),
        ('{"id": "a", "model": "\\ud800"}', 'model: "\\ud800" must be one line of text without control characters'),
        ('{"id": "a", "model": "x\\u0000"}', "must be one line of text without control characters"),
        ('{"id": "a", "location": ""}', 'location: "" must not be empty'),
        ('{"id": "a", "model": "x\\u2028y"}', 'model: "x\\u2028y" must be one line of text without control characters'),
        ('{"id": "a", "model": "\\u009b31m"}', 'model: "\\x9b31m" must be one line of text without control characters'),
        ('{"id": "\\u202e\\ufeff"}', 'id: "\\u202e\\ufeff" must be 1 to 64 letters'),
        (
            '{"id": "a", "metadata": {"minted": {"seed": -1, "index": 1}}}',
            "metadata.minted.seed: -1 must be greater than",
        ),
        ('{"id": "a", "x": ' + "[" * 101 + "]" * 101 + "}", "a.json: invalid JSON: nested too deeply"),
    ],
)
def test_what_is_no_identity_is_refused(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    """The error is one line: file, line and column where there is one, key, value, what is allowed."""
    message = failure(tmp_path / "a.json", text)

    assert complaint in message
    assert "\n" not in message


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r": is a directory, not a file$"):
        read_identity(tmp_path)
    with pytest.raises(UserError, match=r": no such file$"):
        read_identity(tmp_path / "none.json")


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    """A pipe in the folder of identities, and a file without an end."""
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match=r"pipe\.json: is not a file$"):
        read_identities(tmp_path)
    with (tmp_path / "large.json").open("wb") as large:
        large.truncate(64_000_001)
    with pytest.raises(UserError, match=r"large\.json: is larger than 64 MB$"):
        read_identity(tmp_path / "large.json")


def test_oddities_are_warned_of(tmp_path: Path) -> None:
    """An unknown field is ignored and an early installation kept, each with a warning."""
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps(
            {
                "id": "a",
                "timezone": "UTC",
                "colour": {"hue": 3},
                "deployment": {"mast": 5, "installation_date": "2024-01-01"},
                "manufacture_date": "2025-01-01",
            }
        )
    )

    assert read_identity(path).warnings == (
        f'{path}: "colour": not a field of an identity, ignored',
        f'{path}: "deployment.mast": not a field of an identity, ignored',
        f"{path}: installation_date 2024-01-01 is before manufacture_date 2025-01-01",
    )


def test_writing_is_nested_and_readable(tmp_path: Path) -> None:
    """The file is the example again, byte for byte but for 183.0, and no temporary file is left."""
    path = write_identity(tmp_path, DENVER)

    example = (EXAMPLES / "example-nested.json").read_text()
    assert path == tmp_path / "SENSOR_CO_DEN_8548.json"
    assert path.read_text() == example.replace("183", "183.0")
    assert list(tmp_path.iterdir()) == [path]


def test_writing_is_utf8(tmp_path: Path) -> None:
    path = write_identity(tmp_path, replace(DENVER, city="São Paulo"))

    assert "São Paulo".encode() in path.read_bytes()


def test_writing_where_one_cannot_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none/SENSOR_CO_DEN_8548.json: cannot be written: No such file"):
        write_identity(tmp_path / "none", DENVER)


words = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30).filter(str.strip)
dates = st.dates().map(lambda day: day.isoformat())
degrees = st.floats(-90, 90)


@given(
    sensor=st.builds(
        StoredIdentity,
        identity=st.builds(
            Identity,
            sensor_id=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"),
            firmware_version=st.none() | words,
            manufacturer=st.none() | words,
            manufacture_date=st.none() | dates,
            installation_date=st.none() | dates,
            location=words,
            latitude=degrees,
            longitude=degrees,
            timezone=st.sampled_from(["UTC", "Asia/Kolkata"]),
            height_meters=st.none() | st.floats(-100, 9000),
            orientation_degrees=st.none() | st.floats(0, 360),
            sensor_type=words,
        ),
        type=st.none() | words,
        city=st.none() | words,
        country=st.none() | words,
        origin=st.none()
        | st.builds(IdentityOrigin, st.integers(0, 2**63 - 1), st.integers(0, 10**9), st.text("0123456789abcdef")),
        warnings=st.just(()),
    )
)
def test_a_round_trip_loses_nothing(tmp_path_factory: pytest.TempPathFactory, sensor: StoredIdentity) -> None:
    """What is written is read again, equal in every field, and written again the same."""
    directory = tmp_path_factory.mktemp("identities")
    path = write_identity(directory, sensor)
    written = path.read_bytes()

    again = read_identity(path)

    assert again == sensor
    assert write_identity(directory, again).read_bytes() == written


def test_a_directory_is_read_in_the_order_of_file_names(tmp_path: Path) -> None:
    """Files that are hidden or not `.json` are not identities; a directory that is not there has none."""
    for name, sensor_id in (("b.json", "A"), ("a.json", "B"), (".c.json", "C"), ("d.txt", "D")):
        (tmp_path / name).write_text(json.dumps({"id": sensor_id}))

    assert list(read_identities(tmp_path)) == ["B", "A"]
    assert read_identities(tmp_path / "none") == {}


def test_two_files_with_one_id_are_both_named(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"id": "A"}')

    with pytest.raises(UserError) as caught:
        read_identities(tmp_path)

    assert str(caught.value) == f'{tmp_path / "b.json"}: sensor_id "A" is already that of {tmp_path / "a.json"}'


def test_what_is_neither_file_nor_directory_is_refused() -> None:
    with pytest.raises(UserError, match=r"^/dev/null: is not a folder of identity files$"):
        read_identities(Path("/dev/null"))


@pytest.mark.parametrize("name", ["mine.json", "mine"])
def test_an_identity_file_in_place_of_a_directory_is_the_one_identity(tmp_path: Path, name: str) -> None:
    """A single file of any name counts as provided by the user, also if it was generated for a fleet."""
    path = tmp_path / name
    generated = {"seed": 1, "index": 7, "settings": "x"}
    path.write_text(json.dumps({"sensor_id": "A", "location": {"timezone": "UTC"}, "metadata": {"minted": generated}}))
    (tmp_path / "other.json").write_text(json.dumps({"id": "B", "timezone": "UTC"}))

    (sensor,) = read_identities(path).values()

    assert ("A", None) == (sensor.sensor_id, sensor.origin)


def test_an_identity_without_an_id_gets_one(tmp_path: Path) -> None:
    """The same at each reading, whatever else is edited; another one for another sensor."""
    text = '{"location": {"city": "Denver", "timezone": "America/Denver"}, "metadata": {"instance_id": "i-1"}}'
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    path.write_text(text)
    other.write_text(text)

    sensor = read_identity(path)

    assert sensor.sensor_id.startswith("DEN_")
    assert (f"{path}: no sensor_id in it; it is {sensor.sensor_id} unless SENSOR_ID gives another",) == sensor.warnings
    assert sensor.sensor_id != read_identity(other).sensor_id
    path.write_text(text.replace('"i-1"', '"i-2"'))
    assert sensor.sensor_id != read_identity(path).sensor_id
    path.write_text(text.replace('Denver", ', 'Denver", "state": "CO", '))
    assert sensor.sensor_id == read_identity(path).sensor_id
    path.write_text('{"serial_number": "S-1", "timezone": "UTC"}')
    assert read_identity(path).sensor_id.startswith("SEN_")
