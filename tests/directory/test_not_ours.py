"""What is not ours is remembered while it may be seen again, and takes so much room and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.directory.not_ours import SECONDS, NotOurs


def _digest(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_it_is_found_as_it_was_put() -> None:
    """Each with its own word, and nothing else."""
    memory = NotOurs(10)
    memory.put(_digest(1), True, 0.0)
    memory.put(_digest(2), False, 0.0)
    found = [memory.find(_digest(number), 1.0) for number in range(4)]
    assert found == [None, True, False, None]
    memory.clear()
    assert memory.find(_digest(1), 1.0) is None
    assert len(memory) == 0


def test_it_is_remembered_as_long_as_an_entry_lives() -> None:
    """And not for much longer, unless it is asked for."""
    memory = NotOurs(10)
    assert memory.find(_digest(0), 1000.0) is None
    memory.put(_digest(1), False, 1000.0 + SECONDS - 1)
    assert memory.find(_digest(2), 1000.0 + SECONDS) is None
    assert memory.find(_digest(1), 1000.0 + 2 * SECONDS - 1) is False
    assert memory.find(_digest(1), 1000.0 + 3 * SECONDS - 1) is False
    assert memory.find(_digest(2), 1000.0 + 5 * SECONDS) is None
    assert len(memory) == 0


def test_a_clock_that_steps_back_forgets() -> None:
    """It costs another look, and holds nothing for ever."""
    memory = NotOurs(10)
    memory.find(_digest(1), 1000.0)
    memory.put(_digest(1), False, 1000.0)
    assert memory.find(_digest(1), 10.0) is None
    assert len(memory) == 0


@given(
    st.integers(2, 9),
    st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.floats(0, 30)), max_size=200),
)
def test_it_is_bounded_and_says_nothing_wrong(
    most: int, steps: list[tuple[bool, int, float]]
) -> None:
    """Whatever is put and asked, when: what is found was put, and there are not too many."""
    memory = NotOurs(most)
    put: dict[int, bool] = {}
    now = 0.0
    for is_put, number, later in steps:
        now += later
        if is_put and memory.find(_digest(number), now) is None:
            put[number] = number % 2 == 0
            memory.put(_digest(number), put[number], now)
        assert memory.find(_digest(number), now) in (None, put.get(number))
        assert len(memory) <= most
        if is_put:
            assert memory.find(_digest(number), now) is put[number]
