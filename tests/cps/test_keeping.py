"""The CPS's records of keys, over HTTP."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from time import monotonic

import aiohttp
import pytest

from pbx_stir.cps import client as client_room
from pbx_stir.cps import serving
from pbx_stir.cps.client import CpsClient
from pbx_stir.cps.records import CheckedRecord, Shelved
from pbx_stir.cps.shelf import MemoryShelf, RecordPage
from pbx_stir.errors import CertificateUnavailable, StoreUnavailable
from pbx_stir.stir.certificate import Path
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.record import sign_record

from .conftest import NOW, Authority, Run
from .records import NUMBER, OTHER, checked, record

JOSE = {"Content-Type": "application/jose"}


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has both numbers."""
    return authority.credential(NUMBER, OTHER)


async def test_over_http(run: Run, authority: Authority, company: Credential) -> None:
    """PUT and GET of /keys: 204, 409 for an old serial, 400 for strangers, 415, 413."""
    stranger = authority.credential(OTHER, name="stranger")
    plain = record(serial=3, cps="http://127.0.0.1:8480")
    token = sign_record(record(serial=2), company)
    jose = "application/jose"
    steps = [
        (token, jose, 204),
        (token, jose, 409),
        (sign_record(record(serial=3), stranger), jose, 400),
        (sign_record(record(OTHER, serial=3), company), jose, 400),
        ("not a record", jose, 400),
        ("\u00e9", jose, 400),
        (token, "text/plain", 415),
        ("x" * 40_000, jose, 413),
        # A CPS without TLS is a lab on loopback, and may be named so.
        (sign_record(plain, company), jose, 204),
    ]
    trust = {"anchors": lambda: authority.anchors, "tokens": True}
    async with run(**trust) as cps, aiohttp.ClientSession() as http:
        path = f"{cps.url}/cps/+1.212.555.1234/keys"
        for body, content_type, status in steps:
            headers = {"Content-Type": content_type}
            async with http.put(path, data=body.encode(), headers=headers) as response:
                assert (response.status, body[:20]) == (status, body[:20])
        async with http.get(f"{cps.url}/cps/{NUMBER}/keys") as response:
            assert json.loads(await response.read()) == {"records": [steps[-1][0]]}
            assert response.headers["Cache-Control"] == "no-store"
        async with http.get(f"{cps.url}/cps/16465550000/keys") as response:
            assert (response.status, await response.json()) == (200, {"records": []})


