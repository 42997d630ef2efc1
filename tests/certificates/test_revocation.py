"""What is revoked is known from memory; what is lacking is fetched without a call waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import revocation
from pbx_stir.certificates.revocation import (
    FAILURE_SECONDS,
    LONGEST_SECONDS,
    MOST_FETCHES,
    MOST_KEPT,
    MOST_WANTED,
    REMEMBERED_SECONDS,
    SPREAD_SECONDS,
    UNUSED_SECONDS,
    Policy,
)
from pbx_stir.errors import CertificateRevoked, CertificateUnavailable
from pbx_stir.stir.revocation import Status
from tests.certificates.revocation_world import (
    ASKING,
    ASKING_PATH,
    FORGE,
    GONE,
    GOOD,
    LEAF,
    PATH,
    ROOT,
    URL,
    Server,
    World,
)
from tests.stir import revoking
from tests.stir.conftest import DAY, NOW


def refused(check: Callable[[], None]) -> str:
    """The name of the error that a check raises, or nothing."""
    try:
        check()
    except (CertificateRevoked, CertificateUnavailable) as error:
        return type(error).__name__
    return ""


async def test_a_call_never_waits() -> None:
    """The first answer is unknown, and at once; a later one knows what was fetched meanwhile."""
    world = World(Server(http=GONE))
    assert world.status() is Status.UNKNOWN
    assert world.server.asked == []
    await world.fetched()
    assert world.status() is Status.REVOKED
    assert world.server.asked == [URL]


@pytest.mark.parametrize(
    ("policy", "unknown", "revoked"),
    [
        ("off", "", ""),
        ("soft", "", "CertificateRevoked"),
        ("hard", "CertificateUnavailable", "CertificateRevoked"),
    ],
)
async def test_the_policy_says_what_unknown_means(
    policy: Policy, unknown: str, revoked: str
) -> None:
    """soft goes on, hard has no certificate, both refuse what is revoked; off asks for nothing."""
    world = World(Server(http=GONE), policy=policy)
    assert refused(lambda: world.watch.check(PATH, world.now)) == unknown
    await world.fetched()
    assert refused(lambda: world.watch.check(PATH, world.now)) == revoked
    assert bool(world.server.asked) is (policy != "off")


async def test_many_calls_are_one_fetch() -> None:
    """Who lacks a list that is on its way waits for nothing and fetches nothing."""
    world = World()
    world.server.gate.clear()
    running = asyncio.create_task(world.watch.run())
    for _ in range(10):
        world.now += REMEMBERED_SECONDS
        world.status()
        await asyncio.sleep(0)
    world.server.gate.set()
    await world.fetched()
    running.cancel()
    assert world.server.asked == [URL]
    assert world.status() is Status.GOOD


async def test_a_lack_is_fetched_a_little_later() -> None:
    """The fetch does not tell the moment of the call."""
    world = World()
    world.chance = 0.5
    world.status()
    await world.fetched()
    assert world.server.asked == []
    world.now += SPREAD_SECONDS / 2
    await world.fetched()
    assert world.server.asked == [URL]


async def test_lists_are_renewed_before_they_are_over() -> None:
    """At a random moment between half and nine tenths of their time; twice a day at least."""
    for until, chance, moment in (
        (NOW + 1_000, 0.0, 500),
        (NOW + 1_000, 1.0, 900),
        (NOW + 30 * DAY, 0.0, LONGEST_SECONDS / 2),
        (NOW + 10, 0.0, 60),
    ):
        world = World(Server(http=revoking.crl(ROOT, next_update=until)))
        world.status()
        world.chance = chance
        await world.fetched()
        world.now = NOW + moment - 1
        await world.fetched()
        assert len(world.server.asked) == 1
        world.now = NOW + moment
        await world.fetched()
        assert len(world.server.asked) == 2


async def test_what_nobody_uses_is_not_renewed() -> None:
    """A day without a call that wants it, and it is fetched no more."""
    world = World()
    await world.learnt()
    world.now += UNUSED_SECONDS + 1
    await world.fetched()
    assert world.server.asked == [URL]


async def test_an_error_leaves_what_was_there() -> None:
    """A list that cannot be renewed counts until it is over; a revocation longer."""
    for body, then in ((GOOD, Status.UNKNOWN), (GONE, Status.REVOKED)):
        world = World(Server(http=body))
        before = await world.learnt()
        world.server.bodies = {}
        world.now += DAY / 2
        assert await world.learnt() is before
        assert len(world.server.asked) == 2
        world.now = NOW + DAY + 1
        assert await world.learnt() is then


async def test_failures_are_remembered_briefly() -> None:
    """A dead server costs a fetch a minute, however many calls there are."""
    world = World(Server(http=b""))
    for _ in range(5):
        assert await world.learnt() is Status.UNKNOWN
    assert world.server.asked == [URL]
    world.now += FAILURE_SECONDS
    world.server.bodies["http"] = GOOD
    assert await world.learnt() is Status.GOOD


@pytest.mark.parametrize("body", [b"garbage", b"\x30\x00", LEAF.der, LEAF.pem])
async def test_what_is_no_list_is_a_failure(body: bytes) -> None:
    """Nothing breaks, nothing is learnt, and the next minute nothing is fetched."""
    world = World(Server(http=body))
    assert await world.learnt() is Status.UNKNOWN
    assert await world.learnt() is Status.UNKNOWN
    assert len(world.server.asked) == 1


async def test_forged_and_old_lists_do_not_push_out_a_genuine_one() -> None:
    """Who changes what plain http brings cannot take back a revocation that we know."""
    forged = revoking.crl(ROOT, key=FORGE.key(), this_update=NOW)
    older = revoking.crl(ROOT, this_update=NOW - 2 * revoking.HOUR, next_update=NOW + 2 * DAY)
    newer = revoking.crl(ROOT, this_update=NOW, next_update=NOW + 2 * DAY)
    for body, expected in (
        (forged, Status.REVOKED),
        (older, Status.REVOKED),
        (newer, Status.GOOD),
    ):
        world = World(Server(http=GONE))
        assert await world.learnt() is Status.REVOKED
        world.server.bodies["http"] = body
        world.now += DAY / 2 + 1
        assert await world.learnt() is expected
        assert len(world.server.asked) == 2


async def test_a_forged_list_is_soon_fetched_again() -> None:
    """What proves to be nobody's is not kept for as long as it says."""
    world = World(Server(http=revoking.crl(ROOT, key=FORGE.key())))
    assert await world.learnt() is Status.UNKNOWN
    world.server.bodies["http"] = GONE
    world.now += 60
    assert await world.learnt() is Status.REVOKED


