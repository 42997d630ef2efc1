"""Tests of pbx_stir.cps.client, against our server and against hostile ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import pytest

from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.listening import listening
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import CpsRefused, CpsUnavailable, MalformedAnswer, UrlRefused
from pbx_stir.services.call import Reason
from pbx_stir.stir import sealing
from pbx_stir.stir.x5u import EgressRule

from .clients import NUMBER, blob, plain_client, retrieved, running, soon
from .conftest import NOW, Authority, Run, TlsFiles
from .other_cps import answering, http
from .records import record


async def test_store_and_retrieve(run: Run) -> None:
    """Blobs stored at one CPS come back among dummies, newest first, all of one size."""
    blobs = [blob(), blob()]
    async with run() as cps, plain_client() as client:
        results = await client.store([cps.url], NUMBER, blobs, soon())
        assert [(each.cps, each.reason) for each in results] == [(cps.url, Reason.STORED)]
        [answer] = await retrieved(client, cps.url)
        assert (answer.cps, answer.number, answer.reason) == (cps.url, NUMBER, None)
        assert set(answer.blobs[:2]) == set(blobs)
        assert len(answer.blobs) in (4, 5)
        assert all(sealing.looks_sealed(each) for each in answer.blobs)


async def test_over_tls_with_one_connection(tls_files: TlsFiles) -> None:
    """TLS with the context given; a wrong trust is CPS_UNAVAILABLE, and says so."""
    settings = CpsSettings(
        port=0, certificate=tls_files.certificate, key=tls_files.key, tokens=False
    )
    async with listening(settings) as url:
        client = CpsClient(tls=tls_files.trusting)
        for _ in range(3):
            [result] = await client.store([url], NUMBER, [blob()], soon())
            assert result.reason is Reason.STORED
        await client.close()
        distrusting = CpsClient()
        [result] = await distrusting.store([url], NUMBER, [blob()], soon())
        assert result.reason is Reason.CPS_UNAVAILABLE
        assert "certificate" in result.detail
        await distrusting.close()


async def test_several_cps_at_the_same_time(run: Run) -> None:
    """One result a CPS in order, whatever the others do; a dead one costs the others nothing."""
    async with run() as one, run(tokens=True) as two, plain_client() as client:
        cps = [one.url, "http://127.0.0.1:1", two.url, "https://[", "http://192.0.2.1"]
        results = await client.store(cps, NUMBER, [blob(), blob()], soon())
        assert [each.cps for each in results] == cps
        assert [each.reason for each in results] == [
            Reason.STORED,
            Reason.CPS_UNAVAILABLE,
            Reason.NO_TOKENS,
            Reason.CPS_UNAVAILABLE,
            Reason.CPS_UNAVAILABLE,
        ]
        assert all(each.detail for each in results[1:])
        assert results[0].clock_offset is not None
        assert len(one.store) == 2


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("201 Created", Reason.STORED),
        ("200 OK", Reason.CPS_UNAVAILABLE),
        ("301 Moved", Reason.CPS_UNAVAILABLE),
        ("400 Bad", Reason.CPS_REFUSED),
        ("401 Who", Reason.NO_TOKENS),
        ("413 Large", Reason.CPS_REFUSED),
        ("429 Many", Reason.CPS_REFUSED),
        ("500 Oh", Reason.CPS_UNAVAILABLE),
        ("503 No", Reason.CPS_UNAVAILABLE),
    ],
)
async def test_every_status_has_its_reason(status: str, reason: Reason) -> None:
    """What a status of a store means; redirects are not followed."""
    requests = []

    def reply(request: bytes) -> bytes:
        requests.append(request)
        return http(b'{"detail":"because"}', status, "Location: http://127.0.0.1:1/")

    async with answering(reply) as url, plain_client() as client:
        [result] = await client.store([url], NUMBER, [blob()], soon())
        assert result.reason is reason
        assert ("because" in result.detail) == (reason is not Reason.STORED)
        assert len(requests) == 1


async def test_the_request_is_what_the_rfc_says() -> None:
    """Path, media type and body of a store; no user agent, no cookies, no codings."""
    requests = []

    def reply(request: bytes) -> bytes:
        requests.append(request)
        return http(b"", "201 Created", "Set-Cookie: a=b")

    sealed = blob()
    async with answering(reply) as url, plain_client() as client:
        await client.store([url + "/base/"], NUMBER, [sealed], soon())
        await client.store([url], NUMBER, [sealed], soon())
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /base/cps/12125551234/ppts HTTP/1.1\r\n")
    assert b"Content-Type: application/passport\r\n" in head + b"\r\n"
    assert b"Accept-Encoding: identity\r\n" in head + b"\r\n"
    assert body == sealing.to_wire(sealed)
    assert b"User-Agent" not in head
    assert b"Cookie" not in requests[1]


async def test_what_cannot_be_decoded_is_skipped() -> None:
    """Garbage among a CPS's entries costs nobody the good ones."""
    good = blob()
    ppts = [
        {"href": "/a", "passport": "!!"},
        {"href": "/b", "passport": sealing.to_wire(good).decode()},
        {"href": "/c", "passport": "\u00e9"},
    ]
    body = json.dumps({"ppts": ppts}).encode()
    async with answering(lambda _: http(body)) as url, plain_client() as client:
        [answer] = await retrieved(client, url)
        assert (answer.blobs, answer.reason) == ((good,), None)
        assert "2 entries" in answer.detail


