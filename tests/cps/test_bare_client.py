"""The client of CPSs with unsealed PASSporTs, against the listener, and against hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.certificates import issuing
from pbx_stir.cps.bare import BareSettings
from pbx_stir.cps.bare_client import BareClient, BarePlacements, BothKinds
from pbx_stir.cps.guarded import GuardedPlacement
from pbx_stir.cps.listening import listening_bare
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.subscribed import SubscribedPlacement
from pbx_stir.errors import CpsUnavailable
from pbx_stir.services.call import Reason
from pbx_stir.services.placement_service import Answer, BareAnswer
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import passport
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.tnauthlist import TnAuthList

from .conftest import private_pem
from .other_cps import serving

ALICE, BOB = "12125551234", "13105552000"


class Authority:
    """A lab authority of today: servers say what time it is, and the client goes by it."""

    def __init__(self) -> None:
        self._root, self._key = issuing.new_root("Lab", time.time() - 1000, 30)
        self.anchors = Anchors.of([self._root])

    def credential(self, number: str) -> Credential:
        """Credential of a company with one number."""
        key = issuing.new_key()
        listed = TnAuthList(numbers=(number,))
        leaf = issuing.issue_leaf(
            self._root, self._key, key.public_key(), "Company", listed, time.time() - 1000, 20
        )
        pem = leaf.public_bytes(Encoding.PEM)
        return credentials.load(pem, private_pem(key), x5u="https://cert.example.com/c.pem")


@pytest.fixture(scope="module")
def authority() -> Authority:
    """One authority for all tests."""
    return Authority()


def soon() -> float:
    """A moment that leaves time enough on a busy machine."""
    return time.monotonic() + 15


def token_of(alice: Credential, **changes: object) -> str:
    """A PASSporT of Alice's to Bob."""
    fields: dict[str, object] = {
        "orig": ALICE,
        "dest": [BOB],
        "iat": int(time.time()),
        "x5u": alice.x5u,
        "key": alice.key,
    }
    return passport.sign(**(fields | changes)).token  # type: ignore[arg-type]


@asynccontextmanager
async def client(**options: object) -> AsyncIterator[tuple[BareClient, BarePlacements]]:
    """A client as the daemon has it."""
    made = BareClient(allow_plain=True, **options)  # type: ignore[arg-type]
    guarded = GuardedPlacement(made)
    yield made, BarePlacements(SubscribedPlacement(guarded))
    await guarded.close()
    await made.close()


@asynccontextmanager
async def listener(authority: Authority, **changes: object) -> AsyncIterator[str]:
    """A listener that runs."""
    common = CpsSettings(port=0, tls=False, anchors=lambda: authority.anchors)
    async with listening_bare(BareSettings(common, **changes)) as url:  # type: ignore[arg-type]
        yield url


async def answers(placements: BarePlacements, *wanted: tuple[str, str]) -> list[BareAnswer]:
    """All answers."""
    found = [one async for one in placements.retrieve(wanted, soon())]
    assert all(isinstance(one, BareAnswer) for one in found)
    return found  # type: ignore[return-value]


async def test_what_one_provider_submits_the_other_retrieves(authority: Authority) -> None:
    """Both requests are signed by whose number it is about, and the token comes as it was."""
    alice, bob = authority.credential(ALICE), authority.credential(BOB)
    token = token_of(alice)
    async with listener(authority) as url:
        async with client(credentials=[bob, alice]) as (_, placements):
            (result,) = await placements.store_bare([url], BOB, token, soon())
            assert (result.reason, result.detail) == (Reason.STORED, "")
        async with client(credentials=[alice, bob], retrieved_from=[url]) as (_, placements):
            (answer,) = await answers(placements, (url, BOB))
            assert (answer.passports, answer.reason, answer.number) == ((token,), None, BOB)