async def test_responders_are_asked() -> None:
    """Where a certificate names a responder and no list, OCSP says what is known."""
    for status, expected in (
        (ocsp.OCSPCertStatus.GOOD, Status.GOOD),
        (ocsp.OCSPCertStatus.REVOKED, Status.REVOKED),
        (ocsp.OCSPCertStatus.UNKNOWN, Status.UNKNOWN),
    ):
        server = Server(http=revoking.answer(ASKING, ROOT, status=status))
        world = World(server)
        assert await world.learnt(ASKING_PATH) is expected
        assert server.asked[0].startswith(revoking.RESPONDER + "/M")
        server.bodies["http"] = revoking.answer(ASKING, ROOT, responder=FORGE.root())
        world.now += DAY / 2
        assert await world.learnt(ASKING_PATH) is expected


async def test_forbidden_places_are_not_fetched() -> None:
    """A private address, another port, a query: the egress rule holds for every place."""
    urls = ["http://127.0.0.1/a", "http://a.example.com:81/a", "http://a.example.com/a?b"]
    leaf = FORGE.leaf(ROOT, extra=[revoking.at(*urls, "HTTP://A.example.com:80")])
    world = World()
    await world.learnt(revoking.path_of(leaf, ROOT))
    assert world.server.asked == ["http://a.example.com/"]


async def test_memory_is_bounded() -> None:
    """Certificates with ever new places make no more than so many wishes, fetches and lists."""
    world = World()
    most = 0
    for number in range(MOST_KEPT + MOST_WANTED):
        leaf = FORGE.leaf(ROOT, extra=[revoking.at(f"http://a.example.com/{number}")])
        world.status(revoking.path_of(leaf, ROOT))
        most = max(most, len(world.watch._wanted))
        if number % MOST_WANTED == MOST_WANTED - 1:
            for _ in range(MOST_WANTED // MOST_FETCHES + 1):
                await world.fetched()
    assert most <= MOST_WANTED
    assert len(world.watch._kept) == MOST_KEPT
    assert world.watch._wanted == {}


async def test_octets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not used for longest goes first."""
    monkeypatch.setattr(revocation, "MOST_KEPT_OCTETS", 2 * len(GOOD) + 10)
    world = World()
    paths = []
    for number in range(3):
        leaf = FORGE.leaf(ROOT, extra=[revoking.at(f"http://a.example.com/{number}")])
        paths.append(revoking.path_of(leaf, ROOT))
        await world.learnt(paths[-1])
    assert [place.url[-1] for place in world.watch._kept] == ["1", "2"]


@given(st.binary(max_size=100), st.integers(0, 500), st.booleans())
def test_whatever_comes_a_call_gets_its_answer(noise: bytes, where: int, asking: bool) -> None:
    """Octets changed in a list or an answer never make anything but our errors."""
    whole = revoking.answer(ASKING, ROOT) if asking else GOOD
    body = whole[:where] + noise + whole[where + len(noise) :]
    path = ASKING_PATH if asking else PATH

    async def learn() -> Status:
        return await World(Server(http=body), policy="hard").learnt(path)

    assert asyncio.run(learn()) in (Status.GOOD, Status.UNKNOWN)
