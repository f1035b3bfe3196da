"""The set of ids and its gaps."""

from __future__ import annotations

from random import Random

import pytest

from fleet.delivery.compare.id_set import PAGE_IDS, IdSet


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_like_a_set_of_numbers(seed: int) -> None:
    """Whatever is added, singly or as ranges, and from wherever the gaps are asked for."""
    random = Random(seed)
    ids, expected = IdSet(), set[int]()
    for _ in range(10):
        first = random.randrange(3 * PAGE_IDS)
        numbers = list(range(first, first + random.choice([1, 17, PAGE_IDS - 1, PAGE_IDS, 2 * PAGE_IDS])))
        if random.random() < 0.5:
            fresh = expected.isdisjoint(numbers)
            assert fresh is ids.add_range(numbers[0], numbers[-1])
            expected.update(numbers if fresh else ())
        else:
            random.shuffle(numbers)
            numbers = numbers[: random.randrange(1, len(numbers) + 1)]
            assert [number for number in numbers if number in expected] == ids.add(numbers)
            expected.update(numbers)
        low, high = sorted(random.sample(range(6 * PAGE_IDS), 2))
        missing = [number for number in range(low, high + 1) if number not in expected]
        assert runs(missing) == list(ids.gaps(low, high))
        assert all((number in ids) is (number in expected) for number in random.sample(range(6 * PAGE_IDS), 50))


def test_one_that_comes_twice_at_once() -> None:
    """Also where another came between."""
    assert [7, 7] == IdSet().add([7, 8, 7, PAGE_IDS, 7])
