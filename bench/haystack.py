"""A thousand blobs that are not ours and one that is, given to the verification service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from bench.tokens import X5U, Bench
from pbx_stir.directory.key_files import KeyFiles
from pbx_stir.directory.keyring import Keyring
from pbx_stir.services.call import Call, Direction, Mode, Reason
from pbx_stir.services.placement_service import Answer, StoreResult
from pbx_stir.services.trunk import Callers, Trunk
from pbx_stir.services.used import UsedPassports
from pbx_stir.services.verification import VerificationService
from pbx_stir.stir import passport, sealing
from pbx_stir.stir.certificate import parse_pem_chain

FOREIGN = 1000
PAUSE_STEP_SECONDS = 0.0005


class Haystack(msgspec.Struct, frozen=True):
    """Milliseconds: the first search, the same again, and the event loop's longest pause."""

    blobs: int
    first_ms: float
    again_ms: float
    longest_pause_ms: float


class _Answering:
    """A CPS that has all of it."""

    def __init__(self, blobs: tuple[bytes, ...]) -> None:
        self._blobs = blobs

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        """Nothing is stored here."""
        return ()

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        """All of it, at once."""
        for cps, number in wanted:
            yield Answer(cps, number, self._blobs)

    def own_cps(self, number: str) -> tuple[str, ...]:
        """One CPS."""
        return ("https://cps.example.net",)


async def measure(folder: Path, orig: str, dest: str, foreign_blobs: int = FOREIGN) -> Haystack:
    """Search twice, as two calls would, and watch the event loop meanwhile."""
    bench = Bench.of(folder)
    keys = KeyFiles(folder / "keys")
    own = keys.current(time.time())
    stranger = sealing.public_octets(sealing.new_private_key())
    chain = [_der(one) for one in parse_pem_chain((folder / "company.pem").read_bytes())]
    tokens = [
        passport.sign(
            orig=orig,
            dest=[dest],
            iat=int(time.time()),
            x5u=X5U,
            key=bench.key,
            attest="A",
            origid=jti,
        )
        for jti in "ab"
    ]
    foreign = [sealing.seal(tokens[0].token, (), stranger, dest) for _ in range(foreign_blobs)]
    ours = [sealing.seal(token.token, chain, own.public, dest) for token in tokens]
    cps = _Answering((*foreign[: foreign_blobs // 2], *ours, *foreign[foreign_blobs // 2 :]))
    keyring = Keyring(keys)
    service = VerificationService(
        callers=Callers({"carrier": Trunk("carrier")}),
        own_cps=cps,
        placement=cps,
        opener=keyring,
        judge=bench.judge,
        used=UsedPassports(),
        monotonic=time.monotonic,
    )
    longest = [0.0]
    watch = asyncio.ensure_future(_watch(longest))
    spent = []
    for unique_id in ("1", "2"):
        call = Call(
            pbx="pbx",
            direction=Direction.INBOUND,
            mode=Mode.ON,
            trunk="carrier",
            orig=orig,
            restricted=False,
            dest=dest,
            originator=(),
            came_in="carrier",
            unique_id=unique_id,
            linked_id=unique_id,
            nonce="0" * 16,
            budget_ms=2000,
        )
        began = time.monotonic()
        outcome = await service.verify(call, unique_id, time.time(), began + 1.8)
        spent.append((time.monotonic() - began) * 1000)
        if outcome.reason is not Reason.VERIFIED:
            raise ValueError(f"the haystack's own PASSporT is {outcome.reason.value}")
    watch.cancel()
    keyring.close()
    pause = round(longest[0] * 1000, 2)
    return Haystack(foreign_blobs, round(spent[0], 1), round(spent[1], 1), pause)


async def _watch(longest: list[float]) -> None:
    """How much later than asked the loop comes back, at most."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(PAUSE_STEP_SECONDS)
        longest[0] = max(longest[0], time.monotonic() - began - PAUSE_STEP_SECONDS)


def _der(one: object) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    assert isinstance(one, x509.Certificate)
    return one.public_bytes(Encoding.DER)
