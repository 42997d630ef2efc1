"""Tests of pbx_stir.cps.server: what is answered to what, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import logging
import re
import textwrap

import aiohttp
import pytest
import requests

from pbx_stir.cps import accepting, answers, serving
from pbx_stir.cps.dummies import EpochSecrets
from pbx_stir.cps.limits import PeerBuckets
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.errors import StoreUnavailable
from pbx_stir.stir import sealing

from .conftest import Run, Running, sealed

NUMBER = "12125551234"
COLLECTION = f"/cps/{NUMBER}/ppts"
PASSPORT = {"Content-Type": "application/passport"}
ID = re.compile(r"[A-Za-z0-9_-]{22}")


class Peer:
    """A client without a session's conveniences: status, headers and body of single requests."""

    def __init__(self, cps: Running) -> None:
        self._cps = cps
        self._session = aiohttp.ClientSession(auto_decompress=False)

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Send one request, its path as it is."""
        url = aiohttp.client.URL(self._cps.url + path, encoded=True)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method, url, data=body, headers=named, allow_redirects=False
        ) as response:
            pairs = [(name, value) for name, value in response.headers.items()]
            return response.status, pairs, await response.read()

    async def store(self, path: str = COLLECTION, wire: bytes | None = None) -> str:
        """Store one; give its Location."""
        status, headers, _ = await self.ask("POST", path, wire or sealed(), **_typed())
        assert status == 201
        return dict(headers)["Location"]

    async def hrefs(self, path: str = COLLECTION) -> list[str]:
        """List a collection."""
        status, _, body = await self.ask("GET", path)
        assert status == 200
        return json.loads(body)["ppts"]


def _typed(value: str = "application/passport") -> dict[str, str]:
    """A content type as Peer takes it."""
    return {"Content_Type": value}


async def raw(cps: Running, *chunks: bytes) -> bytes:
    """Send octets as they are, and read until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cps.port)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


async def test_an_unknown_number_is_never_empty(run: Run) -> None:
    """At least one entry on every retrieval, and each is there to be fetched."""
    async with run() as cps, Peer(cps) as peer:
        hrefs = await peer.hrefs()
        assert len(hrefs) in (2, 3)
        for href in hrefs:
            status, _, body = await peer.ask("GET", href)
            assert status == 200
            assert sealing.looks_sealed(sealing.from_wire(body))


async def test_store_list_fetch(run: Run) -> None:
    """What is stored is listed first, and comes back with and without a trailing slash."""
    wire = sealed()
    async with run() as cps, Peer(cps) as peer:
        location = await peer.store(wire=wire)
        assert (await peer.hrefs())[0] == location
        for path in (location, location + "/"):
            status, headers, body = await peer.ask("GET", path)
            assert (status, body) == (200, wire)
            named = dict(headers)
            assert named["Content-Type"] == "application/passport"
            assert named["Link"] == f'<{COLLECTION}>; rel="collection"'
            assert named["Cache-Control"] == "no-store"


async def test_all_forms_of_a_number_are_one(run: Run) -> None:
    """Dotted, plus, percent-encoded and plain: one collection, hrefs in the canonical form."""
    async with run() as cps, Peer(cps) as peer:
        location = await peer.store("/cps/1.212.555.1234/ppts")
        assert location.startswith("/cps/12125551234/ppts/")
        for form in ("12125551234", "+12125551234", "%2B12125551234", "1.212.555.1234"):
            assert location in await peer.hrefs(f"/cps/{form}/ppts")


async def test_an_expanded_list_has_it_all(run: Run) -> None:
    """?expand=1 gives href and passport of every entry, as each by itself would be."""
    async with run() as cps, Peer(cps) as peer:
        await peer.store()
        status, headers, body = await peer.ask("GET", COLLECTION + "?expand=1")
        assert (status, dict(headers)["Content-Type"]) == (200, "application/json")
        items = json.loads(body)["ppts"]
        assert [item["href"] for item in items] == await peer.hrefs()
        for item in items:
            assert (await peer.ask("GET", item["href"]))[2] == item["passport"].encode()


async def test_a_uri_list_has_lines(run: Run) -> None:
    """Accept: text/uri-list gives the same hrefs, one a line."""
    async with run() as cps, Peer(cps) as peer:
        await peer.store()
        status, headers, body = await peer.ask("GET", COLLECTION, Accept="text/uri-list")
        assert (status, dict(headers)["Content-Type"]) == (200, "text/uri-list")
        assert body.decode().split() == await peer.hrefs()
        assert body.endswith(b"\r\n")


