"""A kind of sensor is one file: what it may say, and how a mistake in it is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.catalogue.attributes import RESERVED_NAMES
from fleet.catalogue.catalogue import kind_files, load_catalogue
from fleet.errors import UserError
from worker.spec import CHANNEL_NAMES, AttributeRule, Identity, ReadingAttribute, SignalSpec
from worker.storage.schema import IDENTITY_COLUMNS, READING_COLUMNS, further_columns

CO2 = "co2: {unit: ppm, mean: 600, std_dev: 100, min: 380, max: 5000"


def load(folder: Path, text: str, name: str = "air") -> object:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return load_catalogue(None, [path]).types[name]


def test_channels_of_any_name_are_accepted(tmp_path: Path) -> None:
    """With generic hardware, if the file states none."""
    path = tmp_path / "air.yaml"
    path.write_text(f"channels:\n  {CO2}}}\n  pm25: {{unit: µg/m³, mean: 12, std_dev: 4, min: 0, max: 500}}\n")
    kind = load_catalogue(None, [path]).sensor_type("air")

    assert ["co2", "pm25"] == list(kind.channels)
    assert ({"Generic": ("Generic-1",)}, ("1.0",)) == (kind.models, kind.firmware)


def test_signals_are_completed_from_their_declarations(tmp_path: Path) -> None:
    """Durations and defaults included."""
    path = tmp_path / "air.yaml"
    path.write_text(
        f"channels: {{{CO2}, signals: {{slow: {{share: 0.9, correlation: 2h30m}}, weekly: {{amplitude: 1}}}}}}}}"
    )

    assert (
        SignalSpec("slow", (("share", 0.9), ("correlation", 9000.0))),
        SignalSpec("weekly", (("amplitude", 1.0),)),
    ) == load_catalogue(None, [path]).sensor_type("air").channels["co2"].signals


SIGNALS = "channels: {" + CO2 + ", signals: {%s}}}"
WRONG = {
    "channels: {CO2: {unit: ppm, mean: 1, std_dev: 1, min: 0, max: 2}}": (
        "1:12: channels.CO2: is not a name of 1 to 40 lower-case letters, digits and '_' that begins with a letter"
    ),
    "channels: {seq: {unit: ppm, mean: 1, std_dev: 1, min: 0, max: 2}}": (
        "1:12: channels.seq: is the name of another column of every reading"
    ),
    f"channels: {{{', '.join(f'c{n}: {{unit: V, mean: 1, std_dev: 1, min: 0, max: 2}}' for n in range(33))}}}": (
        "1:11: channels: has 33 channels; a sensor has at most 32"
    ),
    SIGNALS % "slwo: {share: 0.5}": "1:91: channels.co2.signals.slwo: unknown signal; did you mean 'slow'?",
    SIGNALS % "slow: {shear: 0.5}": (
        "1:99: channels.co2.signals.slow.shear: unknown parameter of slow; did you mean 'share'?"
    ),
    SIGNALS % "slow: {correlation: 6h}": "1:85: channels.co2.signals.slow.share: is missing",
    SIGNALS % "slow: {share: 1.5}": "1:99: channels.co2.signals.slow.share: 1.5 is not between 0 and 1",
    SIGNALS
    % "slow: {share: 0.5, correlation: soon}": "correlation: soon is not a number between 120 and 315360000 seconds",
    SIGNALS % "weather: {share: 0.5, quantity: wind}": "quantity: wind is not one of temperature, humidity, pressure",
    SIGNALS % "slow: {share: 0.7}, weather: {share: 0.4, quantity: humidity}": (
        "1:84: channels.co2.signals: a section with shares that add up to 1.1 of the variance; at most 1 is allowed"
    ),
    SIGNALS % "follows: {channel: co3, correlation: 1}": (
        "1:104: channels.co2.signals.follows.channel: co3 is not a channel of the sensor; did you mean 'co2'?"
    ),
    SIGNALS % "follows: {channel: co2, correlation: 1}": "follows.channel: co2 follows co2, a circle",
    SIGNALS % "weather_events: {shortest: 2h, longest: 1h}": (
        "weather_events.shortest: 7200 seconds are more than longest, 3600"
    ),
    SIGNALS % "machine: {share: 0.5, running_part: 0.9, maintenance_part: 0.2}": (
        "machine.maintenance_part: 0.2 and running_part, 0.9, are more than the whole time"
    ),
    f"channels: {{{CO2}, signals: [slow]}}}}": "channels.co2.signals: a list is not a section of signals by their names",
    f"channels: {{{CO2}}}}}\nreading_attributes: {{s: {{type: text, rules: []}}}}": (
        "reading_attributes.s.rules: a list with 0 entries; 1 or more are needed"
    ),
    f"channels: {{{CO2}}}}}\nattributes: {{post: {{uniform: [1, 2, 3]}}}}": (
        "attributes.post.uniform: a list with 3 entries; 2 are needed"
    ),
    f"channels: {{{CO2}}}}}\nattributes: {{co2: 1}}": "2:19: attributes.co2: is the name of a channel, too",
    f"channels: {{{CO2}}}}}\nattributes: {{voltage: 1}}": "2:14: attributes.voltage: is the name of a column for a channel",
    f"channels: {{{CO2}}}}}\nattributes: {{post: {{uniform: [2, 1]}}}}": "2:30: attributes.post.uniform: 2 is more than 1",
    f"channels: {{{CO2}}}}}\nattributes: {{post: {{}}}}": "has no value; state a value, or choose, or uniform",
    f"channels: {{{CO2}}}}}\nreading_attributes: {{mood: {{type: text, rules: [{{channel: co, below: 3, value: a}}]}}}}": (
        "2:59: reading_attributes.mood.rules[0].channel: co is not a channel of the sensor; did you mean 'co2'?"
    ),
    f"channels: {{{CO2}}}}}\nreading_attributes: {{mood: {{type: text, rules: [{{value: 3}}]}}}}": (
        "2:49: reading_attributes.mood.rules[0]: 3 is not text; put it in quotes"
    ),
    f"channels: {{{CO2}}}}}\nid_pattern: AIR": "2:13: id_pattern: AIR is not a pattern such as SNS-{variant}-{digits:4}",
    f"channels: {{{CO2}}}}}\nanomalies: {{probability: 2}}": "2:26: anomalies.probability: 2 is not between 0 and 1",
    f"channels: {{{CO2}}}}}\ncountries: [Narnia]": "Narnia is not the code of a country, such as US",
    f"channels: {{{CO2}}}}}\nchanels: 3": "2:1: chanels: unknown key; did you mean 'channels'?",
    f"channels: {{{CO2}}}}}\nattributes: {{f: .nan}}": (
        "2:14: attributes.f.value: .nan is not a finite number; put it in quotes if it is text"
    ),
    f"channels: {{{CO2}}}}}\nattributes: {{f: {{choose: [1, -.INF]}}}}": "attributes.f.choose[1]: -.INF is not a finite number",
    f"channels: {{{CO2}}}}}\nattributes: {{f: {{choose: {{.nan: 1}}}}}}": ".nan is not a finite number",
    f"channels: {{{CO2}}}}}\nattributes: {{f: 1e400}}": "2:14: attributes.f.value: 1e400 is not a finite number",
    f"channels: {{{CO2}}}}}\nattributes: {{f: {{choose: [~]}}}}": (
        "attributes.f.choose[0]: nothing is neither text nor a number"
    ),
    f"channels: {{{CO2}}}}}\nattributes: {{f: {{choose: {{a: -1}}}}}}": (
        "2:30: attributes.f.choose.a: -1 is not between 0 and 1000000"
    ),
    f"channels: {{{CO2}}}}}\nreading_attributes: {{s: {{type: text, rules: [{{choose: {{a: .nan}}}}]}}}}": (
        "reading_attributes.s.rules[0].choose.a: .nan is not a number between 0 and 1000000"
    ),
    f"channels: {{{CO2}}}}}\nattributes: {{f: {{uniform: [.nan, 1]}}}}": (
        "2:28: attributes.f.uniform[0]: .nan is not a number between -1000000000000 and 1000000000000"
    ),
    f"channels: {{{CO2}, daily_peak: 24}}}}": "channels.co2.daily_peak: 24 is not at least 0 and below 24",
    f"channels: {{{CO2}}}}}\nreading_attributes: {{s: {{type: number, rules: [{{value: .inf}}]}}}}": (
        "reading_attributes.s.rules[0].value: .inf is not a finite number"
    ),
    f"channels: {{{CO2}}}}}\nreading_attributes: {{s: {{type: text, rules: [{{channel: co2, at_least: 5, below: 5}}]}}}}": (
        "reading_attributes.s.rules[0].at_least: 5 is not less than below 5, so it never applies"
    ),
    f"channels: {{{CO2}, instrument: {{lowest: 5, highest: 4}}}}}}": (
        "channels.co2.instrument.lowest: 5 is more than highest 4"
    ),
    f"channels: {{{CO2}, daily_trough: 15}}}}": (
        "channels.co2.daily_trough: 15 o'clock is the daily_peak, too; it needs another hour"
    ),
    "extends: bme281": "1:10: extends: bme281 is not a kind; did you mean 'bme280'?",
    "extends: air": "1:10: extends: air extends this kind itself",
    f"channels: {{{CO2}}}}}\nattributes: {{status: 7}}": (
        "the column status holds whole numbers here, but text in pipeline sensors; give it another name"
    ),
    "- a": "1:1: not a kind of sensor: it has no channels",
    "variants: {a: }": "1:15: variants.a: has no channels",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_reported_in_one_line(text: str, tmp_path: Path) -> None:
    """With file, line, column and what is allowed."""
    with pytest.raises(UserError) as raised:
        load(tmp_path, text)

    assert WRONG[text] in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_circle_of_several_channels_is_named(tmp_path: Path) -> None:
    values = "unit: V, mean: 1, std_dev: 1, min: 0, max: 2"
    text = "".join(
        f"  {name}: {{{values}, signals: {{follows: {{channel: {other}, correlation: 0.5}}}}}}\n"
        for name, other in (("a", "b"), ("b", "c"), ("c", "a"))
    )
    with pytest.raises(UserError, match="a follows b follows c follows a, a circle"):
        load(tmp_path, f"channels:\n{text}")


def test_names_of_columns_that_exist_are_reserved() -> None:
    """All of the readings table except its channels."""
    assert {*READING_COLUMNS, *IDENTITY_COLUMNS, "id", "synced"} - set(CHANNEL_NAMES) <= RESERVED_NAMES


def test_a_kind_extends_another(tmp_path: Path) -> None:
    """What it does not state is that of the other, hardware and attributes included."""
    winter, base = map(load_catalogue().sensor_type, ("bme280_winter", "bme280"))

    assert (20.5, 16.0) == (winter.channels["temperature"].mean, winter.channels["temperature"].min)
    assert base.channels["temperature"].signals == winter.channels["temperature"].signals
    assert (base.models, base.entry.reading_attributes) == (winter.models, winter.entry.reading_attributes)


def test_a_mistake_in_what_is_inherited_names_the_file_of_the_other(tmp_path: Path) -> None:
    paths = [tmp_path / "air.yaml", tmp_path / "city_air.yaml"]
    paths[0].write_text(f"channels: {{{CO2}}}}}\n")
    paths[1].write_text("extends: air\nchannels: {co2: {min: 700}}\n")
    with pytest.raises(UserError, match=r"air.yaml:1:\d+: channels.co2.mean: lowest .* does not hold"):
        load_catalogue(None, paths)


def test_a_folder_of_kinds_has_a_kind_for_each_file(tmp_path: Path) -> None:
    for name in ("air", "sea"):
        (tmp_path / f"{name}.yaml").write_text(f"channels: {{{CO2}}}}}\n")
    (tmp_path / "notes.txt").write_text("no kind")

    assert {"air", "sea"} <= load_catalogue(None, kind_files([str(tmp_path)])).types.keys()


@pytest.mark.parametrize("kind", load_catalogue().types)
def test_every_packaged_kind_has_columns_for_its_values(kind: str) -> None:
    """For a sensor of each variant; the names and types are those that the storage adds."""
    entry = load_catalogue().sensor_type(kind).entry
    declared = dict(entry.columns())

    for name, channels in entry.channel_sets():
        assert 1 <= len(channels) <= 32, name
        assert all("REAL" == declared[channel] for channel in channels)


def test_the_pipeline_has_the_eight_types_of_its_document() -> None:
    """With their units and ranges."""
    kind = load_catalogue().sensor_type("pipeline")
    found = {
        name: (variant.attributes["unit"].value, variant.channels[name].min, variant.channels[name].max)
        for name, variant in kind.entry.variants.items()
    }

    assert found == {
        "pressure": ("psi", 200, 1500),
        "temperature": ("fahrenheit", -20, 180),
        "flow_rate": ("bbl/hr", 0, 50000),
        "vibration": ("mm/s", 0, 25),
        "corrosion": ("mpy", 0, 50),
        "humidity": ("percent", 0, 100),
        "gas_detector": ("ppm", 0, 1000),
        "valve_position": ("percent", 0, 100),
    }
    assert 8 == len(kind.entry.attributes["pipeline_id"].values)
    assert 0.02 == kind.entry.anomalies.probability


def test_the_bme280_is_that_of_its_document() -> None:
    """Ranges, largest steps, noise, daily swing and weather events."""
    kind = load_catalogue().sensor_type("bme280")
    ranges, steps, noise, swing, events = {}, {}, {}, {}, {}
    for name, channel in kind.channels.items():
        signals = {spec.name: dict(spec.parameters) for spec in channel.signals}
        ranges[name] = (channel.min, channel.max)
        steps[name] = signals["walk"]["step"]
        noise[name] = round(channel.std_dev * (1 - float(signals["walk"]["share"])) ** 0.5, 2)
        swing[name] = channel.daily_amplitude * channel.std_dev
        events[name] = [signals["weather_events"][event] for event in ("storm", "front", "clear")]

    assert {"temperature": (18, 28), "humidity": (30, 70), "pressure": (1000, 1025)} == ranges
    assert {"temperature": 0.5, "humidity": 2.0, "pressure": 0.5} == steps
    assert {"temperature": 0.02, "humidity": 0.1, "pressure": 0.03} == noise
    assert {"temperature": 3, "humidity": -10, "pressure": 0} == swing
    assert {"temperature": [-1, 2, 0.5], "humidity": [5, -3, -5], "pressure": [-2, 3, 1.5]} == events


def test_the_rules_of_an_attribute_are_those_of_the_file() -> None:
    """In their order, with weights."""
    attributes = load_catalogue().sensor_type("pipeline").entry.reading_attributes

    assert attributes["status"].attribute("status") == ReadingAttribute(
        "status",
        "TEXT",
        (
            AttributeRule(anomalous=True, values=("warning", "critical"), weights=(2.0, 1.0)),
            AttributeRule(values=("normal",), weights=(1.0,)),
        ),
    )
    assert attributes["quality_score"].attribute("q").rules[0] == AttributeRule(anomalous=True, low=0.5, high=0.8)


def test_attributes_are_drawn_once_and_kept() -> None:
    """A value that the identity has stays; the same draws give the same values."""
    kind = load_catalogue().sensor_type("pipeline")
    draws = {"variant": 0.3, "attribute pipeline_id": 0.3, "attribute mile_post": 0.25}
    drawn = kind.attributes(lambda purpose: draws.get(purpose, 0), Identity("A"))

    expected = {"type": "flow_rate", "pipeline_id": "PIPE-LA-001", "mile_post": 125.0, "unit": "bbl/hr"}
    assert expected == dict(drawn)
    assert drawn == kind.attributes(lambda _: 0.99, Identity("A", attributes=drawn))
    with pytest.raises(
        UserError, match=r"A: attributes.type: 'flow' is not a variant of pipeline sensors; did you mean"
    ):
        kind.attributes(lambda _: 0.5, Identity("A", attributes=(("type", "flow"),)))
    with pytest.raises(UserError, match=r"A: attributes.mile_post: 'far' is not a number"):
        kind.attributes(lambda _: 0.5, Identity("A", attributes=(("mile_post", "far"),)))


def test_the_columns_are_those_of_the_storage() -> None:
    """Names and types of a kind's columns are what `further_columns` makes of its settings."""
    from fleet.config.config import load_config
    from fleet.config.settings import settings_for

    catalogue = load_catalogue()
    for kind in catalogue.types.values():
        attributes = kind.attributes(lambda _: 0.5, Identity("A"))
        identity = Identity("A", sensor_type=kind.name, attributes=attributes)
        columns = further_columns(identity, settings_for(load_config(None), catalogue, identity))

        assert set(columns) <= set(kind.entry.columns()), kind.name
