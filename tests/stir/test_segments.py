"""The smallest range around a number, held against looking at every range."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.stir.segments import Claim, Segments

CLAIMS = st.lists(
    st.builds(
        Claim,
        st.from_regex(r"[0-9]{1,3}", fullmatch=True),
        st.integers(2, 2000),
        st.sampled_from("abc"),
    ),
    max_size=12,
)


@given(CLAIMS, st.from_regex(r"[0-9]{1,4}", fullmatch=True))
def test_the_smallest_range_is_found(claims: list[Claim], number: str) -> None:
    """What bisection finds is what a look at each range finds: the smallest, then the latest."""
    around = [
        one
        for one in claims
        if len(one.start) == len(number) and one.first <= int(number) <= one.last
    ]
    found = Segments(claims).smallest(number)
    if not around:
        assert found is None
        return
    assert found is not None
    best = min((one.size, -one.first) for one in around)
    assert (found.size, -found.first) == best


def test_ranges_end_with_their_digits() -> None:
    """A range that runs on covers no number of more digits, and a number with other marks none."""
    segments = Segments([Claim("95", 10, "x")])
    assert segments.smallest("99") is not None
    assert segments.smallest("100") is None
    assert segments.smallest("04") is None
    assert segments.smallest("9*") is None
    assert segments.smallest("٩٩") is None


def test_no_range_is_enumerated() -> None:
    """Ten thousand ranges of a billion numbers each are asked at once."""
    claims = [Claim(f"{10_000 + at}000000000", 10**9, str(at)) for at in range(10_000)]
    found = Segments(claims).smallest("15000123456789")
    assert found is not None
    assert found.value == "5000"
