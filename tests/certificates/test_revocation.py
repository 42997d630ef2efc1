"""What is revoked is known from memory; what is lacking is fetched without a call waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path as FilePath

import pytest
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import revocation
from pbx_stir.certificates.fetch import Fetched
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
    RevocationWatch,
)
from pbx_stir.certificates.revocation_files import RevocationFiles
from pbx_stir.errors import CertificateRevoked, CertificateUnavailable, ConfigurationError
from pbx_stir.stir.certificate import Anchors, Path
from pbx_stir.stir.revocation import Status
from pbx_stir.stir.x5u import CheckedUrl, EgressRule, check_url
from tests.stir import revoking
from tests.stir.conftest import DAY, NOW, Forge, Issued

FORGE = Forge()
ROOT = FORGE.root()
URL = revoking.URL
LEAF = FORGE.leaf(ROOT, extra=[revoking.at(URL)])
PATH = revoking.path_of(LEAF, ROOT)
ASKING = FORGE.leaf(ROOT, extra=[revoking.asks(revoking.RESPONDER)])
ASKING_PATH = revoking.path_of(ASKING, ROOT)
GOOD = revoking.crl(ROOT, [1])
GONE = revoking.crl(ROOT, [LEAF.cert.serial_number])
FOREVER = 1e12


class Server:
    """Gives what it is told for a URL, by its beginning, and keeps what it was asked."""

    def __init__(self, **bodies: bytes) -> None:
        self.bodies: dict[str, bytes] = {"http": GOOD} | bodies
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.answered = asyncio.Event()

    def check(self, url: str) -> CheckedUrl:
        """As the egress rule for lists."""
        rule = EgressRule(ports=frozenset({80, 443}), schemes=frozenset({"http", "https"}))
        return check_url(url, rule)

    async def fetch(self, url: str) -> Fetched:
        """Answer, once the gate is open."""
        self.asked.append(url)
        self.answered.set()
        await self.gate.wait()
        bodies = [body for begin, body in self.bodies.items() if url.startswith(begin)]
        if not bodies or not bodies[-1]:
            raise CertificateUnavailable("no answer")
        return Fetched(bodies[-1])


class World:
    """A watch with a clock that tests turn, and a chance that they choose."""

    def __init__(self, server: Server | None = None, **options: object) -> None:
        self.now = float(NOW)
        self.chance = 0.0
        self.server = server or Server()
        self.anchors = Anchors.of([ROOT.cert])
        settings: dict[str, object] = {"fetcher": self.server, "policy": "soft"}
        self.watch = RevocationWatch(
            anchors=lambda: self.anchors,
            clock=lambda: self.now,
            chance=lambda: self.chance,
            **(settings | options),  # type: ignore[arg-type]
        )

    def status(self, path: Path = PATH) -> Status:
        """What is known of a path now."""
        return self.watch.status(path, self.now).status

    async def fetched(self) -> None:
        """Let the watch run until it has fetched what was due."""
        running = asyncio.create_task(self.watch.run())
        for _ in range(3):
            await asyncio.sleep(0)
        while self.watch._flights:
            await asyncio.gather(*self.watch._flights._flights.values())
            await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    async def learnt(self, path: Path = PATH) -> Status:
        """Ask, let it be fetched, and ask again."""
        self.status(path)
        await self.fetched()
        return self.status(path)


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


async def test_lists_of_the_configuration_are_there_without_a_call() -> None:
    """They are fetched at once, kept whatever else comes, and judge whoever they speak of."""
    leaf = FORGE.leaf(ROOT)
    gone = revoking.crl(ROOT, [leaf.cert.serial_number])
    server = Server(**{"https://crl.example.com": gone})
    world = World(server, urls=["https://CRL.example.com/all"])
    await world.fetched()
    assert server.asked == ["https://crl.example.com/all"]
    assert world.status(revoking.path_of(leaf, ROOT)) is Status.REVOKED
    world.now += UNUSED_SECONDS * 3
    await world.fetched()
    assert len(server.asked) == 2


async def test_a_list_of_the_configuration_that_fails_is_tried_again() -> None:
    """Once a minute or two, and said in the log."""
    server = Server(http=b"")
    world = World(server, urls=[URL])
    await world.fetched()
    await world.fetched()
    assert len(server.asked) == 1
    world.now += 2 * FAILURE_SECONDS
    await world.fetched()
    assert len(server.asked) == 2


async def test_a_command_may_wait() -> None:
    """settle fetches at once what is lacking, and says whether that may change anything."""
    world = World(Server(http=GONE))
    world.chance = 1.0
    assert not await world.watch.settle(FOREVER)
    assert world.status() is Status.UNKNOWN
    assert await world.watch.settle(FOREVER)
    assert world.status() is Status.REVOKED
    assert not await world.watch.settle(FOREVER)


async def test_a_command_does_not_wait_for_ever() -> None:
    """At the moment to give up it goes on with what is known."""
    world = World()
    world.server.gate.clear()
    world.status()
    assert not await world.watch.settle(0.0)
    await world.watch.close()


async def test_files_are_read_and_read_again(tmp_path: FilePath) -> None:
    """A reload puts new lists in force; a broken file leaves the old ones there."""
    file = tmp_path / "all.crl"
    file.write_bytes(GOOD)
    files = RevocationFiles((str(tmp_path / "*.crl"),))
    world = World(files=files, fetcher=None)
    assert world.status() is Status.GOOD
    file.write_bytes(GONE)
    assert world.status() is Status.GOOD
    await world.watch.reload()
    assert world.status() is Status.REVOKED
    file.write_bytes(b"half a fi")
    with pytest.raises(ConfigurationError, match=r"all\.crl"):
        await world.watch.reload()
    assert world.status() is Status.REVOKED


async def test_off_reads_no_files() -> None:
    """Nothing that is switched off can fail."""
    world = World(files=RevocationFiles(("/nowhere/*.crl",)), policy="off")
    await world.watch.reload()
    world.watch.check(PATH, world.now)


async def test_other_anchors_are_looked_at_anew() -> None:
    """A finding is not given again under other anchors."""
    signer: Issued = FORGE.root("Signer")
    here = revoking.at(URL, crl_issuer=signer.cert.subject)
    path = revoking.path_of(FORGE.leaf(ROOT, extra=[here]), ROOT)
    body = revoking.crl(signer, says=revoking.point(indirect_crl=True))
    world = World(Server(http=body))
    assert await world.learnt(path) is Status.UNKNOWN
    world.anchors = Anchors.of([ROOT.cert, signer.cert])
    assert world.status(path) is Status.GOOD


@given(st.binary(max_size=100), st.integers(0, 500), st.booleans())
def test_whatever_comes_a_call_gets_its_answer(noise: bytes, where: int, asking: bool) -> None:
    """Octets changed in a list or an answer never make anything but our errors."""
    whole = revoking.answer(ASKING, ROOT) if asking else GOOD
    body = whole[:where] + noise + whole[where + len(noise) :]
    path = ASKING_PATH if asking else PATH

    async def learn() -> Status:
        return await World(Server(http=body), policy="hard").learnt(path)

    assert asyncio.run(learn()) in (Status.GOOD, Status.UNKNOWN)
