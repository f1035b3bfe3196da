"""What the queries of the source documents show on the database of a mixed fleet that really ran.

Episodes are short, so that seconds hold thousands of them. A share is judged by its standard error: were episodes to
come at random (they come more evenly), the number of anomalous readings among n would have the variance
n x sum(share of a type x its duration).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import sqrt
from typing import Any

import apsw
import pytest

from fleet.verify.verification import verify
from tests.process.evidence import databases, open_database
from tests.process.running_fleet import ROOT, FleetProcess

pytestmark = pytest.mark.claim("001.analyzing-data.1", "002.demo-script.2")

PROBABILITY = 0.05
SCHEDULED = 9_000
LONGEST = 4
WEIGHTS = {"spike": 0.4, "trend": 0.2, "pattern": 0.1, "missing_data": 0.1, "noise": 0.2}

CONFIG = f"""
version: 2
replicas: {{count: 18, sensors_per_worker: 18}}
simulation: {{readings_per_second: 3000, start: "2026-03-04T15:00:00Z"}}
sensor: {{type: temperature_vibration}}
normal_parameters: {{temperature: {{correlation: 0}}, vibration: {{correlation: 0}}, voltage: {{correlation: 0}}}}
anomalies:
  probability: {PROBABILITY}
  types:
    trend: {{duration_readings: {LONGEST}}}
    pattern: {{duration_readings: {LONGEST}, frequency: 700}}
    missing_data: {{duration_readings: 1}}
    noise: {{duration_readings: {LONGEST}}}
"""

# Manufacturer, model, firmware, location and how many. SensorTech, TempVibe-X and 2.0 have no effect.
FLEET = [
    ("SensorTech", "TempVibe-X", "1.3", "Hall 1", 3),
    ("SensorTech", "TempVibe-X", "1.4", "Hall 1", 3),
    ("SensorTech", "TempVibe-1000", "2.0", "Factory A - Line 1", 4),
    ("SensorTech", "TempVibe-2000", "2.0", "Warehouse B - Section 1", 2),
    ("SensorTech", "TempVibe-3000", "2.0", "Outdoor - Area 1", 2),
    ("DataSense", "TempVibe-X", "2.0", "Hall 1", 4),
]

DOCUMENT = ROOT / "docs" / "behaviour.md"
BY_FIRMWARE, BY_MODEL, SCHEDULED_READINGS, BY_LOCATION = re.findall(
    r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL
)
SOURCES = {
    "001-anomaly-rates-by-firmware": BY_FIRMWARE,
    "001-anomaly-types-by-model": BY_MODEL,
    "001-readings-by-location": BY_LOCATION,
}
UPWARD_SPIKES = """
SELECT AVG(voltage / 24.0), COUNT(*) FROM sensor_readings
WHERE manufacturer = ? AND firmware_version = '2.0' AND anomaly_type = 'spike' AND voltage > 30;
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    """The database of the fleet, after a run of three seconds."""
    folder = tmp_path_factory.mktemp("analyses")
    (folder / "identities").mkdir()
    numbers = iter(range(100))
    for maker, model, firmware, location, count in FLEET:
        for number in (next(numbers) for _ in range(count)):
            identity = {
                "id": f"SENSOR_{number:03d}",
                "type": "temperature_vibration",
                "location": location,
                "timezone": "UTC",
                "manufacturer": maker,
                "model": model,
                "firmware_version": firmware,
            }
            (folder / "identities" / f"{number:03d}.json").write_text(json.dumps(identity))
    (folder / "mixed.yaml").write_text(CONFIG)
    arguments = ("-c", folder / "mixed.yaml", "--identities", folder / "identities", "--for", "3s", "--seed", 7)
    running = FleetProcess(folder / "data", folder / "output", *arguments, "--no-http")
    try:
        assert 0 == running.wait(60), running.output
    finally:
        running.end()
    assert verify(folder / "data", complete=True).ok
    (path,) = databases(folder / "data")
    with open_database(path) as connection:
        yield connection


def rows(database: apsw.Connection, query: str, *bindings: object) -> list[tuple[Any, ...]]:
    return database.execute(query, bindings).fetchall()


def error(share: float, readings: int) -> float:
    """The standard error of an anomalous share among that many readings, no less than it can be."""
    durations = sum(weight * (1 if kind == "spike" else LONGEST) for kind, weight in WEIGHTS.items())
    return sqrt(share * durations / readings)


def scheduled(database: apsw.Connection) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """Scheduled, anomalous and missing readings by manufacturer, model and firmware."""
    return {tuple(row[:3]): tuple(row[3:]) for row in rows(database, SCHEDULED_READINGS)}


def test_the_queries_are_those_of_the_source_documents() -> None:
    """Word for word."""
    for name, query in SOURCES.items():
        assert (ROOT / "tests" / "seeds" / "data" / f"{name}.sql").read_text().split() == query.split()


