"""Retrievals that a number's holder signs: which ones, by whom, and that the CPS can check them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest
from aiohttp import web

from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.exchange import Exchange
from pbx_stir.cps.getting import Getting
from pbx_stir.cps.holder import Holder
from pbx_stir.cps.origin import parse_cps_url
from pbx_stir.errors import MalformedAnswer
from pbx_stir.stir import signed_request
from pbx_stir.stir.certificate import SpcPolicy, find_path
from tests.cps.conftest import NOW, Authority
from tests.cps.other_cps import answering, answering_all, http

NUMBER = "12125551234"
OTHER = "13105552000"
CPS = "https://CPS.example.net:8443/base"


def signed(holder: Holder, cps: str = CPS, number: str = NUMBER) -> dict[str, str]:
    origin = parse_cps_url(cps, allow_plain=True)
    return dict(holder.authorization(origin, f"/cps/{number}/ppts?expand=1", number, NOW))


def test_the_cps_can_check_it(authority: Authority) -> None:
    """Audience, method, path as sent, time and signer are what the CPS compares."""
    holder = Holder([authority.credential(NUMBER)], [CPS])
    value = signed(holder)["Authorization"]
    request = signed_request.read_request(value, signed_request.RETRIEVAL)
    signed_request.check_terms(
        request,
        audiences={"cps.example.net"},
        method="GET",
        path=f"/base/cps/{NUMBER}/ppts?expand=1",
        body=b"",
        now=NOW,
    )
    path = find_path(request.statement.chain, authority.anchors, NOW)
    assert path.covers(NUMBER, SpcPolicy())


def test_each_has_a_nonce_of_its_own(authority: Authority) -> None:
    """A nonce is drawn anew for each request: a second use is refused."""
    holder = Holder([authority.credential(NUMBER)], [CPS])
    nonces = {
        signed_request.read_request(signed(holder)["Authorization"], signed_request.RETRIEVAL).nonce
        for _ in range(20)
    }
    assert len(nonces) == 20


def test_only_where_it_is_due(authority: Authority) -> None:
    """Another CPS learns nothing of us, and a number of no credential of ours is not signed for."""
    holder = Holder([authority.credential(NUMBER)], [CPS])
    assert signed(holder, "https://other.example.net:8443") == {}
    assert signed(holder, "https://cps.example.net") == {}
    assert signed(holder, number=OTHER) == {}
    assert signed(holder, "https://cps.example.net:8443") != {}


def test_the_credential_that_covers_the_number_signs(authority: Authority) -> None:
    """Of several it is the one whose certificate lists the number."""
    both = [authority.credential(OTHER, name="B"), authority.credential(NUMBER, name="A")]
    request = signed_request.read_request(
        signed(Holder(both, [CPS]))["Authorization"], signed_request.RETRIEVAL
    )
    assert request.statement.chain[0] == both[1].certificate


async def test_what_was_sent_again_unasked_is_signed_anew(authority: Authority) -> None:
    """A kept connection that closes under a retrieval costs a second request, and no answer: the
    first may have been read, and its nonce with it."""
    nonces: list[str] = []

    def reply(request: bytes) -> bytes | None:
        (line,) = (one for one in request.decode().split("\r\n") if "Authorization:" in one)
        value = line.partition(": ")[2]
        is_new = (nonce := _nonce(value)) not in nonces
        nonces.append(nonce)
        if len(nonces) == 2:
            return None
        return http(b'{"ppts":[]}', "200 OK" if is_new else "401 No", _JSON)

    async with answering(reply) as url:
        exchange = Exchange(allow_plain=True, now=lambda: NOW)
        holder = Holder([authority.credential(NUMBER)], [url])
        getting = Getting(exchange, holder, item_octets=100)
        for _ in range(2):
            got = await getting.get(url, NUMBER, time.monotonic() + 5)
            assert (got.reason, got.detail) == (None, "")
        await exchange.close()
    first, lost, again, anew = nonces
    assert lost == again
    assert len({first, lost, anew}) == 3


_JSON = "Content-Type: application/json"


def _nonce(value: str) -> str:
    return signed_request.read_request(value, signed_request.RETRIEVAL).nonce


def test_an_expired_credential_does_not_sign(authority: Authority) -> None:
    """A request that would be refused in any case is made without a signature."""
    holder = Holder([authority.credential(NUMBER)], [CPS])
    origin = parse_cps_url(CPS)
    assert holder.authorization(origin, "/x", NUMBER, NOW + 10**9) == {}


@dataclass
class OtherCps:
    """A CPS of other make, which lists paths alone; remembers who asked for what."""

    seen: list[tuple[str, str]] = field(default_factory=list)
    date: dict[str, str] = field(default_factory=lambda: {"Date": formatdate(NOW, usegmt=True)})

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.path_qs, request.headers.get("Authorization", "")))
        if request.path.endswith("/ppts"):
            ppts = {"ppts": [f"{request.path}/C8hG3pTtEEpRzCw1ezMBWA"]}
            return web.json_response(ppts, headers=self.date)
        return web.Response(body=b"AAAA", content_type="application/passport", headers=self.date)


async def test_the_client_signs_every_request_of_a_retrieval(authority: Authority) -> None:
    """The list and each of its items carry a signature over their own path."""
    other = OtherCps()
    async with answering_all(other.answer) as url:
        holder = Holder([authority.credential(NUMBER)], [url])
        client = CpsClient(allow_plain=True, holder=holder, now=lambda: NOW)
        try:
            give_up_at = time.monotonic() + 5
            [answer] = [one async for one in client.retrieve([(url, NUMBER)], give_up_at)]
            with pytest.raises(MalformedAnswer):
                await client.get_records(url, NUMBER, give_up_at)
        finally:
            await client.close()
    assert answer.blobs == (b"\0\0\0",)
    assert len(other.seen) == 3
    for path, value in other.seen[:2]:
        read = signed_request.read_request(value, signed_request.RETRIEVAL)
        assert (read.path, read.audience) == (path, "127.0.0.1")
    assert other.seen[2][1] == "", "who looks up keys is nobody's business"