async def test_who_has_no_credential_says_nothing(authority: Authority) -> None:
    """Without one that covers the number requests go unsigned, and are refused where it matters."""
    alice = authority.credential(ALICE)
    token = token_of(alice)
    async with listener(authority) as url, client() as (_, placements):
        (result,) = await placements.store_bare([url], BOB, token, soon())
        assert result.reason is Reason.CPS_REFUSED
        (answer,) = await answers(placements, (url, BOB))
        assert (answer.reason, answer.passports) == (Reason.CPS_REFUSED, ())


async def test_an_open_route_is_not_signed(authority: Authority) -> None:
    """Where the configuration says open, nothing names us but the PASSporT."""
    asked: list[str | None] = []

    async def take(request: web.Request) -> web.Response:
        asked.append(request.headers.get("Authorization"))
        return web.Response(status=201)

    alice = authority.credential(ALICE)
    async with foreign(post=take) as url:
        for unsigned in ([url], []):
            async with client(credentials=[alice], unsigned=unsigned) as (_, placements):
                (result,) = await placements.store_bare([url], BOB, token_of(alice), soon())
                assert result.reason is Reason.STORED
    assert asked[0] is None
    assert str(asked[1]).startswith("StirCredential ")


@asynccontextmanager
async def foreign(**handlers: object) -> AsyncIterator[str]:
    """Somebody else's CPS: ``post``, ``list`` and ``item`` answer."""
    application = web.Application()

    async def none(request: web.Request) -> web.Response:
        return web.Response(status=404)

    paths = {"post": ("POST", ""), "list": ("GET", ""), "item": ("GET", "/{id}")}
    for name, (method, rest) in paths.items():
        handler = handlers.get(name, none)
        application.router.add_route(method, "/cps/{number}/ppts" + rest, handler)  # type: ignore[arg-type]
    async with serving(application) as url:
        yield url


async def test_a_foreign_list_of_paths_is_followed(authority: Authority) -> None:
    """A CPS that lists paths alone is asked for each, signed anew; a folded body is one token."""
    alice, bob = authority.credential(ALICE), authority.credential(BOB)
    token = token_of(alice)
    nonces: list[str] = []

    async def listed(request: web.Request) -> web.Response:
        nonces.append(request.headers["Authorization"])
        return web.json_response({"ppts": [f"/cps/{BOB}/ppts/a", f"/cps/{BOB}/ppts/b"]})

    async def item(request: web.Request) -> web.Response:
        nonces.append(request.headers["Authorization"])
        if request.match_info["id"] == "b":
            return web.Response(status=404)
        return web.Response(text=f"  {token}\r\n", content_type="application/passport")

    async with (
        foreign(list=listed, item=item) as url,
        client(credentials=[bob], retrieved_from=[url]) as (_, placements),
    ):
        (answer,) = await answers(placements, (url, BOB))
    assert answer.passports == (token,)
    assert len(set(nonces)) == 3