async def test_dummy_and_real_look_the_same(run: Run) -> None:
    """Status, header names, order and values, size and id form do not tell which is which."""
    async with run() as cps, Peer(cps) as peer:
        dummies = await peer.hrefs()
        await peer.store(
            wire=textwrap.indent("\n".join(textwrap.wrap(sealed().decode())), " ").encode()
        )
        hrefs = await peer.hrefs()
        assert set(dummies) < set(hrefs)
        seen = set()
        for href in hrefs:
            status, headers, body = await peer.ask("GET", href)
            untimed = tuple(pair for pair in headers if pair[0] != "Date")
            order = tuple(name for name, _ in headers)
            seen.add((status, untimed, order, len(body), len(href)))
            assert ID.fullmatch(href.rpartition("/")[2])
            assert re.fullmatch(rb"[A-Za-z0-9_-]+", body)
        assert len(seen) == 1


async def test_unknown_and_expired_and_foreign_ids_are_one_404(run: Run) -> None:
    """An id that never was, one of another number and an expired one cannot be told apart."""
    async with run() as cps, Peer(cps) as peer:
        location = await peer.store()
        entry_id = location.rpartition("/")[2]
        answers = [
            await peer.ask("GET", f"/cps/16465550000/ppts/{entry_id}"),
            await peer.ask("GET", f"{COLLECTION}/{'A' * 22}"),
            await peer.ask("GET", f"{COLLECTION}/ppt1"),
        ]
        cps.clock.moment += 30
        answers.append(await peer.ask("GET", location))
        assert {status for status, _, _ in answers} == {404}
        assert len({body for _, _, body in answers}) == 1
        assert len({tuple(n for n, _ in headers) for _, headers, _ in answers}) == 1


async def test_real_and_dummy_live_equally_long(run: Run) -> None:
    """A real entry is fetched until just before its lifetime is over, and gone then."""
    async with run(lifetime_seconds=5) as cps, Peer(cps) as peer:
        location = await peer.store()
        cps.clock.moment += 4.999
        assert (await peer.ask("GET", location))[0] == 200
        cps.clock.moment += 0.001
        assert (await peer.ask("GET", location))[0] == 404
        assert location not in await peer.hrefs()


async def test_a_get_stores_nothing(run: Run) -> None:
    """Asking for many numbers leaves the store as it was."""
    async with run() as cps, Peer(cps) as peer:
        for number in range(50):
            await peer.ask("GET", f"/cps/1212555{number:04}/ppts?expand=1")
        assert (len(cps.store), cps.store.octets) == (0, 0)


async def test_a_list_has_at_most_64(run: Run) -> None:
    """A collection flooded to its cap is listed whole, dummies among it."""
    async with run() as cps, Peer(cps) as peer:
        wire = sealed()
        for _ in range(70):
            cps.clock.moment += 0.001
            await cps.store.add(NUMBER, wire, cps.clock.moment)
        dummies = await peer.hrefs("/cps/16465550000/ppts")
        assert len(await peer.hrefs()) - 61 in (2, 3)
        assert len(dummies) in (2, 3)


@pytest.mark.parametrize("path", [COLLECTION, COLLECTION + "?expand=1", "/health"])
async def test_head_is_harmless(run: Run, path: str) -> None:
    """HEAD gives GET's headers without the body, and changes nothing."""
    async with run() as cps, Peer(cps) as peer:
        got, head = await peer.ask("GET", path), await peer.ask("HEAD", path)
        assert head[2] == b""
        assert [n for n, _ in head[1]] == [n for n, _ in got[1]]
        assert dict(head[1])["Content-Length"] == str(len(got[2]))