async def test_answers_come_as_they_arrive(run: Run) -> None:
    """A CPS that answers is not held up by one that does not; leaving cancels the rest."""
    async with answering(lambda _: b"") as silent, run() as cps, plain_client() as client:
        wanted = [(silent, NUMBER), (cps.url, NUMBER)]
        async with contextlib.aclosing(client.retrieve(wanted, soon(60))) as answers:
            first = await anext(answers)
            assert (first.cps, first.reason) == (cps.url, None)
            assert running()
        assert not running()


async def test_the_deadline_holds() -> None:
    """A CPS that says nothing is CPS_UNAVAILABLE at give_up_at, for store and retrieve alike."""
    async with answering(lambda _: b"") as silent, plain_client() as client:
        begin = time.monotonic()
        [answer] = await retrieved(client, silent, seconds=0.05)
        assert (answer.reason, answer.detail) == (Reason.CPS_UNAVAILABLE, "no answer in time")
        [result] = await client.store([silent], NUMBER, [blob()], soon(0.05))
        assert (result.reason, result.detail) == (Reason.CPS_UNAVAILABLE, "no answer in time")
        assert time.monotonic() - begin < 1
        [result] = await client.store([silent], NUMBER, [blob()], soon(-1))
        assert result.reason is Reason.CPS_UNAVAILABLE


async def test_a_connection_that_was_just_closed_loses_no_store() -> None:
    """A store on a kept connection that its server closes meanwhile is sent once more."""
    requests = []

    def reply(request: bytes) -> bytes | None:
        requests.append(request)
        # The first is answered; the second finds the connection closed under its hands.
        return None if len(requests) == 2 else http(b"", "201 Created")

    async with answering(reply) as url, plain_client() as client:
        for _ in range(2):
            [result] = await client.store([url], NUMBER, [blob()], soon())
            assert result.reason is Reason.STORED
        assert len(requests) == 3


async def test_a_store_on_a_new_connection_is_sent_once() -> None:
    """A CPS that hangs up on a new connection is not asked again in the call path."""
    requests = []

    def reply(request: bytes) -> None:
        requests.append(request)

    async with answering(reply) as url, plain_client() as client:
        [result] = await client.store([url], NUMBER, [blob()], soon())
        assert result.reason is Reason.CPS_UNAVAILABLE
        assert len(requests) == 1


async def test_connections_are_kept() -> None:
    """Twenty requests one after the other use one connection."""
    connections = 0
    body = b'{"ppts":[]}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(http(body))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, plain_client() as client:
        for _ in range(20):
            await retrieved(client, url)
        await client.close()
        await asyncio.sleep(0)
    assert connections == 1


async def test_the_environment_changes_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy or CA bundle in the environment is not used."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with run() as cps, plain_client() as client:
        [answer] = await retrieved(client, cps.url)
        assert answer.reason is None