async def test_one_address_does_not_take_the_rate_of_all(
    run: Run, authority: Authority, company: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Junk from one address costs a holder at another one nothing."""
    peers = {"name": "192.0.2.1"}
    monkeypatch.setattr(serving, "_peer_name", lambda _: peers["name"])
    limits = {"record_rate": 3.0, "record_rate_of_a_peer": 1.0}
    async with (
        run(anchors=lambda: authority.anchors, **limits) as cps,
        aiohttp.ClientSession() as http,
    ):
        path = f"{cps.url}/cps/{NUMBER}/keys"
        for status in (400, 400, 429, 429, 429):
            async with http.put(path, data=b"x", headers=JOSE) as response:
                assert response.status == status
        peers["name"] = "192.0.2.2"
        token = sign_record(record(serial=2), company)
        async with http.put(path, data=token.encode(), headers=JOSE) as response:
            assert response.status == 204


async def test_by_prefix(run: Run) -> None:
    """A prefix gives the records of all its numbers, in pages that name the next one."""
    shelf = MemoryShelf()
    for each in range(100):
        number = str(12125550000 + each)
        await shelf.put(number, checked(number, signer=b"%d" % each), NOW)
    found: list[str] = []
    async with run(shelf=shelf) as cps, aiohttp.ClientSession() as http:
        path = "/cps/+1.212.555*/keys"
        while path:
            async with http.get(cps.url + path) as response:
                assert response.status == 200
                page = await response.json()
            found += page["records"]
            path = page.get("next", "")
        for name, status in {"2*": 200, "*": 400, "12*34": 400, "1212555%2A": 200}.items():
            async with http.get(f"{cps.url}/cps/{name}/keys") as response:
                assert (name, response.status) == (name, status)
        async with http.put(f"{cps.url}/cps/1212*/keys", headers=JOSE) as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert len(found) == len(set(found)) == 100


async def test_without_anchors_no_record_is_taken(run: Run, company: Credential) -> None:
    """503 says that anchors are missing; the empty list is there all the same."""
    async with run() as cps, aiohttp.ClientSession() as session:
        path = f"{cps.url}/cps/{NUMBER}/keys"
        async with session.put(path, data=sign_record(record(), company), headers=JOSE) as response:
            assert response.status == 503
            assert "anchors" in await response.text()
        async with session.get(path) as response:
            assert await response.json() == {"records": []}


class Lost:
    """A shelf that is not there."""

    async def put(self, number: str, record: CheckedRecord, now: float) -> Shelved:
        """Fail."""
        raise StoreUnavailable("disk on fire")

    async def tokens(self, number: str, now: float) -> Sequence[str]:
        """Fail."""
        raise StoreUnavailable("disk on fire")

    async def under(self, prefix: str, now: float, after: str = "") -> RecordPage:
        """Fail."""
        raise StoreUnavailable("disk on fire")

    async def sweep(self, now: float) -> None:
        """Fail."""
        raise StoreUnavailable("disk on fire")


class Unknown:
    """Knows of no certificate whether it is revoked, and takes that for a reason."""

    def check(self, path: Path, now: float) -> None:
        """Refuse."""
        raise CertificateUnavailable("no list")


async def test_what_is_lost_is_said(run: Run, authority: Authority, company: Credential) -> None:
    """A database that does not answer is 503 with Retry-After, and no word of it goes out."""
    token = sign_record(record(), company)
    trust = {"anchors": lambda: authority.anchors}
    async with run(shelf=Lost(), **trust) as cps, aiohttp.ClientSession() as http:
        for method, path in (("GET", NUMBER), ("GET", "1212*"), ("PUT", NUMBER)):
            url = f"{cps.url}/cps/{path}/keys"
            async with http.request(method, url, data=token, headers=JOSE) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
                assert "fire" not in await response.text()
    async with run(revocation=Unknown(), **trust) as cps, aiohttp.ClientSession() as http:
        url = f"{cps.url}/cps/{NUMBER}/keys"
        async with http.put(url, data=token, headers=JOSE) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "60")


async def test_the_client_reads_every_page(run: Run) -> None:
    """All records under a prefix, each once, and that they are all; of no other prefix."""
    shelf = MemoryShelf()
    numbers = [str(12125550000 + each) for each in range(150)]
    for number in [*numbers, "16465551234"]:
        await shelf.put(number, checked(number, signer=number.encode()), NOW)
    client = CpsClient(allow_plain=True)
    async with run(shelf=shelf) as cps:
        tokens, whole = await client.get_records_under(cps.url, "1212555", monotonic() + 10)
        assert (len(tokens), len(set(tokens)), whole) == (150, 150, True)
        assert await client.get_records_under(cps.url, "44", monotonic() + 10) == ((), True)
    await client.close()


async def test_pages_without_end_are_cut(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPS that always has one page more, or the same again, gets no further, and it is said."""

    class Endless(MemoryShelf):
        asked = 0
        names = itertools.count(1)

        async def under(self, prefix: str, now: float, after: str = "") -> RecordPage:
            self.asked += 1
            return RecordPage(("x" * 1000,), f"1.{next(self.names)}")

    shelf = Endless()
    client = CpsClient(allow_plain=True)
    async with run(shelf=shelf) as cps:
        for name, most, asked in (("MOST_PAGES", 5, 5), ("MOST_OCTETS_UNDER", 2500, 3)):
            monkeypatch.setattr(client_room, name, most)
            shelf.asked = 0
            tokens, whole = await client.get_records_under(cps.url, "1", monotonic() + 10)
            assert (len(tokens), whole, shelf.asked) == (1, False, asked)
        shelf.names = itertools.repeat(7)
        shelf.asked = 0
        assert (await client.get_records_under(cps.url, "1", monotonic() + 10))[1] is False
        assert shelf.asked == 2
    await client.close()
