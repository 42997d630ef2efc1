"""Tests of pbx_stir.cps.storing: which stores are taken, with and without storage tokens."""

from __future__ import annotations

import asyncio
import json

import pytest

from pbx_stir.cps import accepting, answers
from pbx_stir.cps.settings import CpsSettings
from tests.tokens.spending import EPOCH, NAME, NOW, purse

from .conftest import Run, sealed
from .desk import HOST, dated, desk, detail
from .peers import COLLECTION, Peer, _typed, raw


async def test_without_a_token_nothing_is_stored(run: Run) -> None:
    """Where tokens are asked for a store is 401 whatever its body, and the body is not read."""
    async with run(tokens=True) as cps, Peer(cps) as peer:
        for body, kind in ((sealed(), "application/passport"), (b"x" * 100_000, "text/html")):
            status, headers, said = await peer.ask("POST", COLLECTION, body, **_typed(kind))
            assert status == 401
            assert "WWW-Authenticate" in dict(headers)
            assert "token" in json.loads(said)["detail"]
        assert len(cps.store) == 0
    assert CpsSettings().tokens is True


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/passport", 201),
        ("Application/Passport; charset=us-ascii", 201),
        ("text/plain", 415),
        ("application/passport+x", 415),
        ("application/json", 415),
        ("", 415),
    ],
)
async def test_the_content_type_is_strict(run: Run, content_type: str, status: int) -> None:
    """application/passport, parameters tolerated, nothing else."""
    async with run() as cps, Peer(cps) as peer:
        got, _, _ = await peer.ask("POST", COLLECTION, sealed(), **_typed(content_type))
        assert got == status


async def test_a_coded_body_is_refused(run: Run) -> None:
    """Nothing is decompressed: a bomb is 415."""
    async with run() as cps, Peer(cps) as peer:
        got, _, _ = await peer.ask(
            "POST", COLLECTION, sealed(), Content_Encoding="gzip", **_typed()
        )
        assert got == 415


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"A", 400),
        (b"A" * 5000, 400),
        (b"A" * 5526, 201),
        (b"A" * 5525, 400),
        (b"A" * 5528, 413),
        (b"A" * 8288, 413),
        (b"A" * 8289, 413),
        (b"A" * 1_000_000, 413),
        (b"+" * 5526, 400),
        (b"\x00" * 5526, 400),
        (b"A" * 5525 + b"B", 400),
        (b"eyJhbGciOiJFUzI1NiJ9.e30.AAAA", 400),
        (b" " + b"A" * 2000 + b"\r\n " + b"A" * 3526 + b"==\r\n", 201),
    ],
)
async def test_one_size_for_everything(run: Run, body: bytes, status: int) -> None:
    """Only base64url of exactly one sealed size is stored; folding and padding are tolerated."""
    async with run() as cps, Peer(cps) as peer:
        got, _, _ = await peer.ask("POST", COLLECTION, body, **_typed())
        assert got == status
        assert len(cps.store) == (status == 201)


async def test_a_body_in_chunks_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of no announced length is cut off as soon as it is too long."""
    monkeypatch.setattr(accepting, "LINGER_SECONDS", 0.1)
    async with run() as cps:
        head = (
            f"POST {COLLECTION} HTTP/1.1\r\nHost: x\r\nContent-Type: application/passport\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        ).encode()
        chunk = b"1000\r\n" + b"A" * 4096 + b"\r\n"
        answer = await raw(cps, head, chunk, chunk, chunk)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_slow_body_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come is a problem, and the connection closed."""
    monkeypatch.setattr(answers, "BODY_SECONDS", 0.01)
    monkeypatch.setattr(accepting, "LINGER_SECONDS", 0.1)
    async with run() as cps:
        answer = await raw(
            cps,
            f"POST {COLLECTION} HTTP/1.1\r\nHost: x\r\nContent-Type: application/passport\r\n"
            "Content-Length: 5526\r\n\r\nAAAA".encode(),
        )
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"in time" in answer
        assert len(cps.store) == 0