async def test_health(run: Run) -> None:
    """/health answers, for whoever watches."""
    async with run() as cps, Peer(cps) as peer:
        status, _, body = await peer.ask("GET", "/health")
        assert (status, json.loads(body)) == (200, {"status": 200, "message": "OK"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/cps/12125551234", 404),
        ("GET", "/cps/12125551234/ppts/", 404),
        ("GET", "/cps/12125551234%2Fppts", 404),
        ("GET", "/cps/../../etc/passwd", 404),
        ("GET", "/cps/%2e%2e/ppts", 400),
        ("GET", "/cps/12125551234/ppts/..%2f..%2fhealth", 404),
        ("GET", "/cps/anna/ppts", 400),
        ("GET", "/cps/1212-555-1234/ppts", 400),
        ("POST", "/cps/1234567890123456/ppts", 400),
        ("DELETE", COLLECTION, 405),
        ("OPTIONS", COLLECTION, 405),
        ("TRACE", "/health", 405),
        ("PUT", COLLECTION, 405),
        ("POST", f"{COLLECTION}/{'A' * 22}", 405),
        ("POST", "/health", 405),
        ("POST", f"/cps/{NUMBER}/keys", 405),
        ("PUT", f"/cps/{NUMBER}/keys", 503),
    ],
)
async def test_wrong_requests_are_problems(run: Run, method: str, path: str, status: int) -> None:
    """Whatever is wrong: problem+json with its status, no-store, Date, no version of anything."""
    async with run() as cps, Peer(cps) as peer:
        got, headers, body = await peer.ask(method, path)
        assert got == status
        named = dict(headers)
        assert named["Content-Type"] == "application/problem+json"
        assert named["Cache-Control"] == "no-store"
        assert email.utils.parsedate_to_datetime(named["Date"])
        assert named["Server"] == "pbx-stir"
        assert json.loads(body)["status"] == status
        assert NUMBER not in body.decode()
        assert ("Allow" in named) == (status == 405)


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


