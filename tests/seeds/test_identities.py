"""Every identity of the source documents, as it was written, is a sensor; and the demo script's fleet is a fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.identities.files import StoredIdentity, read_identity
from fleet.verify.verification import verify
from tests.process.evidence import assert_complete
from tests.seeds.demo import DATA, DOCUMENTED, demo_identities

pytestmark = pytest.mark.claim("001.configuration-identities.1")


def identity(name: str) -> StoredIdentity:
    return read_identity(DATA / f"{name}.json")


@pytest.mark.claim("000.identity-file.1")
def test_the_flat_format() -> None:
    """Each of its fields ends in the column that is called after it."""
    who = identity("000-legacy").identity

    assert ("SENSOR_NY_123456", "New York", "America/New_York") == (who.sensor_id, who.location, who.timezone)
    assert (40.7128, -74.006) == (who.latitude, who.longitude)
    assert ("SensorTech", "TempSensor Pro", "1.2.0") == (who.manufacturer, who.model, who.firmware_version)


@pytest.mark.claim("000.identity-file.2")
def test_the_nested_format() -> None:
    """Sections and all."""
    found = identity("000-nested")
    who = found.identity

    assert ("SENSOR_CO_DEN_8548", "Denver, CO, USA", "Denver", "CO") == (
        who.sensor_id,
        who.location,
        found.city,
        found.state,
    )
    assert (39.733741, -104.990653, "America/Denver") == (who.latitude, who.longitude, who.timezone)
    assert ("DataLogger", "AirData-Plus", "DLG_v3.15.21") == (who.manufacturer, who.model, who.firmware_version)
    assert ("DataLogger-578463", "2025-03-24") == (who.serial_number, who.manufacture_date)
    assert ("mobile_unit", "2025-03-24", 8.3, 183.0) == (
        who.deployment_type,
        who.installation_date,
        who.height_meters,
        who.orientation_degrees,
    )
    assert ("i-04d485582534851c9", "environmental_monitoring") == (who.instance_id, who.sensor_type)


@pytest.mark.claim("002.getting-started.1", "002.introduction-features.2")
def test_the_identity_of_the_older_document() -> None:
    """Flat, with the kind of sensor it is."""
    found = identity("002-node_identity")

    assert ("temperature_vibration", "temperature_vibration") == (found.type, found.identity.sensor_type)
    assert ("SENSOR_001", "Factory A - Line 1") == (found.sensor_id, found.identity.location)


@pytest.mark.process
@pytest.mark.parametrize("name", DOCUMENTED)
def test_an_identity_runs(name: str, ran: Path) -> None:
    """As a sensor of a fleet, with each reading that was due, and who it is in each of its rows."""
    who = identity(name).identity
    seen = assert_complete(ran, 18, 100)[who.sensor_id]

    assert {(who.firmware_version, who.model, who.manufacturer)} == {row[11:14] for _, row in seen.readings}
    assert {who.location} == {row[16] for _, row in seen.readings}
    assert verify(ran, sensor=who.sensor_id, complete=True).ok


@pytest.mark.claim("002.demo-script.1")
def test_the_demo_script_has_fifteen_sensors(tmp_path: Path) -> None:
    """Five with old firmware and five with new in the factory, three in the warehouse, two outdoors."""
    demo_identities(tmp_path)
    found = [read_identity(path) for path in sorted(tmp_path.iterdir())]

    assert 15 == len(found)
    assert {"1.3": 8, "1.4": 7} == {
        version: sum(one.identity.firmware_version == version for one in found) for version in ("1.3", "1.4")
    }
    assert ["TempVibe-1000", "TempVibe-2000", "TempVibe-3000"] == [
        str(one.identity.model) for one in found if one.sensor_id.startswith("WAREHOUSE_")
    ]
    assert () == sum((one.warnings for one in found if "timezone" not in one.warnings[0]), ())