async def test_clocks_are_compared() -> None:
    """A CPS's Date tells how far its clock is from ours."""
    date = "Date: Sun, 06 Nov 1994 08:49:37 GMT"
    created = http(b"", "201 Created", date)
    async with answering(lambda _: created) as url, plain_client(now=lambda: 784111767.5) as client:
        [result] = await client.store([url], NUMBER, [blob()], soon())
        assert result.clock_offset == pytest.approx(10)
    async with answering(lambda _: http(b"", "200 OK", "Date: x")) as url, plain_client() as client:
        assert await client.clock_offset(url, soon()) is None


async def test_a_strangers_cps_must_be_global(tls_files: TlsFiles) -> None:
    """With a rule, a CPS on a private address is reached only where it is configured."""
    settings = CpsSettings(
        port=0, certificate=tls_files.certificate, key=tls_files.key, tokens=False
    )
    async with listening(settings) as url:
        port = int(url.rpartition(":")[2])
        for origins, reason in (
            (frozenset[tuple[str, int]](), Reason.CPS_UNAVAILABLE),
            (frozenset({("127.0.0.1", port)}), Reason.STORED),
        ):
            rule = EgressRule(ports=frozenset({port}), origins=origins)
            client = CpsClient(tls=tls_files.trusting, egress=rule)
            [result] = await client.store([url], NUMBER, [blob()], soon())
            assert result.reason is reason
            await client.close()


async def test_a_strangers_name_must_not_lead_home() -> None:
    """A name that resolves to a private address is not connected to."""
    client = CpsClient(egress=EgressRule())
    session = client._exchange._session(guarded=True)
    resolver = session.connector._resolver
    resolver._look_up = lambda *_: ["127.0.0.1", "::1", "10.0.0.1"]
    [result] = await client.store(["https://cps.example.com"], NUMBER, [blob()], soon())
    assert result.reason is Reason.CPS_UNAVAILABLE
    assert "may be used" in result.detail
    await client.close()


async def test_records(run: Run, authority: Authority) -> None:
    """A record is published and fetched; an older one is CpsRefused with status 409."""
    from pbx_stir.stir.record import sign_record

    credential = authority.credential(NUMBER)
    token = sign_record(record(serial=2), credential)
    running = run(anchors=lambda: authority.anchors)
    async with running as cps, plain_client(now=lambda: NOW) as client:
        assert await client.get_records(cps.url, NUMBER, soon()) == ()
        await client.put_record(cps.url, NUMBER, token, soon())
        assert await client.get_records(cps.url, NUMBER, soon()) == (token,)
        with pytest.raises(CpsRefused, match="newer") as refused:
            await client.put_record(cps.url, NUMBER, token, soon())
        assert refused.value.status == 409
        assert await client.clock_offset(cps.url, soon()) is not None


async def test_records_raise_what_they_should() -> None:
    """Outside the call path failures are exceptions, of errors.py only."""
    async with plain_client() as client:
        with pytest.raises(CpsUnavailable):
            await client.get_records("http://127.0.0.1:1", NUMBER, soon())
        with pytest.raises(UrlRefused):
            await client.get_records("gopher://x", NUMBER, soon())
        async with answering(lambda _: http(b"[]")) as url:
            with pytest.raises(MalformedAnswer):
                await client.get_records(url, NUMBER, soon())
        async with answering(lambda _: http(b"", "404 No")) as url:
            with pytest.raises(CpsRefused):
                await client.get_records(url, NUMBER, soon())
        async with answering(lambda _: b"") as url:
            with pytest.raises(CpsUnavailable, match="in time"):
                await client.put_record(url, NUMBER, "a.b.c", soon(0.02))


async def test_hundreds_at_once(run: Run) -> None:
    """Three hundred calls at the same time all store and all find what they stored."""
    async with run() as cps, plain_client() as client:

        async def call(number: str) -> bool:
            sealed = blob()
            [result] = await client.store([cps.url], number, [sealed], soon(30))
            async for answer in client.retrieve([(cps.url, number)], soon(30)):
                return result.reason is Reason.STORED and sealed in answer.blobs
            return False

        assert all(await asyncio.gather(*(call(f"1212555{n:04}") for n in range(300))))
