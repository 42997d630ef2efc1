"""Real Asterisks, shared by all tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from lab import asterisk
from tests.pbx.scene import EXTENSIONS, Caller, calling, started


@pytest.fixture(scope="session", params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def instance(request: pytest.FixtureRequest) -> Iterator[asterisk.Instance]:
    """A running Asterisk with the dialplan under test."""
    yield from started(str(request.param), EXTENSIONS)


@pytest.fixture
async def caller(instance: asterisk.Instance) -> AsyncIterator[Caller]:
    """A caller at the instance, with nothing left of earlier tests."""
    async with calling(instance) as desk:
        yield desk
