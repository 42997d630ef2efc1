"""What a resolver asks and by which clock, and who asks the resolver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pbx_stir.directory.resolver import Resolver
from pbx_stir.errors import PbxStirError

NOW = 1_750_000_000.0
NUMBER = "12125551234"
ONE, TWO = "https://one.example.net", "https://two.example.net"


class Clock:
    """Both clocks at once, set by hand."""

    def __init__(self) -> None:
        self.passed = 0.0

    def epoch(self) -> float:
        """The wall clock."""
        return NOW + self.passed

    def monotonic(self) -> float:
        """The steady clock."""
        return 1000.0 + self.passed


class Cps:
    """CPSs that return what they are told to, and count."""

    def __init__(self) -> None:
        self.tokens: dict[str, tuple[str, ...]] = {}
        self.errors: dict[str, PbxStirError] = {}
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        # how long an error takes, and by whose clock
        self.slow, self.clock = 0.0, Clock()

    async def get_records(self, cps: str, number: str, give_up_at: float) -> Sequence[str]:
        """Answer once the gate is open."""
        self.asked.append((cps, number))
        await self.gate.wait()
        if cps in self.errors:
            self.clock.passed += self.slow
            raise self.errors[cps]
        return self.tokens.get(cps, ())

    async def get_records_under(
        self, cps: str, prefix: str, give_up_at: float
    ) -> tuple[Sequence[str], bool]:
        """Answer for a prefix as for a number."""
        return await self.get_records(cps, prefix + "*", give_up_at), True


Make = Callable[..., Resolver]


async def ask(resolver: Resolver, clock: Clock, number: str = NUMBER) -> Any:
    """Ask with time enough."""
    return await resolver.destination(number, clock.monotonic() + 60)
