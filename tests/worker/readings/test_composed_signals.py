"""Healthy signals of version 2: computed from their address, shared where they must be, within what is declared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.worker.samples import HUMIDITY, IDENTITY, NEW_YEAR, PRESSURE, SECOND_US, TEMPERATURE, VIBRATION, VOLTAGE
from worker.readings.generator import Block, SignalGenerator
from worker.readings.random_streams import FloatArray
from worker.readings.signals import SIGNAL_CLASSES, Follows, Signal, dependence_order, noise_share
from worker.spec import (
    SETTINGS_VERSION,
    AttributeRule,
    Channel,
    Identity,
    Instrument,
    ReadingAttribute,
    Settings,
    SignalSpec,
)

DAY = 86_400


def part(name: str, **parameters: float | str) -> SignalSpec:
    return SignalSpec(name, tuple(parameters.items()))


WEATHER, SLOW = part("weather", share=0.7, quantity="temperature"), part("slow", share=0.2996, correlation=21_600.0)
MOVING = (
    replace(
        TEMPERATURE, daily_amplitude=2.0, working_hours=1.0, signals=(WEATHER, SLOW, part("weekly", amplitude=0.5))
    ),
    replace(
        HUMIDITY,
        daily_amplitude=-5.0,
        signals=(part("follows", channel="temperature", correlation=-0.6), part("slow", share=0.3, correlation=3600.0)),
    ),
    replace(
        PRESSURE,
        signals=(
            part("weather", share=0.99, quantity="pressure"),
            part("weather_events", interval=7200.0, shortest=600.0, longest=3600.0, storm=-200.0, front=300.0),
        ),
    ),
    replace(
        VIBRATION,
        signals=(part("machine", share=0.6, dwell=3600.0), part("uniform", share=0.2)),
        instrument=Instrument(resolution=0.005),
    ),
    replace(
        VOLTAGE,
        signals=(part("walk", share=0.9, step=0.5), part("drift", per_year=0.2)),
        instrument=Instrument(offset=0.1, gain=0.01, response=90.0, warm_up=0.5, warm_up_seconds=600.0),
    ),
)


def readings(
    channels: tuple[Channel, ...],
    count: int,
    *,
    rate: str = "1",
    identity: Identity = IDENTITY,
    attributes: tuple[ReadingAttribute, ...] = (),
    seed: int = 42,
) -> Block:
    return generator(channels, rate=rate, identity=identity, attributes=attributes, seed=seed).block(0, count)


def generator(
    channels: tuple[Channel, ...],
    *,
    rate: str = "1",
    identity: Identity = IDENTITY,
    attributes: tuple[ReadingAttribute, ...] = (),
    seed: int = 42,
) -> SignalGenerator:
    settings = Settings(rate, channels, attributes=attributes, version=SETTINGS_VERSION)
    return SignalGenerator(seed, identity, settings, 0, NEW_YEAR)


@pytest.mark.parametrize("rate", ["1", "50", "1/7", "1/300"])
def test_blocks_of_any_sizes_join_bit_for_bit(rate: str) -> None:
    whole = generator(MOVING, rate=rate).block(0, 9000).values
    for sizes in ([1, 9, 300, 4096, 4594], [4500, 4500], [255] * 35 + [75]):
        fresh = generator(MOVING, rate=rate)
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        parts = [fresh.block(start, size).values for start, size in zip(starts, sizes, strict=True)]
        assert np.array_equal(whole, np.concatenate(parts, axis=1))


def test_the_order_in_which_blocks_are_computed_does_not_matter() -> None:
    whole = generator(MOVING).block(0, 6000).values
    fresh = generator(MOVING)
    later, earlier = fresh.block(3000, 3000).values, fresh.block(0, 3000).values
    assert np.array_equal(whole, np.concatenate((earlier, later), axis=1))


def test_a_reading_depends_on_its_time_not_on_the_rate() -> None:
    """Movements, which have no noise, are the same whether they are read every second or every minute."""
    channels = (replace(TEMPERATURE, daily_amplitude=2.0, decimals=9, signals=(replace_share(WEATHER, 1.0),)),)
    seconds, minutes = readings(channels, 3601).values, readings(channels, 61, rate="1/60").values
    assert np.array_equal(seconds[:, ::60], minutes)


def replace_share(spec: SignalSpec, share: float) -> SignalSpec:
    return replace(
        spec, parameters=tuple((name, share if name == "share" else value) for name, value in spec.parameters)
    )


def test_without_parts_a_channel_is_white_noise_with_the_readings_of_version_1() -> None:
    plain = (TEMPERATURE, HUMIDITY)
    old = SignalGenerator(42, IDENTITY, Settings("1", plain), 0, NEW_YEAR).block(0, 2000).values
    assert np.array_equal(old, readings(plain, 2000).values)


@pytest.mark.parametrize("index", range(5), ids=[channel.name for channel in MOVING])
def test_mean_and_deviation_are_as_configured_over_a_long_time(index: int) -> None:
    """Over 40 sensors and a year, without what comes on top of the deviation."""
    channel = MOVING[index]
    parts = tuple(signal for signal in channel.signals if signal.name not in ("weekly", "drift", "weather_events"))
    calm = tuple(
        replace(each, daily_amplitude=0.0, working_hours=0.0, signals=parts if each is channel else each.signals)
        for each in MOVING
    )
    calm = tuple(replace(each, instrument=Instrument()) for each in calm[min(1, index) * (index - 1) : index + 1])
    values = np.array(
        [
            readings(calm, 365, rate="1/86400", identity=far_apart(number), seed=number).values[-1]
            for number in range(40)
        ]
    )
    assert channel.mean == pytest.approx(values.mean(), abs=0.05 * channel.std_dev)
    assert channel.std_dev == pytest.approx(values.std(), rel=0.04)


def far_apart(number: int) -> Identity:
    """The identity of a sensor somewhere else than those of other numbers."""
    return replace(IDENTITY, sensor_id=f"FAR_{number:06}", latitude=-60.0 + number * 3, longitude=number * 9.0)


def temperature_of(identity: Identity) -> FloatArray:
    calm = (replace(TEMPERATURE, signals=(replace_share(WEATHER, 0.9), replace_share(SLOW, 0.0996))),)
    values: FloatArray = readings(calm, 20_000, rate="1/1800", identity=identity).values[0]
    return values


def test_sensors_of_a_city_share_its_weather_and_those_far_away_have_another() -> None:
    here = temperature_of(IDENTITY)
    assert IDENTITY.latitude is not None
    assert IDENTITY.longitude is not None
    others = {
        "city": replace(IDENTITY, sensor_id="CHI_2", latitude=IDENTITY.latitude + 0.001),
        "neighbour": replace(IDENTITY, sensor_id="MKE_1", latitude=43.04, longitude=-87.91),
        "continent": replace(IDENTITY, sensor_id="BER_1", latitude=52.52, longitude=13.4),
    }
    found = {name: float(np.corrcoef(here, temperature_of(other))[0, 1]) for name, other in others.items()}
    assert 0.85 < found["city"] < 0.95
    assert 0.5 < found["neighbour"] < found["city"]
    assert abs(found["continent"]) < 0.3


def test_weather_meets_at_the_date_line_and_at_the_poles() -> None:
    calm = (replace(TEMPERATURE, signals=(replace_share(WEATHER, 1.0),), decimals=6),)

    def at(latitude: float, longitude: float) -> FloatArray:
        place = replace(IDENTITY, latitude=latitude, longitude=longitude)
        values: FloatArray = readings(calm, 500, rate="1/3600", identity=place).values[0]
        return values

    assert np.allclose(at(10, 180), at(10, -180))
    assert np.allclose(at(10, 359.999999), at(10, -0.000001))
    assert np.abs(at(10, 179.99) - at(10, -179.99)).max() < 0.1
    for latitude in (-90.0, 90.0):
        assert np.isfinite(at(latitude, 0.0)).all()


def test_a_sensor_without_coordinates_shares_the_weather_of_its_location() -> None:
    calm = (replace(TEMPERATURE, signals=(replace_share(WEATHER, 1.0),)),)
    cellar = replace(IDENTITY, sensor_id="A", location="Cellar", latitude=None, longitude=None)
    found = [
        readings(calm, 100, rate="1/3600", identity=identity).values
        for identity in (cellar, replace(cellar, sensor_id="B"), replace(cellar, location="Attic"))
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_a_channel_follows_another_one_with_the_correlation_that_is_stated() -> None:
    channels = (
        replace(TEMPERATURE, signals=(replace_share(SLOW, 0.9),)),
        replace(HUMIDITY, signals=(part("follows", channel="temperature", correlation=-0.6),)),
    )
    values = np.concatenate(
        [readings(channels, 300, rate="1/43200", seed=seed).values for seed in range(40)], axis=1
    )  # temperature's own noise is not followed
    assert -0.6 * 0.9**0.5 == pytest.approx(float(np.corrcoef(values)[0, 1]), abs=0.03)


def test_the_order_of_channels_does_not_matter_to_what_follows() -> None:
    forth = readings(MOVING[:2], 500, rate="1/300").values
    back = readings(MOVING[1::-1], 500, rate="1/300").values
    assert np.array_equal(forth, back[::-1])
    assert dependence_order(MOVING[1::-1]) == (1, 0)


def test_channels_that_follow_each_other_are_refused() -> None:
    circle = (
        replace(TEMPERATURE, signals=(part(Follows.name, channel="humidity", correlation=0.5),)),
        replace(HUMIDITY, signals=(part(Follows.name, channel="temperature", correlation=0.5),)),
    )
    with pytest.raises(ValueError, match="follow each other in a circle"):
        dependence_order(circle)


@pytest.mark.parametrize("first", [0, 17, 5000])
def test_a_walk_never_exceeds_its_largest_step_nor_its_bounds(first: int) -> None:
    walk = replace(
        TEMPERATURE, mean=23.0, std_dev=3.0, minimum=18.0, maximum=28.0, decimals=6, signals=(part("walk", step=0.5),)
    )
    values = generator((walk,)).block(first, 100_000).values[0]
    assert np.abs(np.diff(values)).max() <= 0.5 + 1e-5
    assert values.min() >= 18.0
    assert values.max() <= 28.0
    assert values.std() > 1.5


def test_weather_events_are_the_same_for_all_channels_and_sensors_of_a_place() -> None:
    event = part("weather_events", interval=2000.0, shortest=300.0, longest=900.0, storm=-50.0, clear=20.0)
    still = tuple(replace(each, std_dev=0.0, signals=(event,)) for each in (TEMPERATURE, PRESSURE))
    names = ("storm", "front", "clear")
    rules = (*(AttributeRule(weather=name, values=(name,)) for name in names), AttributeRule(values=("none",)))
    attributes = (ReadingAttribute("weather_event", "TEXT", rules),)
    blocks = [
        readings(still, 20_000, identity=identity, attributes=attributes)
        for identity in (IDENTITY, replace(IDENTITY, sensor_id="CHI_2"))
    ]
    assert blocks[0].attributes == blocks[1].attributes
    assert np.array_equal(blocks[0].values, blocks[1].values)
    events = np.array(blocks[0].attributes[0])
    assert set(names) | {"none"} == set(events.tolist())
    for values, mean in zip(blocks[0].values, (22.0, 101325.0), strict=True):
        assert mean == values[events == "none"].min() == values[events == "none"].max()
        assert (values[events == "storm"] <= mean).all()
        assert mean == values[events == "front"].max()
    assert blocks[0].values[1][events == "storm"].min() == 101275.0


def test_a_unit_keeps_its_own_errors() -> None:
    """The offset and the gain of each sensor lie within the limits, differ between sensors, and never change."""
    steady = replace(VOLTAGE, std_dev=0.0, decimals=6, instrument=Instrument(offset=0.1, gain=0.01))
    found = [readings((steady,), 3, identity=far_apart(number)).values[0] for number in range(50)]
    assert all(len(set(values.tolist())) == 1 for values in found)
    errors = np.array([values[0] - 24.0 for values in found])
    assert np.abs(errors).max() <= 0.1 + 0.24
    assert len(np.unique(errors)) == 50


def test_an_instrument_shows_steps_of_its_resolution() -> None:
    values = readings((replace(VIBRATION, instrument=Instrument(resolution=0.025)),), 2000).values[0]
    assert np.allclose(values, np.rint(values / 0.025) * 0.025)
    assert 10 < len(np.unique(values)) < 60


def test_no_step_of_a_resolution_is_beyond_a_limit() -> None:
    """The nearest step of 0.7 is 100.1."""
    channel = replace(VIBRATION, mean=100.0, minimum=100.0, maximum=100.0, highest=100.0)
    values = readings((replace(channel, instrument=Instrument(resolution=0.7)),), 100).values[0]

    assert 100.0 == values.max()


def test_an_instrument_follows_with_its_delay() -> None:
    moving = replace(TEMPERATURE, decimals=6, signals=(replace_share(SLOW, 1.0),))
    late = replace(moving, instrument=Instrument(response=120.0))
    prompt, delayed = (readings((channel,), 4000).values[0] for channel in (moving, late))
    assert np.allclose(prompt[:-120], delayed[120:])


def test_the_first_readings_of_a_sensor_are_those_of_a_cold_instrument() -> None:
    cold = replace(VOLTAGE, std_dev=0.0, instrument=Instrument(warm_up=0.5, warm_up_seconds=600.0))
    values = readings((cold,), 1000).values[0]
    assert values[0] == 24.5
    assert (np.diff(values[:600]) <= 0).all()
    assert (values[600:] == 24.0).all()
    later = SignalGenerator(42, IDENTITY, Settings("1", (cold,), version=SETTINGS_VERSION), 500, NEW_YEAR)
    assert later.block(500, 1).values[0, 0] == 24.0  # a later epoch is no power-up


def test_a_machine_has_three_states_for_all_its_channels() -> None:
    states = part("machine", share=1.0, dwell=7200.0, idle=0.0, running=1.0, maintenance=-1.0, maintenance_part=0.1)
    channels = (
        replace(VIBRATION, signals=(states,)),
        replace(VOLTAGE, signals=(states,)),
    )
    values = np.concatenate([readings(channels, 400, rate="1/3600", seed=seed).values for seed in range(30)], axis=1)
    scaled = (values - [[0.5], [24.0]]) / [[0.1], [0.5]]
    assert np.abs(scaled[0] - scaled[1]).max() < 0.06  # the decimals of a channel
    levels, counts = np.unique(scaled[0].round(1), return_counts=True)
    order = np.argsort(counts)[-3:]
    assert sorted(counts[order] / counts.sum()) == pytest.approx([0.1, 0.25, 0.65], abs=0.04)
    assert len(levels[order]) == 3


def test_sensors_drift_with_age_each_at_its_own_rate() -> None:
    ageing = replace(VOLTAGE, std_dev=0.0, decimals=6, signals=(part("drift", per_year=0.2),))
    years = [readings((ageing,), 3, rate="1/31556952", identity=far_apart(number)).values[0] for number in range(30)]
    rates = [values[1] - values[0] for values in years]
    assert max(map(abs, rates)) <= 0.2
    assert len(set(rates)) == 30
    assert all(values[2] - values[1] == pytest.approx(values[1] - values[0], abs=1e-5) for values in years)


def test_the_day_of_a_channel_can_rise_and_fall_at_different_speeds() -> None:
    channel = replace(TEMPERATURE, std_dev=0.0, daily_amplitude=3.0, daily_peak=14.0, daily_trough=6.0)
    utc = replace(IDENTITY, timezone="UTC")
    values = readings((channel,), 1440, rate="1/60", identity=utc).values[0]
    assert values[14 * 60] == values.max() == 25.0
    assert values[6 * 60] == values.min() == 19.0
    assert np.abs(np.diff(values)).max() < 0.03


def test_working_days_and_weekends_differ_and_keep_the_mean() -> None:
    channel = replace(TEMPERATURE, std_dev=2.0, signals=(part("weekly", amplitude=1.0),))
    quiet = replace(channel, signals=(*channel.signals, part("slow", share=1.0, correlation=3600.0)))
    values = readings((quiet,), 7 * 24 * 200, rate="1/3600", identity=replace(IDENTITY, timezone="UTC")).values[0]
    hours = np.arange(len(values)) + 3 * 24  # 2026 began on a Thursday
    weekend = hours // 24 % 7 >= 5
    assert 22.0 == pytest.approx(values.mean(), abs=0.05)
    assert 2.0 == pytest.approx(values[~weekend].mean() - values[weekend].mean(), abs=0.25)


def test_noise_is_what_the_parts_leave() -> None:
    assert noise_share(MOVING[0]) == pytest.approx(0.0004)
    assert noise_share(replace(TEMPERATURE, signals=(part("walk", step=1.0),))) == 0.0
    assert noise_share(TEMPERATURE) == 1.0


@pytest.mark.parametrize("declaration", SIGNAL_CLASSES, ids=lambda declaration: declaration.name)
def test_parameters_are_known_and_required(declaration: type[Signal]) -> None:
    required = {each.name for each in declaration.parameters if each.default is None}
    with pytest.raises(KeyError):
        declaration({"unheard_of": 1.0, **dict.fromkeys(required, 0.5)})
    if required:
        with pytest.raises(KeyError):
            declaration({})


def test_attributes_follow_from_the_reading_by_rules() -> None:
    rules = (
        AttributeRule(channel="temperature", at_least=24.0, values=("high", "critical"), weights=(3.0, 1.0)),
        AttributeRule(channel="temperature", below=20.0, values=("low",)),
        AttributeRule(anomalous=False, values=("normal",)),
    )
    quality = ReadingAttribute("quality_score", "REAL", (AttributeRule(low=0.8, high=1.0),))
    level = ReadingAttribute("level", "INTEGER", (AttributeRule(low=0.0, high=9.0, decimals=0),))
    attributes = (ReadingAttribute("status", "TEXT", rules), quality, level)
    block = readings((TEMPERATURE,), 9000, attributes=attributes)
    status, scores, levels = (np.array(column) for column in block.attributes)
    values = block.values[0]
    assert set(status[values >= 24.0]) == {"high", "critical"}
    assert (status[values >= 24.0] == "high").mean() == pytest.approx(0.75, abs=0.03)
    assert set(status[values < 20.0]) == {"low"}
    assert set(status[(values >= 20.0) & (values < 24.0)]) == {"normal"}
    assert (scores >= 0.8).all()
    assert (scores <= 1.0).all()
    assert {int} == {type(number) for number in block.attributes[2]}
    assert set(range(10)) == set(levels.tolist())
    parts = [generator((TEMPERATURE,), attributes=attributes).block(first, 1000) for first in (0, 1000, 4500)]
    for part_block in parts:
        cut = slice(part_block.first, part_block.end)
        assert tuple(column[cut] for column in block.attributes) == part_block.attributes
        assert (
            tuple(column[10:20] for column in part_block.attributes)
            == part_block.between(part_block.first + 10, part_block.first + 20).attributes
        )


def test_times_before_the_first_reading_of_a_walk_have_steps_too() -> None:
    """A walk of many readings of memory begins anywhere, not at its mean."""
    walk = replace(TEMPERATURE, signals=(part("walk", step=0.1),), decimals=6)
    begins = [readings((walk,), 1, seed=seed).values[0, 0] for seed in range(200)]
    assert 2.0 == pytest.approx(float(np.std(begins)), rel=0.2)
    assert NEW_YEAR % SECOND_US == 0
