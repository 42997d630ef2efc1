"""A chain is fetched once and kept for as long as its server says, within bounds."""

from __future__ import annotations

import asyncio

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pbx_stir.certificates import issuing
from pbx_stir.certificates.cache import (
    DEFAULT_SECONDS,
    FAILURE_SECONDS,
    LONGEST_SECONDS,
    MOST_CHAINS,
    SHORTEST_SECONDS,
    STALE_SECONDS,
    CertificateCache,
)
from pbx_stir.certificates.fetch import Fetched
from pbx_stir.errors import (
    CertificateUnavailable,
    MalformedCertificate,
    PbxStirError,
    UrlRefused,
)
from pbx_stir.stir.certificate import Anchors, find_path
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.stir.x5u import CheckedUrl, EgressRule, check_url

NOW = 1_750_000_000.0
URL = "https://cert.example.com/alice.pem"
ROOT, ROOT_KEY = issuing.new_root("Root", NOW, 30)
CA_KEY = issuing.new_key()
CA = issuing.issue_ca(ROOT, ROOT_KEY, CA_KEY.public_key(), "CA", NOW, 30)
LEAF = issuing.issue_leaf(
    CA,
    CA_KEY,
    issuing.new_key().public_key(),
    "Alice",
    TnAuthList(numbers=("12125551234",)),
    NOW,
    7,
)


def pem(*certificates: x509.Certificate) -> bytes:
    """Certificates as a server gives them."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


class Server:
    """Gives what it is told to, and counts."""

    def __init__(self, body: bytes = b"", max_age: float | None = None) -> None:
        self.body = body or pem(LEAF, CA)
        self.max_age = max_age
        self.error: PbxStirError | None = None
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def check(self, url: str) -> CheckedUrl:
        """Refuse the URLs in ``refused``."""
        if url in self.refused:
            raise UrlRefused("not this one")
        return check_url(url, EgressRule())

    async def fetch(self, url: str) -> Fetched:
        """Answer once the gate is open."""
        self.asked.append(url)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Fetched(self.body, self.max_age)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


async def settle() -> None:
    """Let what was started in the background end."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


async def test_a_hit_is_what_the_miss_was(clock: Clock) -> None:
    """The whole chain is kept: the second call gets the same objects, and the same path."""
    server = Server()
    cache = CertificateCache(server, clock=clock)
    miss = await cache.chain(URL, clock.now + 1)
    hit = await cache.chain(URL, clock.now + 1)
    assert len(server.asked) == 1
    assert all(one is other for one, other in zip(miss, hit, strict=True))
    anchors = Anchors.of([ROOT])
    assert len(find_path(miss, anchors, NOW).certificates) == 3
    assert find_path(hit, anchors, NOW) == find_path(miss, anchors, NOW)


@pytest.mark.parametrize(
    ("max_age", "seconds"),
    [
        (None, DEFAULT_SECONDS),
        (0.0, SHORTEST_SECONDS),
        (600.0, 600.0),
        (1e9, LONGEST_SECONDS),
    ],
)
async def test_how_long_a_chain_is_fresh(
    clock: Clock, max_age: float | None, seconds: float
) -> None:
    """The server's word counts, within a minute and a day; an hour where it says nothing."""
    server = Server(max_age=max_age)
    cache = CertificateCache(server, clock=clock)
    await cache.chain(URL, clock.now + 1)
    clock.now += seconds - 1
    await cache.chain(URL, clock.now + 1)
    await settle()
    assert len(server.asked) == 1
    clock.now += 1
    await cache.chain(URL, clock.now + 1)
    await settle()
    assert len(server.asked) == 2


async def test_a_call_does_not_wait_for_a_renewal(clock: Clock) -> None:
    """A stale chain is given at once while the new one is fetched, then the new one is."""
    server = Server()
    cache = CertificateCache(server, clock=clock)
    old = await cache.chain(URL, clock.now + 1)
    clock.now += DEFAULT_SECONDS
    server.gate.clear()
    server.body = pem(LEAF)
    assert await cache.chain(URL, clock.now) == old
    server.gate.set()
    await settle()
    assert await cache.chain(URL, clock.now) == (LEAF,)
    assert len(server.asked) == 2