@pytest.mark.claim("002.anomalies-simulated.2")
def test_firmware_has_its_share_of_the_scheduled_readings(database: apsw.Connection) -> None:
    """7.5 % with 1.3 and 3.5 % with 1.4, rows and missing ones together."""
    found = scheduled(database)
    for firmware, share in (("1.3", 0.075), ("1.4", 0.035)):
        readings, struck, _ = found["SensorTech", "TempVibe-X", firmware]

        assert 3 * SCHEDULED == readings
        assert abs(struck / readings - share) < 3 * error(share, readings)


def test_the_query_by_firmware_sees_rows_alone(database: apsw.Connection) -> None:
    """It shows p (1 - m) / (1 - p m), m the weight of missing data: 6.80 % and 3.16 %, the older firmware first."""
    found = {row[0]: row for row in rows(database, BY_FIRMWARE)}
    missing = WEIGHTS["missing_data"]
    for firmware, share in (("1.3", 0.075), ("1.4", 0.035)):
        seen = share * (1 - missing) / (1 - share * missing)
        _, total, count, percentage = found[firmware]

        assert abs(percentage / 100 - seen) < 3 * error(seen, total)
        assert percentage == round(100 * count / total, 2)
    assert list(found) == ["1.3", "2.0", "1.4"]


@pytest.mark.claim("002.anomalies-simulated.6")
def test_a_model_has_its_kind_of_anomaly(database: apsw.Connection) -> None:
    """The query by model: a pattern is 1.5 times as likely on a TempVibe-2000, a spike on a TempVibe-3000."""
    found = {(model, kind): (count, percentage) for model, kind, count, percentage in rows(database, BY_MODEL)}
    for model, kind, factor in (("TempVibe-2000", "pattern", 1.5), ("TempVibe-3000", "spike", 1.5)):
        changed = {**WEIGHTS, kind: WEIGHTS[kind] * factor}
        seen = sum(weight for name, weight in changed.items() if name != "missing_data")
        count, percentage = found[model, kind]
        asked = changed[kind] / seen

        assert abs(percentage / 100 - asked) < 3 * asked * sqrt((1 if kind == "spike" else LONGEST) / count)
        assert percentage > found["TempVibe-X", kind][1] * 1.1
    assert {kind for _, kind in found} == WEIGHTS.keys() - {"missing_data"}


@pytest.mark.claim("002.anomalies-simulated.5")
def test_a_tempvibe_1000_has_twice_the_odds_of_missing_data(database: apsw.Connection) -> None:
    """Against the other types: 0.2 to 0.9, where others have 0.1 to 0.9."""
    _, struck, missing = scheduled(database)["SensorTech", "TempVibe-1000", "2.0"]
    odds = missing / (struck - missing) / (WEIGHTS["missing_data"] / (1 - WEIGHTS["missing_data"]))

    assert abs(odds - 2) < 3 * 2 * sqrt((1 + 2 / 9 * LONGEST) / missing)


@pytest.mark.claim("002.anomalies-simulated.4")
def test_datasense_has_fewer_anomalies_and_stronger_ones(database: apsw.Connection) -> None:
    """20 % fewer; what spikes exceed the normal value by is a quarter more."""
    readings, struck, _ = scheduled(database)["DataSense", "TempVibe-X", "2.0"]
    means = {maker: rows(database, UPWARD_SPIKES, maker)[0] for maker in ("SensorTech", "DataSense")}
    spread = {"SensorTech": 1.5 / sqrt(12), "DataSense": 1.875 / sqrt(12)}
    errors = {maker: spread[maker] / sqrt(count) for maker, (_, count) in means.items()}

    assert abs(struck / readings - 0.8 * PROBABILITY) < 3 * error(0.8 * PROBABILITY, readings)
    assert abs(means["SensorTech"][0] - 2.25) < 3 * errors["SensorTech"]
    assert abs(means["DataSense"][0] - 2.5625) < 3 * errors["DataSense"]
    assert means["DataSense"][0] - means["SensorTech"][0] > 2 * sqrt(sum(one**2 for one in errors.values()))


def test_the_query_by_location_shows_what_a_place_does(database: apsw.Connection) -> None:
    """On a Wednesday at 15:00: a standard deviation of 2 degrees above the mean in a hall, half of that in a warehouse,
    2.5 times as much outdoors, and in a factory 3 degrees more for those who work there."""
    found = {location: temperature for location, _, temperature, _ in rows(database, BY_LOCATION)}

    assert 24.0 == pytest.approx(found["Hall 1"], abs=0.3)
    assert 27.0 == pytest.approx(found["Factory A - Line 1"], abs=0.3)
    assert 23.0 == pytest.approx(found["Warehouse B - Section 1"], abs=0.3)
    assert 27.0 == pytest.approx(found["Outdoor - Area 1"], abs=0.3)
