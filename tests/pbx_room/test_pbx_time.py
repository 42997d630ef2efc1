"""The PBX's clock beside our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.pbx.pbx_time import MAX_AGE_SECONDS, PbxTime

# The PBX's clock says 1795309815 when ours says 100.
NOW = 1_795_309_815_000_000


def known() -> PbxTime:
    """A clock of which one ping has told."""
    clock = PbxTime()
    clock.heard("1795309815.000000", 99.99, 100.0)
    return clock


@pytest.mark.parametrize(
    ("nonce", "now", "age_ms"),
    [
        (f"{NOW}", 100.0, 0),
        (f"{NOW}", 101.5, 1500),
        (f"{NOW - 250_000}", 100.0, 250),
        (f"{NOW + 250_000}", 100.0, 0),
        (f"{NOW - 70_000_000}", 100.0, 70_000),
        (f"{NOW - 3_600_000_000}", 100.0, 0),
        ("abcdef0123456789", 100.0, 0),
        ("0" * 16, 100.0, 0),
    ],
)
def test_age_is_in_the_clock_of_the_pbx(nonce: str, now: float, age_ms: int) -> None:
    """Milliseconds since the nonce was made; 0 for one of the future or of no such time."""
    assert abs(known().age_ms(nonce, now) - age_ms) <= 1


def test_slow_ping_tells_nothing() -> None:
    """Before the first ping, and by one that a freeze delayed, nothing is known."""
    clock = PbxTime()
    assert clock.age_ms(f"{NOW - 500_000}", 100.0) == 0
    clock.heard("1795309815.000000", 90.0, 100.0)
    assert clock.age_ms(f"{NOW - 500_000}", 100.0) == 0
    clock.heard("1795309815.000000", 99.9, 100.0)
    clock.heard("1795309815.000000", 100.0, 110.0)
    assert abs(clock.age_ms(f"{NOW}", 110.0) - 10_000) <= 1


@given(st.text(max_size=20), st.floats(0, 1e9))
def test_age_is_never_negative_and_bounded(nonce: str, now: float) -> None:
    """Whatever the nonce, the clocks or their order."""
    assert 0 <= known().age_ms(nonce, now) <= MAX_AGE_SECONDS * 1000