@pytest.mark.parametrize(
    "body", ["", "{}", "[]", '{"ppts":[1]}', '{"ppts":["//evil.example/x"]}', "x" * 2_000_000]
)
async def test_what_a_cps_answers_may_be_anything(body: str) -> None:
    """It is no answer then, and nothing is raised."""

    async def listed(request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    async with foreign(list=listed) as url, client() as (_, placements):
        (answer,) = await answers(placements, (url, BOB))
    assert answer.reason is Reason.CPS_UNAVAILABLE


async def test_texts_that_are_no_ascii_come_as_texts() -> None:
    """Whoever reads tokens finds that out."""

    async def listed(request: web.Request) -> web.Response:
        return web.json_response({"ppts": [{"href": "/x", "passport": "ü.é.☎"}]})

    async with foreign(list=listed) as url, client() as (_, placements):
        (answer,) = await answers(placements, (url, BOB))
    assert len(answer.passports) == 1


async def test_a_silent_cps_costs_no_more_than_the_deadline() -> None:
    """Both ways the answer is that there was none."""
    held: list[asyncio.Task[object]] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        held.append(task)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with client() as (made, _):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        give_up_at = time.monotonic() + 0.2
        (result,) = await made.store([url], BOB, [b"x"], give_up_at)
        assert result.reason is Reason.CPS_UNAVAILABLE
        found = [one async for one in made.retrieve([(url, BOB)], time.monotonic() + 0.2)]
        assert [one.reason for one in found] == [Reason.CPS_UNAVAILABLE]
        with pytest.raises(CpsUnavailable):
            await made.clock_offset(url, time.monotonic() + 0.2)
    await asyncio.gather(*held)
    server.close()
    await server.wait_closed()


async def test_what_is_no_passport_is_not_sent(authority: Authority) -> None:
    """Nothing is signed for, and nothing leaves."""
    async with client(credentials=[authority.credential(ALICE)]) as (made, _):
        (result,) = await made.store(["http://127.0.0.1:1"], BOB, [b"x"], soon())
        assert result.reason is Reason.CPS_UNAVAILABLE


async def test_health_is_whatever_answers(authority: Authority) -> None:
    """A foreign CPS has no such resource, and is alive all the same."""
    async with listener(authority) as url, foreign() as other, client() as (made, _):
        assert await made.clock_offset(url, soon()) is not None
        assert await made.clock_offset(other, soon()) is not None


class Slow:
    """A retrieval that answers when it is told to, and says when it was closed."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.gate = asyncio.Event()
        self.closed = False
        self.asked: list[tuple[str, str]] = []

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        self.asked += wanted
        try:
            await self.gate.wait()
            yield self.answer
        finally:
            self.closed = True

    async def store(self, *_: object) -> Sequence[object]:
        raise AssertionError


async def test_both_kinds_are_asked_at_the_same_time() -> None:
    """Each CPS is asked by the client of its kind, and whichever answers first comes first."""
    sealed = Slow(Answer("https://a.example", BOB, (b"x",)))
    bare = Slow(Answer("https://b.example", BOB, (b"a.b.c",)))
    both = BothKinds(sealed, BarePlacements(bare), ["https://b.example"])  # type: ignore[arg-type]
    wanted = [("https://a.example", BOB), ("https://b.example", BOB)]
    found = both.retrieve(wanted, soon())
    bare.gate.set()
    first = await anext(found)
    assert first == BareAnswer("https://b.example", BOB, ("a.b.c",))
    sealed.gate.set()
    assert await anext(found) == Answer("https://a.example", BOB, (b"x",))
    assert [one async for one in found] == []
    assert (sealed.asked, bare.asked) == ([wanted[0]], [wanted[1]])


async def test_a_caller_that_has_enough_ends_both() -> None:
    """Closing the retrieval closes what has not answered."""
    sealed = Slow(Answer("https://a.example", BOB))
    bare = Slow(Answer("https://b.example", BOB))
    both = BothKinds(sealed, BarePlacements(bare), ["https://b.example"])  # type: ignore[arg-type]
    found = both.retrieve([("https://a.example", BOB), ("https://b.example", BOB)], soon())
    bare.gate.set()
    await anext(found)
    await found.aclose()
    assert (sealed.closed, bare.closed) == (True, True)


async def test_nothing_wanted_is_nothing_asked() -> None:
    """Without CPSs there are no answers."""
    sealed = Slow(Answer("https://a.example", BOB))
    both = BothKinds(sealed, BarePlacements(sealed), [])  # type: ignore[arg-type]
    assert [one async for one in both.retrieve([], soon())] == []


async def test_a_call_that_waits_is_told_what_comes_later(authority: Authority) -> None:
    """RFC 9888 section 6: a PASSporT may come after the call, and the call may wait for it."""
    alice, bob = authority.credential(ALICE), authority.credential(BOB)
    token = token_of(alice)
    async with (
        listener(authority) as url,
        client(credentials=[alice, bob], retrieved_from=[url]) as (_, placements),
    ):
        found = placements.retrieve([(url, BOB)], soon(), soon())
        first = await anext(found)
        assert first.reason is None
        await placements.store_bare([url], BOB, token, soon())
        async for answer in found:
            assert isinstance(answer, BareAnswer)
            if answer.passports:
                break
        assert answer.passports == (token,)
        await found.aclose()
