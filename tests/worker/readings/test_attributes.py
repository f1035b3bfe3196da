"""The attributes of readings that are drawn from a range of numbers."""

from __future__ import annotations

import numpy as np

from tests.worker.readings.test_composed_signals import readings
from tests.worker.samples import TEMPERATURE
from worker.spec import AttributeRule, ReadingAttribute


def test_numbers_of_a_range_are_the_same_in_a_table_or_not() -> None:
    """A range of many numbers has no table; its numbers are drawn in the same way."""
    wide = AttributeRule(low=-3.0, high=5.0, decimals=4)
    narrow = AttributeRule(low=-3.0, high=5.0, decimals=2)
    attributes = tuple(ReadingAttribute("score", "REAL", (rule,)) for rule in (wide, narrow))
    fine, coarse = (readings((TEMPERATURE,), 5000, attributes=(each,)).attributes[0] for each in attributes)

    assert len(set(fine)) > 4096 > len(set(coarse)) > 500
    assert fine == readings((TEMPERATURE,), 5000, attributes=attributes[:1]).attributes[0]
    assert np.abs(np.array(list(fine), dtype=float) - np.array(list(coarse), dtype=float)).max() <= 0.00501
