"""``python -m bench.refill``: calls at a steady rate from an empty wallet, and who had no token.

A CPS as an administrator runs it, in a process of its own and over TLS; a sender with the marks of
the default configuration, which obtains tokens and stores with them. Its first tokens come when the
CPS's list of keys was looked at twice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cps_world import FIRST_NUMBER, HOST, NUMBERS, World
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.obtaining import Obtaining
from pbx_stir.cps.supply import HIGH, LOW, Supply
from pbx_stir.services.call import Reason
from pbx_stir.stir import sealing
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.epochs import epoch_of
from pbx_stir.tokens.wallet import Wallet

_PATIENCE_SECONDS = 1.3


@dataclass
class Refilled:
    """What came of it; processor seconds are those of stores and of tokens together."""

    reasons: Counter[str] = field(default_factory=Counter)
    last_without: float = 0.0
    left: int = 0
    sender_seconds: float = 0.0
    cps_seconds: float = 0.0

    def line(self, a_second: int) -> str:
        """One line for a person."""
        calls, without = self.reasons.total(), self.reasons[Reason.NO_TOKENS.value]
        return (
            f"{a_second} calls a second: {without} of {calls} without a token, the last after "
            f"{self.last_without:.1f} s; {self.left} tokens left; processor seconds "
            f"{self.sender_seconds:.1f} (sender), {self.cps_seconds:.1f} (CPS); "
            f"{dict(self.reasons)}"
        )


@asynccontextmanager
async def _sender(
    world: World, url: str, marks: tuple[int, int]
) -> AsyncIterator[tuple[Wallet, CpsClient]]:
    company = world.credential("Company", TnAuthList(numbers=("12125550000",)))

    def trusting() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(world.ca))

    unnamed, named = (Exchange(tls=trusting(), keep=keep) for keep in (False, True))
    wallet = Wallet(world.folder / "wallet")
    supply = Supply(
        wallet=wallet,
        obtaining=Obtaining(unnamed=unnamed, named=named),
        credentials=lambda: [company],
        cps=[unnamed.origin(url)],
        low=marks[0],
        high=marks[1],
    )
    client = CpsClient(tls=trusting(), tokens=supply)
    running = asyncio.create_task(supply.run())
    try:
        yield wallet, client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for each in (unnamed, named, client):
            await each.close()
        wallet.close()


async def refilled(
    world: World,
    port: int,
    *,
    a_second: int,
    seconds: float,
    marks: tuple[int, int] = (LOW, HIGH),
    over: Callable[[Refilled], bool] = lambda _: False,
) -> Refilled:
    """Place calls for so many seconds, or until it is ``over``."""
    url, found = f"https://{HOST}:{port}", Refilled()
    async with _sender(world, url, marks) as (wallet, client), asyncio.TaskGroup() as calls:
        began, used = time.monotonic(), time.process_time()

        async def call(index: int) -> None:
            at = time.monotonic()
            number = str(FIRST_NUMBER + index % NUMBERS)
            blob = sealing.dummy(os.urandom(32))
            [stored] = await client.store([url], number, [blob], at + _PATIENCE_SECONDS)
            found.reasons[stored.reason.value] += 1
            if stored.reason is Reason.NO_TOKENS:
                found.last_without = max(found.last_without, at - began)

        for index in range(int(a_second * seconds)):
            await asyncio.sleep(max(0.0, began + index / a_second - time.monotonic()))
            if over(found):
                break
            calls.create_task(call(index))
        found.sender_seconds = time.process_time() - used
        found.left = wallet.count(url, epoch_of(time.time()))
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.refill", description=__doc__)
    parser.add_argument("--rate", type=int, default=50, help="calls a second (default: 50)")
    parser.add_argument("--seconds", type=float, default=60, help="for so long (default: 60)")
    arguments = parser.parse_args()
    cores = tuple(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        more = "tokens_per_leaf = 1000000"
        with world.cps(tls=True, tokens=True, more=more, processors=cores) as cps:
            before = cps.processor_seconds()
            found = asyncio.run(
                refilled(world, cps.port, a_second=arguments.rate, seconds=arguments.seconds)
            )
            found.cps_seconds = cps.processor_seconds() - before
    print(found.line(arguments.rate))
    return 0


if __name__ == "__main__":
    sys.exit(main())