async def test_continue_is_said_only_to_a_body_that_is_wanted(run: Run) -> None:
    """Expect: 100-continue gets its 100 after the cheap checks, and a refusal without one."""
    head = (
        f"POST {COLLECTION} HTTP/1.1\r\nHost: x\r\nContent-Type: application/passport\r\n"
        "Expect: 100-continue\r\nContent-Length: 5526\r\nConnection: close\r\n\r\n"
    ).encode()
    async with run() as cps:
        answer = await raw(cps, head, sealed())
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")
    async with run(tokens=True) as cps:
        assert (await raw(cps, head, sealed())).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(1000)) + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_problem(
    run: Run, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Octets that are no request get one answer, no version, no line in the log."""
    caplog.set_level(logging.DEBUG)
    async with run() as cps:
        answer = await raw(cps, octets)
        head = answer.partition(b"\r\n\r\n")[0]
        assert re.match(rb"HTTP/1\.[01] 400 ", head)
        assert b"application/problem+json" in head
        assert b"aiohttp" not in answer
        assert b"Server: pbx-stir" in head
    assert not [each for each in caplog.records if each.levelno > logging.DEBUG]


async def test_too_many_retrievals_are_429(run: Run) -> None:
    """The overall rate is kept, and says when to come again."""
    async with run(retrieval_rate=3) as cps, Peer(cps) as peer:
        got = [await peer.ask("GET", COLLECTION) for _ in range(4)]
        assert [status for status, _, _ in got] == [200, 200, 200, 429]
        assert dict(got[3][1])["Retry-After"] == "1"
        assert (await peer.ask("GET", "/health"))[0] == 200
        cps.clock.moment += 1
        assert (await peer.ask("GET", COLLECTION))[0] == 200


async def test_too_many_stores_are_429(run: Run) -> None:
    """Stores have a rate of their own, and retrievals do not suffer from it."""
    async with run(store_rate=1) as cps, Peer(cps) as peer:
        await peer.store()
        assert (await peer.ask("POST", COLLECTION, sealed(), **_typed()))[0] == 429
        assert (await peer.ask("GET", COLLECTION))[0] == 200


async def test_a_peer_has_a_rate_unless_local(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback has no limit of its own; any other peer has."""
    async with run(peer_rate=2) as cps, Peer(cps) as peer:
        assert {(await peer.ask("GET", "/health"))[0] for _ in range(20)} == {200}
        monkeypatch.setattr(serving, "_peer_name", lambda _: "192.0.2.1")
        got = [(await peer.ask("GET", "/health"))[0] for _ in range(3)]
        assert got == [200, 200, 429]


async def test_the_default_rate_allows_ten_thousand() -> None:
    """At least 10,000 retrievals a second by default."""
    assert CpsSettings().retrieval_rate >= 10_000


async def test_nothing_personal_is_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Right and wrong requests, even ones that fail inside, leave no number and no peer."""
    caplog.set_level(logging.DEBUG)
    async with run() as cps, Peer(cps) as peer:
        await peer.store()
        await peer.hrefs()
        await peer.ask("GET", f"{COLLECTION}/x")
        await raw(cps, b"GET /cps/12125551234/ppts HTTP/x\r\n\r\n")

        def failing(*_: object) -> None:
            raise RuntimeError(f"about {NUMBER}")

        cps.store.entries = failing  # type: ignore[method-assign, assignment]
        status, _, body = await peer.ask("GET", COLLECTION)
        assert status == 503
        assert NUMBER.encode() not in body
    assert any("RuntimeError" in each.getMessage() for each in caplog.records)
    assert NUMBER not in caplog.text
    assert "127.0.0.1" not in caplog.text.replace("<socket", "")


async def test_memory_is_freed_while_nobody_asks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand entries go by themselves once they have expired."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.001)
    async with run() as cps:
        wire = sealed()
        for number in range(10_000):
            await cps.store.add(f"1212{number:07}", wire, cps.clock.moment)
        assert len(cps.store) == 10_000
        cps.clock.moment += 30
        async with asyncio.timeout(10):
            while len(cps.store):  # noqa: ASYNC110 the sweep tells nobody
                await asyncio.sleep(0)
        assert cps.store.octets == 0


class Fetched(EpochSecrets):
    """The dummies' secrets of an hour that was prepared, from a place that can be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.is_lost = False
        self.asked = 0
        self._prepared: set[int] = set()

    def of(self, epoch: int) -> bytearray:
        """Give what was prepared."""
        if epoch not in self._prepared:
            raise StoreUnavailable("not fetched")
        return super().of(epoch)

    async def prepare(self, first: int, last: int) -> None:
        """Fetch."""
        self.asked += 1
        if self.is_lost:
            raise StoreUnavailable("lost")
        self._prepared |= set(range(first, last + 1))


async def test_it_recovers_however_long_the_secrets_were_lost(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours without them, and looks all the time: a sweep after their return all is well."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.001)
    secrets = Fetched()
    async with run(secrets=secrets) as cps, Peer(cps) as peer:
        assert (await peer.ask("GET", COLLECTION))[0] == 200
        secrets.is_lost = True
        cps.clock.moment += 7_800
        assert (await peer.ask("GET", COLLECTION))[0] == 503
        secrets.is_lost = False
        async with asyncio.timeout(10):
            while (await peer.ask("GET", COLLECTION))[0] != 200:
                cps.clock.moment += 0.02


async def test_what_a_sweep_cannot_do_stops_nothing_else(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A step that fails, whatever the error, is said once by its type, and the others go on."""
    monkeypatch.setattr(serving, "SWEEP_SECONDS", 0.001)

    def failing(*_: object) -> None:
        raise ValueError(NUMBER)

    monkeypatch.setattr(PeerBuckets, "sweep", failing)
    secrets = Fetched()
    async with run(secrets=secrets) as cps:
        await cps.store.add(NUMBER, sealed(), cps.clock.moment)
        cps.clock.moment += 30
        async with asyncio.timeout(10):
            while len(cps.store) or secrets.asked < 5:  # noqa: ASYNC110 the sweep tells nobody
                await asyncio.sleep(0.001)
    said = [one.getMessage() for one in caplog.records if "not swept" in one.getMessage()]
    assert said == ["not swept: ValueError"]


async def test_many_at_once(run: Run) -> None:
    """Hundreds of concurrent stores and retrievals of one number and many lose nothing."""
    async with run() as cps, Peer(cps) as peer:
        paths = [f"/cps/1212555{n % 20:04}/ppts" for n in range(300)]
        locations = await asyncio.gather(*(peer.store(path) for path in paths))
        assert len(set(locations)) == 300
        lists = await asyncio.gather(*(peer.hrefs(path) for path in paths[:20]))
        assert {href for each in lists for href in each} >= set(locations)


async def test_an_independent_client_understands_it(run: Run) -> None:
    """Another HTTP implementation stores, lists and fetches as RFC 8816 section 9 shows."""

    def talk(url: str) -> None:
        wire = sealed().decode()
        folded = "\n".join("   " + line for line in textwrap.wrap(wire, 64))
        with requests.Session() as session:
            stored = session.post(
                f"{url}/cps/2.222.555.2222/ppts", data=folded, headers=PASSPORT, timeout=5
            )
            assert stored.status_code == 201
            listed = session.get(f"{url}/cps/2.222.555.2222/ppts", timeout=5)
            assert stored.headers["Location"] in listed.json()["ppts"]
            item = session.get(f"{url}{stored.headers['Location']}/", timeout=5)
            assert item.headers["Content-Type"] == "application/passport"
            assert item.text == wire
            assert base64.urlsafe_b64decode(item.text + "==")
            assert session.head(f"{url}/cps/22225552222/ppts", timeout=5).status_code == 200
            assert session.get(f"{url}/nothing", timeout=5).json()["status"] == 404

    async with run() as cps:
        await asyncio.to_thread(talk, cps.url)
