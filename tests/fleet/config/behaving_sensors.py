"""Sensors of the catalogue and what they measure, for the tests of documented behaviour."""

from __future__ import annotations

from pathlib import Path

from fleet.catalogue.catalogue import load_catalogue
from fleet.config.config import load_config
from fleet.config.settings import settings_for
from tests.worker.samples import NEW_YEAR
from worker.readings.generator import Block, SignalGenerator
from worker.spec import Channel, Identity, Settings

VIBE = Identity("A", sensor_type="temperature_vibration")
CATALOGUE = load_catalogue()


def sensor_settings(folder: Path, identity: Identity, text: str = "", catalogue: Path | None = None) -> Settings:
    """Return the settings of the sensor under a config of that text, with white noise only: slow movements would hide the
    effects in a few thousand readings."""
    path = folder / "fleet.yaml"
    path.write_text(text)
    return settings_for(load_config(path), load_catalogue(catalogue) if catalogue else CATALOGUE, identity, version=1)


def channels(settings: Settings) -> dict[str, Channel]:
    return {channel.name: channel for channel in settings.channels}


def generator_of(settings: Settings, identity: Identity, start_us: int = NEW_YEAR, seed: int = 7) -> SignalGenerator:
    return SignalGenerator(seed, identity, settings, 0, start_us)


def generate_block(settings: Settings, identity: Identity, readings: int, start_us: int = NEW_YEAR) -> Block:
    return generator_of(settings, identity, start_us).block(0, readings)
