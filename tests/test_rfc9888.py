"""Two providers of RFC 9888: from one's call to the other's verdict, with nothing sealed between.

Real services, real clients, a real listener over HTTP, and an advertisement that tells where.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pbx_stir.certificates.fetch import Fetched
from pbx_stir.cps.bare import BareSettings
from pbx_stir.cps.bare_client import BareClient, BarePlacements, BothKinds
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.cps.listening import listening_bare
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.subscribed import SubscribedPlacement
from pbx_stir.directory.advertisements import Advertisements, AdvertisementSource, SignedBy
from pbx_stir.directory.resolver import Resolver
from pbx_stir.directory.routes import Route, Routes, Sealing, Served
from pbx_stir.services.authentication import AuthenticationService, NeverSigned
from pbx_stir.services.call import Direction, Outcome, Reason, Status, Verstat
from pbx_stir.services.judgement import Judge, VerificationPolicy
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.services.used import UsedPassports
from pbx_stir.services.verification import VerificationService
from pbx_stir.stir.advertisement import Advertisement
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.x5u import EgressRule
from tests.cps.test_bare_client import Authority
from tests.services.world import ALICE, BOB, CALLERS, FakeCertificates, call


class Nobody:
    """Opens nothing: nothing was sealed."""

    async def open_sealed(self, number: str, blobs: object, give_up_at: float) -> OpenedSet:
        return OpenedSet()


class Nowhere:
    """Fetches nothing."""

    async def fetch(self, url: str) -> Fetched:
        raise AssertionError(url)


def resolver(
    routes: Routes, client: CpsClient, advertised: Advertisements | None = None
) -> Resolver:
    """A directory without anybody's records."""
    return Resolver(
        routes=routes,
        records=client,
        anchors=lambda: Anchors.of([]),
        spc_policy=SpcPolicy(),
        advertised=advertised,
        allow_plain=True,
    )


@dataclass
class Both:
    """Alice's provider, Bob's provider, and Bob's CPS between them."""

    alice: AuthenticationService
    bob: VerificationService
    url: str

    async def place(self, **changes: object) -> Outcome:
        """A call leaves Alice's provider."""
        outgoing = call(Direction.OUTBOUND, **changes)
        return await self.alice.authenticate(outgoing, time.time(), time.monotonic() + 10)

    async def receive(self, unique_id: str = "2.1", **changes: object) -> Outcome:
        """A call comes to Bob's."""
        incoming = call(unique_id=unique_id, linked_id=unique_id, **changes)
        return await self.bob.verify(incoming, unique_id, time.time(), time.monotonic() + 10)


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    """Everything, for as long as a test lasts."""
    authority = Authority()
    alice, bob = authority.credential(ALICE), authority.credential(BOB)
    certificates = FakeCertificates({alice.x5u: (alice.certificate,)})
    common = CpsSettings(port=0, tls=False, anchors=lambda: authority.anchors)
    sealed = CpsClient(allow_plain=True)
    async with (
        listening_bare(BareSettings(common)) as url,
        clients(url, [alice], [bob]) as (
            hers,
            his,
        ),
    ):
        routes = Routes([Route("1310", (url,), Sealing.NONE)])
        served = Routes([], [Served((BOB,), (), (url,))])
        judge = Judge(VerificationPolicy(lambda: authority.anchors, SpcPolicy()), certificates)
        yield Both(
            AuthenticationService(
                callers=CALLERS,
                credentials=[alice],
                directory=resolver(routes, sealed),
                placement=sealed,
                never=NeverSigned(),
                new_uuid=lambda: str(time.monotonic_ns()),
                bare=hers,
            ),
            VerificationService(
                callers=CALLERS,
                own_cps=resolver(served, sealed),
                placement=BothKinds(SubscribedPlacement(sealed), his, served.bare_cps),
                opener=Nobody(),
                judge=judge,
                used=UsedPassports(),
                monotonic=time.monotonic,
            ),
            url,
        )
    await sealed.close()


@asynccontextmanager
async def clients(url: str, *credentials: list[object]) -> AsyncIterator[list[BarePlacements]]:
    """A client of unsealed PASSporTs for each."""
    made = [
        BareClient(credentials=one, retrieved_from=[url], allow_plain=True)  # type: ignore[arg-type]
        for one in credentials
    ]
    guarded = [GuardedPlacement(one) for one in made]
    yield [BarePlacements(SubscribedPlacement(one)) for one in guarded]
    for one in guarded:
        await one.close()
    for each in made:
        await each.close()


async def test_a_call_is_verified_without_anything_sealed(both: Both) -> None:
    """RFC 9888 from end to end: stored before the call, retrieved after it, passed, used once."""
    placed = await both.place()
    assert (placed.status, placed.reason) == (Status.STORED, Reason.STORED)
    received = await both.receive()
    assert (received.verstat, received.reason) == (Verstat.PASSED, Reason.VERIFIED)
    again = await both.receive("2.2")
    assert (again.verstat, again.reason) == (Verstat.NONE, Reason.REPLAYED)


async def test_a_spoofed_call_is_not(both: Both) -> None:
    """Another caller ID finds Alice's PASSporT, and it is not this call's."""
    await both.place()
    received = await both.receive(orig="12125559999")
    assert (received.verstat, received.reason) == (Verstat.NONE, Reason.ORIG_MISMATCH)


async def test_nothing_is_stored_for_nobody(both: Both) -> None:
    """Where no call was placed there is no PASSporT, and that is no error."""
    received = await both.receive()
    assert (received.verstat, received.reason) == (Verstat.NONE, Reason.NO_PASSPORT)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:8443", "https://localhost", "https://10.0.0.1", "https://[::1]",
        "https://cps.example.com:22", "https://cps.internal", "https://169.254.169.254",
    ],
)  # fmt: skip
async def test_an_advertised_cps_is_a_strangers(url: str, tmp_path: Path) -> None:
    """An advertisement cannot send us into our own network; a route of ours can."""
    file = tmp_path / "advertisement.json"
    file.write_bytes(Advertisement({f"2-{BOB}": url}).encode())
    advertised = Advertisements(
        [AdvertisementSource(file, SignedBy.NOBODY)],
        fetcher=Nowhere(),
        anchors=lambda: Anchors.of([]),
        spc_policy=SpcPolicy(),
    )
    await advertised.load_all()
    client = CpsClient(egress=EgressRule())
    found = resolver(Routes(), client, advertised)
    destination = await found.destination(BOB, time.monotonic() + 10)
    assert (destination.cps, destination.keys) == ((url,), ())
    assert destination.reason is Reason.CPS_UNAVAILABLE
    assert (
        "address" in destination.detail
        or "host" in destination.detail
        or ("port" in destination.detail)
    )
    (result,) = await client.store([url], BOB, [b"x"], time.monotonic() + 10)
    assert result.reason is Reason.CPS_UNAVAILABLE
    await client.close()
