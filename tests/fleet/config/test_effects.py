"""Values of valid configs that have another effect than they seem to have are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config.config import load_config
from fleet.config.effects import load_with_warnings
from fleet.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def warnings(text: str, data: str = "data") -> list[str]:
    Path("c.yaml").write_text(text)
    return [line.removeprefix("c.yaml:") for line in load_with_warnings(Path("c.yaml"), data=Path(data)).warnings]


@pytest.mark.parametrize("path", ["data/sensor_data.db", "sensor_data.db"])
def test_a_usual_name_is_nothing_to_say(path: str, folder: Path) -> None:
    assert [] == warnings(f"database: {{path: {path}}}")


def test_a_folder_that_is_dropped_is_said(folder: Path) -> None:
    """Each sensor has a database of its own; a shared one lies in the data directory, as the log and all other files do."""
    (own,) = warnings("database: {path: /srv/x.db}")
    assert own.startswith("1:18: database.path: /srv/x.db has no effect: each worker has a database of its own")
    shared = "replicas: {database: shared}\n"
    assert [
        "2:18: database.path: /srv/x.db: the folder has no effect, x.db is placed in the data directory (--data)"
    ] == (warnings(f"{shared}database: {{path: /srv/x.db}}"))
    assert [] == warnings(f"{shared}database: {{path: /srv/x.db}}", data="/srv")
    assert [] == warnings(f"{shared}database: {{path: data/x.db}}")
    (log,) = warnings("logging: {file: /var/log/fleet.log}")
    assert log.startswith("1:17: logging.file: /var/log/fleet.log: the folder has no effect, fleet.log is placed")


def test_a_shared_database_ends_in_db(folder: Path) -> None:
    """Otherwise no command would find it again."""
    Path("c.yaml").write_text("replicas: {database: shared}\ndatabase: {path: data/readings.sqlite}")

    with pytest.raises(
        UserError, match=r"c.yaml:2:18: database.path: data/readings.sqlite does not end in .db, by which"
    ):
        load_config(Path("c.yaml"))
    (own,) = warnings("database: {path: data/readings.sqlite}")
    assert "has no effect" in own


def test_identities_that_are_not_there_are_said(folder: Path) -> None:
    """A folder is made; a file is missing."""
    (line,) = warnings("identities: {path: nowhere}")
    assert line == (
        f"1:20: identities.path: nowhere does not exist (looked for {folder}/nowhere); "
        "it is made, and identities are generated in it"
    )
    (folder / "nowhere").mkdir()
    assert [] == warnings("identities: {path: nowhere}")
    Path("c.yaml").write_text("")
    with pytest.raises(UserError) as raised:
        load_config(Path("c.yaml"), {"IDENTITY_FILE": "who.json"})
    assert f"environment variable IDENTITY_FILE: who.json does not exist (looked for {folder}/who.json)" == str(
        raised.value
    )


def test_a_place_without_a_city_is_said(folder: Path) -> None:
    (line,) = warnings("sensor: {location: Factory Floor 3}")

    assert line == (
        "1:20: sensor.location: Factory Floor 3 names no city of the table: "
        "generated sensors have no coordinates, and the time zone UTC"
    )
    assert [] == warnings("sensor: {location: New York Factory Floor 3}")
    assert [] == warnings("sensor: {location: Factory Floor 3}\nrandom_location: {enabled: true}")


@pytest.mark.parametrize(
    "end", ["rotated-0001", "backup-20260101T000000Z", "backup-1", "quarantined-1", "QUARANTINED-1"]
)
def test_a_name_that_ends_like_one_of_our_files_is_refused(end: str, folder: Path) -> None:
    """Its database would be taken for one that was rotated, saved or put aside."""
    for text in (
        f"sensor: {{id: A.{end}}}",
        f"replicas: {{prefix: A.{end}}}",
        f"database: {{path: data/a.{end}.db}}",
    ):
        Path("c.yaml").write_text(text)
        with pytest.raises(
            UserError, match=rf"A?\.{end}.* ends in \.{end}, like the name of a rotated, saved or damaged"
        ):
            load_config(Path("c.yaml"))
    Path("c.yaml").write_text("sensor: {id: A.rotated}")
    assert "A.rotated" == load_config(Path("c.yaml")).sensor.id


def test_a_run_too_short_for_its_episodes_is_said(folder: Path) -> None:
    """If most anomalies are of types whose time, in all sensors together, is less than one episode."""
    text = (
        "simulation: {duration: 60, readings_per_second: 500}\n"
        "anomalies: {probability: 9%, types: {spike: {weight: 0.4}, trend: {weight: 0.4, duration_seconds: 300}, "
        "pattern: {weight: 0.2, duration_seconds: 600}, missing_data: {enabled: no}, noise: {enabled: no}}}"
    )

    (line,) = warnings(text)
    assert line == (
        "1:24: simulation.duration: a run of 60 s cannot hold the shares of trend 2.16 s for episodes of 300 s, "
        "pattern 1.08 s for episodes of 600 s; shorten these or run longer"
    )
    assert [] == warnings(text.replace("duration: 60,", "duration: 10h,"))
    assert [] == warnings(text + "\nreplicas: 600")
    assert [] == warnings(text.replace("duration: 60,", ""))
    assert [] == warnings(text.replace("probability: 9%,", "enabled: no,"))
