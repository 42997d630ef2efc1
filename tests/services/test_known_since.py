"""A memory of single use that took another one's place."""

from __future__ import annotations

import pytest

from pbx_stir.errors import Unavailable
from pbx_stir.services.known_since import KnownSince
from pbx_stir.services.used import Claim, Use, UsedPassports

NOW = 1_800_000_000.0
ONE = Claim("pbx", "1", "1", "carrier", "1", "2", "c1")
OTHER = Claim("pbx", "2", "2", "carrier", "1", "2", "c2")


@pytest.mark.parametrize(("made", "until"), [(NOW - 1, NOW + 60), (NOW + 5, NOW + 65), (None, NOW)])
async def test_what_may_have_been_used_has_no_verdict(made: float | None, until: float) -> None:
    """Also where its signer's clock is ahead, or nobody says when it was made."""
    with pytest.raises(Unavailable):
        await KnownSince(UsedPassports(), NOW).reserve("key", ONE, until, NOW + 9, made)


@pytest.mark.parametrize("since", [0.0, NOW])
async def test_what_is_younger_is_used_once(since: float) -> None:
    """By the rules of the memory itself."""
    now, used = NOW + 20, KnownSince(UsedPassports(), since)
    until = now + 60
    assert (await used.reserve("key", ONE, until, now, now)).use is Use.FRESH
    await used.give_back("key", ONE, now)
    assert (await used.reserve("key", OTHER, until, now, now)).use is Use.FRESH
    await used.confirm("key", OTHER, now)
    assert (await used.reserve("key", ONE, until, now, now)).use is Use.TAKEN
    await used.ended("pbx", "2", False, now)
    assert (await used.reserve("key", ONE, until, now, now)).use is Use.AGAIN
