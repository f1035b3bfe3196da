"""Every spelling a key has had means what it means here."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.config.config import Config, load_config
from fleet.config.dialects import KEY_ALIASES
from fleet.errors import UserError

SAME = {
    "simulation: {duration_seconds: 600, readings_per_second: 5}\nreplicas: {count: 50}": [
        "sensors: 50\nduration: 10m\nrate: 5",
        "replicas: 50\nsimulation: {duration: 600s, readings_per_second: 5}",
    ],
    "anomalies: {probability: 0.2}": ["anomaly: {base_probability: 0.2}", "anomalies: {probability: 20%}"],
    "dynamic_reload: {watch_config: false}": ["dynamic_reload: {reload_on_change: false}"],
    "random_location: {number_of_cities: 7}": ["random_location: {city_count: 7}"],
    "random_location: {include_countries: [DE], exclude_countries: [US]}": [
        "random_location: {include_countries: [deu], exclude_countries: [USA]}"
    ],
    "normal_parameters: {humidity: {daily_amplitude: 0}}": ["normal_parameters: {humidity: {daily_pattern: off}}"],
    "anomalies: {types: {spike: {multiplier_min: 2, multiplier_max: 2}}}": [
        "anomalies: {types: {spike: {severity_factor: 2}}}"
    ],
    "database: {preserve_existing: false}": ["database: {preserve_existing_db: false}"],
    "database: {batch_interval: 5, backup: {keep: 3}}": ["database: {batch_timeout: 5s, max_backups: 3}"],
    "monitoring: {endpoints: {health: /health, metrics: /m}}": [
        "monitoring: {health_check_path: /health, metrics_path: /m}"
    ],
    "supervision: {hang_seconds: 90, drain_seconds: 120}": ["supervision: {hang_seconds: 1m30s, drain_seconds: 2m}"],
    "simulation: {duration_seconds: 60}": [
        "simulation: {run_time_seconds: 60}",
        "simulation: {runtime_seconds: 60}",
        "simulation: {duration: 60.0}",
    ],
    "dynamic_reload: {enabled: false, check_interval_seconds: 9}": [
        "config_reload: {enabled: false, check_interval: 9}",
        "dynamic_reloading: {enabled: no, check_interval_seconds: 9}",
    ],
    "random_location: {enabled: true, gps_variation: 111.195}": [
        "location: {use_random: true, coordinate_variation: 0.001}",
        "location: {enabled: yes, gps_variation: 111.195}",
    ],
    "database: {batch_interval: 10}": ["simulation: {batch_interval: 10}"],
    "database: {backup: {enabled: true, interval: 7200, path: p}}": [
        "database: {backup_enabled: true, backup_interval_hours: 2, backup_path: p}",
        "database: {backup_enabled: true, backup_interval: 7200, backup: {path: p}}",
        "database: {backup: {path: p, interval_hours: 2}, backup_enabled: on}",
    ],
    "database: {backup: {keep: 2}}": ["database: {backup_keep: 2}"],
    "logging: {console: false}": ["logging: {console_output: false}"],
    "logging: {json_lines: true}": ["logging: {json: true}"],
    "normal_parameters: {vibration: {min: 0.2, max: 9}}": [
        "normal_parameters: {vibration: {min_value: 0.2, max_value: 9}}",
        "normal_parameters: {vibration: {min: .2, max_value: 9.0}}",
    ],
    "anomalies: {types: {spike: {weight: 0.7}, noise: {noise_factor: 0.15}}}": [
        "anomalies: {types: {spike: {probability: 0.7}, noise: {factor: 0.15}}}",
    ],
}


def load(folder: Path, text: str) -> Config:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return load_config(path)


@pytest.mark.parametrize(("canonical", "dialect"), [(key, text) for key, texts in SAME.items() for text in texts])
@pytest.mark.claim(
    "000.configuration-file.12", "000.configuration-file.6", "000.configuration-file.9", "001.configuration-options.13"
)
def test_a_dialect_says_the_same(canonical: str, dialect: str, tmp_path: Path) -> None:
    """And both say something else than the defaults."""
    assert load(tmp_path, canonical) == load(tmp_path, dialect)
    assert Config() != load(tmp_path, dialect)


def test_every_spelling_is_tested_here() -> None:
    """A new one needs a line above."""
    said = " ".join(text for texts in SAME.values() for text in texts)

    assert [name for name in KEY_ALIASES if name.rsplit(".", 1)[-1] not in said] == []


@pytest.mark.parametrize(
    "text",
    [
        "config_reload: {enabled: true}\ndynamic_reload: {check_interval: 5}",
        "simulation: {batch_interval: 10}\ndatabase: {batch_interval: 10}",
        "database: {batch_interval: 10}\nsimulation: {batch_interval: 10}",
        "database: {backup_enabled: true, backup: {enabled: true}}",
        "database: {backup: {interval: 1, interval_hours: 1}}",
        "normal_parameters: {voltage: {min: 20, min_value: 20}}",
        "anomalies: {types: {spike: {weight: 1, probability: 1}}}",
    ],
)
def test_two_spellings_of_one_key_are_an_error(text: str, tmp_path: Path) -> None:
    """Even if they agree, in either order, and across sections."""
    with pytest.raises(UserError, match=r"says the same as .* on line .; keep one"):
        load(tmp_path, text)


def test_an_error_speaks_the_dialect_of_the_file(tmp_path: Path) -> None:
    """It names the key and the value that are there to be mended."""
    with pytest.raises(UserError, match=r"1:36: database\.backup_interval_hours: -2 is not above 0"):
        load(tmp_path, "database: {backup_interval_hours:  -2}")