async def test_a_server_that_fails_leaves_the_old_chain_for_a_while(clock: Clock) -> None:
    """While it fails it is asked twice a minute at most; after the stale time nothing is left."""
    server = Server()
    cache = CertificateCache(server, clock=clock)
    old = await cache.chain(URL, clock.now + 1)
    server.error = CertificateUnavailable("down")
    clock.now += DEFAULT_SECONDS
    for _ in range(3):
        assert await cache.chain(URL, clock.now + 1) == old
        await settle()
    assert len(server.asked) == 2
    clock.now += FAILURE_SECONDS
    assert await cache.chain(URL, clock.now + 1) == old
    await settle()
    assert len(server.asked) == 3
    clock.now += STALE_SECONDS
    with pytest.raises(CertificateUnavailable):
        await cache.chain(URL, clock.now + 1)


@pytest.mark.parametrize("error", [UrlRefused("private"), CertificateUnavailable("404")])
async def test_a_failure_is_remembered_briefly(clock: Clock, error: PbxStirError) -> None:
    """A dead server costs one call, and half a minute later another one."""
    server = Server()
    server.error = error
    cache = CertificateCache(server, clock=clock)
    for _ in range(3):
        with pytest.raises(type(error)):
            await cache.chain(URL, clock.now + 1)
    assert len(server.asked) == 1
    assert cache.cached(URL)
    clock.now += FAILURE_SECONDS
    assert not cache.cached(URL)
    server.error = None
    assert await cache.chain(URL, clock.now + 1) == (LEAF, CA)


@pytest.mark.parametrize("body", [b"<html>", b"\xff" * 100, pem(LEAF)[:200]])
async def test_what_is_no_chain_is_malformed(clock: Clock, body: bytes) -> None:
    """A page or a torn file is MalformedCertificate, and remembered as such."""
    server = Server(body)
    cache = CertificateCache(server, clock=clock)
    for _ in range(2):
        with pytest.raises(MalformedCertificate):
            await cache.chain(URL, clock.now + 1)
    assert len(server.asked) == 1


async def test_two_calls_share_a_fetch_and_one_that_gives_up_leaves_it(clock: Clock) -> None:
    """A late call is told so at its deadline; what it began is there for the next."""
    server = Server()
    server.gate.clear()
    cache = CertificateCache(server, clock=clock)
    other = asyncio.create_task(cache.chain(URL, clock.now + 1000))
    with pytest.raises(CertificateUnavailable):
        await cache.chain(URL, clock.now)
    assert not cache.cached(URL)
    server.gate.set()
    assert await other == (LEAF, CA)
    assert cache.cached(URL)
    assert len(server.asked) == 1


async def test_a_refused_url_is_refused_before_anything_else(clock: Clock) -> None:
    """What may no longer be fetched is not given from memory either."""
    server = Server()
    cache = CertificateCache(server, clock=clock)
    await cache.chain(URL, clock.now + 1)
    server.refused.add(URL)
    with pytest.raises(UrlRefused):
        await cache.chain(URL, clock.now + 1)
    assert cache.cached(URL)
    assert len(server.asked) == 1


async def test_two_spellings_of_a_url_are_one(clock: Clock) -> None:
    """Capitals in the host and the default port make no second fetch."""
    server = Server()
    cache = CertificateCache(server, clock=clock)
    await cache.chain(URL, clock.now + 1)
    await cache.chain("HTTPS://CERT.Example.com:443/alice.pem", clock.now + 1)
    assert server.asked == [URL]


async def test_the_least_used_goes_first(clock: Clock) -> None:
    """Memory is bounded, and what is asked for often stays."""
    server = Server()
    cache = CertificateCache(server, clock=clock)
    await cache.chain(URL, clock.now + 1)
    for number in range(MOST_CHAINS):
        if number == MOST_CHAINS // 2:
            await cache.chain(URL, clock.now + 1)
        await cache.chain(f"{URL}{number}", clock.now + 1)
    assert cache.cached(URL)
    assert not cache.cached(f"{URL}0")
    await cache.close()
