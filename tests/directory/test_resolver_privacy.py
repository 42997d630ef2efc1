"""What a look-up of keys gives away, and whose records count no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes

from pbx_stir.directory.resolver import NO_KEY_SECONDS, REFRESH_SECONDS, Resolver
from pbx_stir.directory.routes import Route, Routes
from pbx_stir.directory.signers import fingerprint
from pbx_stir.errors import CertificateRevoked, CpsRefused, PbxStirError
from pbx_stir.services.call import Reason
from pbx_stir.stir.certificate import Path, SpcPolicy

NOW = 1_750_000_000.0
NUMBER = "12125551234"
ONE = "https://one.example.net"


class Cps:
    """A CPS that answers for numbers and prefixes alike, and notes what it learns."""

    def __init__(self) -> None:
        self.tokens: tuple[str, ...] = ()
        self.error: PbxStirError | None = None
        self.learnt: list[str] = []

    async def get_records(self, cps: str, number: str, give_up_at: float) -> Sequence[str]:
        """Answer."""
        self.learnt.append(number)
        return self.tokens

    async def get_records_under(
        self, cps: str, prefix: str, give_up_at: float
    ) -> tuple[Sequence[str], bool]:
        """Answer, or fail."""
        self.learnt.append(prefix + "*")
        if self.error is not None:
            raise self.error
        return self.tokens, True


class Clock:
    """Both clocks at once, set by hand."""

    passed = 0.0

    def epoch(self) -> float:
        """The wall clock."""
        return NOW + self.passed

    def monotonic(self) -> float:
        """The steady clock."""
        return 1000.0 + self.passed


class Revocation:
    """Knows what it is told."""

    def __init__(self) -> None:
        self.revoked: set[bytes] = set()

    def check(self, path: Path, now: float) -> None:
        """Refuse what is known."""
        if fingerprint(path) in self.revoked:
            raise CertificateRevoked("it is on the list")

    def revoke(self, certificate: Any) -> None:
        """Put a certificate on the list."""
        self.revoked.add(certificate.fingerprint(hashes.SHA256()))


@pytest.fixture
def clock() -> Clock:
    """The clocks."""
    return Clock()


@pytest.fixture
def cps() -> Cps:
    """The CPS."""
    return Cps()


@pytest.fixture
def revocation() -> Revocation:
    """Nobody is revoked yet."""
    return Revocation()


Make = Callable[..., Resolver]


@pytest.fixture
def make(lab: Any, clock: Clock, cps: Cps, revocation: Revocation) -> Make:
    """Makes resolvers with one route; random times are the latest possible."""

    def make(hidden_digits: int = 0, prefix: str = "1212") -> Resolver:
        return Resolver(
            routes=Routes([Route(prefix, (ONE,), hidden_digits=hidden_digits)]),
            records=cps,
            anchors=lambda: lab.anchors,
            spc_policy=SpcPolicy(),
            revocation=revocation,
            epoch=clock.epoch,
            monotonic=clock.monotonic,
            draw=lambda low, high: high,
        )

    return make


async def ask(resolver: Resolver, clock: Clock, number: str = NUMBER) -> Any:
    """Ask with time enough."""
    return await resolver.destination(number, clock.monotonic() + 60)


async def test_a_hidden_number_is_never_named(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """The CPS learns a prefix, once, however many numbers of it are called, and refreshing."""
    key = new_key()
    cps.tokens = (lab.record(alice, key),)
    resolver = make(4)
    for last in range(1200, 1230):
        assert (await ask(resolver, clock, f"1212555{last}")).keys == (key,)
    assert (await ask(resolver, clock, "12125559999")).reason is Reason.NO_KEY
    clock.passed = REFRESH_SECONDS
    assert await resolver.refresh_due() == 30
    await resolver.close()
    assert set(cps.learnt) == {"1212555*"}
    assert len(cps.learnt) <= 2


async def test_nothing_is_asked_beyond_the_route(make: Make, clock: Clock, cps: Cps) -> None:
    """A prefix is never shorter than the route's, which names what this CPS serves."""
    await ask(make(8), clock)
    await ask(make(8, prefix=""), clock)
    await ask(make(8, prefix=""), clock, "911")
    assert cps.learnt == ["1212*", "121*", "9*"]


async def test_a_prefix_that_fails_never_becomes_a_number(
    make: Make, clock: Clock, cps: Cps, lab: Any, alice: Any, new_key: Any
) -> None:
    """A CPS without look-ups by prefix is an error that says so, also on the second call."""
    cps.tokens = (lab.record(alice, new_key()),)
    cps.error = CpsRefused("no such resource", status=404)
    resolver = make(4)
    for _ in range(2):
        found = await ask(resolver, clock)
        assert found.reason is Reason.CPS_UNAVAILABLE
        assert "by prefix" in found.detail
        clock.passed += NO_KEY_SECONDS
    assert set(cps.learnt) == {"1212555*"}


async def test_a_revoked_signers_keys_are_not_used(
    make: Make,
    clock: Clock,
    cps: Cps,
    revocation: Revocation,
    lab: Any,
    alice: Any,
    new_key: Any,
) -> None:
    """Nothing is sealed to them from the first review after it became known; others go on."""
    bob_key = new_key()
    cps.tokens = (lab.record(alice, new_key()), lab.record(lab.credential("Bob"), bob_key))
    resolver = make()
    assert len((await ask(resolver, clock)).keys) == 2
    revocation.revoke(alice.certificate)
    await resolver.refresh_due()
    assert (await ask(resolver, clock)).keys == (bob_key,)
    assert len(cps.learnt) == 1


async def test_a_revoked_signer_alone_is_a_bad_record(
    make: Make, clock: Clock, cps: Cps, revocation: Revocation, lab: Any, alice: Any, new_key: Any
) -> None:
    """The call says why; whether it was known before the look-up or only learnt afterwards."""
    cps.tokens = (lab.record(alice, new_key()),)
    resolver = make()
    assert (await ask(resolver, clock)).keys
    revocation.revoke(alice.certificate)
    await resolver.refresh_due()
    for asked in (resolver, make()):
        found = await ask(asked, clock)
        assert (found.reason, found.keys) == (Reason.BAD_RECORD, ())
        assert "on the list" in found.detail


async def test_a_revoked_certificate_takes_nobodys_place(
    make: Make, clock: Clock, cps: Cps, revocation: Revocation, lab: Any, alice: Any, new_key: Any
) -> None:
    """Who stole a certificate cannot displace its successor's record with a higher serial."""
    successor, key = lab.credential("Alice"), new_key()
    good = lab.record(successor, key, serial=2)
    cps.tokens = (good, lab.record(alice, new_key(), serial=2**40))
    revocation.revoke(alice.certificate)
    assert (await ask(make(), clock)).keys == (key,)
