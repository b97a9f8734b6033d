"""What is worked out of a value is kept for that very value, and for the last few only."""

from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.identity_cache import by_identity


def counting(size: int):
    seen = []

    @by_identity(size)
    def total(values):
        seen.append(values)
        return sum(values)

    return total, seen


def test_equal_values_are_not_taken_for_each_other():
    total, seen = counting(8)
    first, second = [1, 2], [1, 2]
    assert [total(first), total(second), total(first)] == [3, 3, 3] and len(seen) == 2


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 5))
def test_it_gives_what_the_function_gives_however_few_are_kept(order, size):
    total, seen = counting(size)
    values = [[number] * number for number in range(10)]
    assert [total(values[place]) for place in order] == [place * place for place in order]
    assert len(seen) <= len(order)


def test_the_last_ones_are_kept():
    total, seen = counting(2)
    values = [[1], [2], [3]]
    for value in (*values, values[0], values[2]):
        total(value)
    assert seen == [[1], [2], [3], [1]]