async def test_a_store_with_a_token_is_201() -> None:
    """Sixteen stores, and the seventeenth is 429; what was stored is listed."""
    token = purse()
    async with desk() as (cps, sender):
        said = await sender.store(token)
        assert said[0] == 201
        assert said[1]["Location"] in await sender.hrefs()
        for _ in range(15):
            assert (await sender.store(token))[0] == 201
        said = await sender.store(token)
        assert (said[0], said[1]["Retry-After"]) == (429, "1")
        assert "another token" in detail(said)
        assert len(cps.store) == 16


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"\xff" * 6000, b"A" * 5462, b"A" * 900_000, sealed()],
    ids=["empty", "json", "octets", "letters", "huge", "sealed"],
)
async def test_a_store_without_a_token_is_401_whatever_its_body(body: bytes) -> None:
    """A problem document, a challenge and the time; nothing is kept."""
    async with desk() as (cps, sender):
        said = await sender.send(body)
        assert (said[0], said[1]["WWW-Authenticate"]) == (401, "StorageToken")
        assert "storage token" in detail(said)
        assert dated(said)
        assert len(cps.store) == 0


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 0\r\n",
        b"Content-Length: 99999999\r\nExpect: 100-continue\r\n",
        b"Content-Length: 5526\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 5526\r\nAuthorization: StorageToken epoch=1\r\n",
        b"Content-Length: 5526\r\nAuthorization: \xff\xfe\r\n",
        b"",
    ],
)
async def test_401_waits_for_no_body(head: bytes) -> None:
    """Headers are enough: no body is asked for, waited for or read, whatever they announce."""
    async with desk() as (cps, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
        writer.write(f"POST {COLLECTION} HTTP/1.1\r\nHost: a\r\n".encode() + head + b"\r\n")
        line = await asyncio.wait_for(reader.readline(), 10)
        assert line == b"HTTP/1.1 401 Unauthorized\r\n"
        writer.close()


async def test_a_client_that_sends_it_all_first_reads_its_401() -> None:
    """Millions of octets on the way are no reason to hang up before the answer is read."""
    async with desk() as (cps, _):
        head = f"POST {COLLECTION} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        body = b"A" * 8_000_000
        said = await raw(cps, (head + f"Content-Length: {len(body)}\r\n\r\n").encode(), body)
        assert said.startswith(b"HTTP/1.1 401 ")


async def test_a_store_is_refused_with_its_reason() -> None:
    """Wrong CPS, epoch and time, replay and signature: status, words, challenge and Date."""
    token, wire = purse(), sealed()
    value = token.authorization(wire, host=HOST)
    async with desk() as (cps, sender):
        assert (await sender.send(wire, Authorization=value))[0] == 201
        for status, words, said in (
            (409, "used before", await sender.send(wire, Authorization=value)),
            (401, "time", await sender.store(token, now=NOW - 31)),
            (401, "time", await sender.store(token, now=NOW + 31)),
            (401, "epoch", await sender.store(purse(EPOCH + 1))),
            (401, "proof", await sender.store(token, host="other.example")),
            (401, "proof", await sender.store(token, number="12125551235")),
            (401, "proof", await sender.store(token, content_type="text/plain")),
            (401, "signed", await sender.store(purse(which=1))),
            (401, "signed", await sender.store(token.changed(randomizer=bytes(32)))),
            (401, "host", await sender.send(wire, Authorization=value, Host="other.example")),
            (401, "parameters", await sender.send(wire, Authorization="StorageToken epoch=1")),
        ):
            assert said[0] == status
            assert words in detail(said)
            assert dated(said)
            assert ("WWW-Authenticate" in said[1]) is (status == 401)
        assert len(cps.store) == 1


async def test_the_token_comes_before_type_and_size_and_form_after_it() -> None:
    """With a good token: 415, 413 and 400, in this order; a body of garbage is paid for."""
    async with desk(stores_per_token=1) as (cps, sender):
        token = purse()
        value = token.authorization(b"x", host=HOST)
        said = await sender.send(b"x", Authorization=value, Content_Type="text/plain")
        assert said[0] == 415
        said = await sender.send(b"x" * 100_000, Authorization=value)
        assert said[0] == 413
        assert (await sender.store(token, b"?"))[0] == 400
        assert (await sender.store(token))[0] == 429
        assert len(cps.store) == 0


async def test_names_and_ports_are_told_apart() -> None:
    """The host that is signed has no port and is in lower case, whichever of our names it is."""
    async with desk() as (cps, sender):
        token = purse()
        for host in (f"{NAME}:{cps.port}", NAME.upper(), NAME):
            wire = sealed()
            value = token.authorization(wire, host=NAME)
            assert (await sender.send(wire, Authorization=value, Host=host))[0] == 201


async def test_a_greedy_token_drops_its_own_entries_first() -> None:
    """Entries are counted under their token: a flood pushes out no entry of another one."""
    async with desk(max_entries_of_a_number=4) as (_, sender):
        honest = (await sender.store(purse()))[1]["Location"]
        greedy = purse()
        for _ in range(10):
            assert (await sender.store(greedy))[0] == 201
        assert honest in await sender.hrefs()
