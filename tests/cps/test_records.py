"""Tests of pbx_stir.cps.records, and of the server's part in it."""

from __future__ import annotations

import json

import aiohttp
import pytest

from pbx_stir.cps.records import RecordShelf, Shelved
from pbx_stir.errors import MalformedRecord, Refused
from pbx_stir.stir import sealing
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.record import EncryptionKey, Record, sign_record

from .conftest import NOW, Authority, Run

NUMBER = "12125551234"
OTHER = "12125551235"


def record(
    *numbers: str, serial: int = 1, keys: int = 1, hours: int = 24, cps: str = "https://cps.example"
) -> Record:
    """A record with fresh keys; a tombstone where there are none."""
    return Record(
        numbers=numbers or (NUMBER,),
        cps=(cps,),
        keys=tuple(
            EncryptionKey(sealing.public_octets(sealing.new_private_key())) for _ in range(keys)
        ),
        serial=serial,
        iat=int(NOW) - 10,
        exp=int(NOW) + hours * 3600,
        revoked=not keys,
    )


@pytest.fixture
def shelf(authority: Authority) -> RecordShelf:
    """An empty shelf that trusts the lab's authority."""
    return RecordShelf(authority.anchors, SpcPolicy())


@pytest.fixture(scope="module")
def company(authority: Authority) -> Credential:
    """Who has both numbers."""
    return authority.credential(NUMBER, OTHER)


def test_an_unknown_number_has_none(shelf: RecordShelf) -> None:
    """Nothing is kept of a number until somebody puts it."""
    assert shelf.tokens(NUMBER, NOW) == ()


def test_a_record_is_found_under_all_its_numbers(shelf: RecordShelf, company: Credential) -> None:
    """Put under one number, it is given for each that it names, and for no other."""
    token = sign_record(record(f"{NUMBER}-{OTHER}"), company)
    assert shelf.put(NUMBER, token, NOW) is Shelved.KEPT
    assert shelf.tokens(NUMBER, NOW) == shelf.tokens(OTHER, NOW) == (token,)
    assert shelf.tokens("12125551236", NOW) == shelf.tokens("1212555123", NOW) == ()


def test_serials_only_grow(shelf: RecordShelf, company: Credential) -> None:
    """A newer record takes the older one's place; the same or an older one is refused."""
    tokens = [sign_record(record(serial=serial), company) for serial in (5, 5, 4, 6)]
    got = [shelf.put(NUMBER, token, NOW) for token in tokens]
    assert got == [Shelved.KEPT, Shelved.NOT_NEWER, Shelved.NOT_NEWER, Shelved.KEPT]
    assert shelf.tokens(NUMBER, NOW) == (tokens[3],)
    assert len(shelf) == 1


def test_a_tombstone_bars_what_it_revoked(shelf: RecordShelf, company: Credential) -> None:
    """After a tombstone an older record does not come back, and the tombstone is given out."""
    old = sign_record(record(serial=1), company)
    tombstone = sign_record(record(serial=2, keys=0), company)
    assert [shelf.put(NUMBER, each, NOW) for each in (old, tombstone, old)] == [
        Shelved.KEPT,
        Shelved.KEPT,
        Shelved.NOT_NEWER,
    ]
    assert shelf.tokens(NUMBER, NOW) == (tombstone,)


def test_a_newer_record_of_fewer_numbers_leaves_the_others(
    shelf: RecordShelf, company: Credential
) -> None:
    """Of each number the signer's newest record that names it is given."""
    both = sign_record(record(NUMBER, OTHER, serial=1), company)
    one = sign_record(record(NUMBER, serial=2), company)
    for token in (both, one):
        assert shelf.put(NUMBER, token, NOW) is Shelved.KEPT
    assert shelf.tokens(NUMBER, NOW) == (one,)
    assert shelf.tokens(OTHER, NOW) == (both,)
    assert shelf.put(NUMBER, both, NOW) is Shelved.NOT_NEWER


def test_records_expire(shelf: RecordShelf, company: Credential) -> None:
    """An expired record is not given, and a sweep frees it."""
    shelf.put(NUMBER, sign_record(record(hours=1), company), NOW)
    assert shelf.tokens(NUMBER, NOW + 3600) == ()
    shelf.sweep(NOW + 3600)
    assert len(shelf) == 0
    assert (shelf._by_prefix, shelf._octets) == ({}, 0)


def test_eight_keys_a_number(shelf: RecordShelf, authority: Authority) -> None:
    """Four signers with two keys each fill a number; a fifth is refused, the four may renew."""
    signers = [authority.credential(NUMBER, name=f"company {n}") for n in range(5)]
    for signer in signers[:4]:
        token = sign_record(record(keys=2), signer)
        assert shelf.put(NUMBER, token, NOW) is Shelved.KEPT
    assert shelf.put(NUMBER, sign_record(record(), signers[4]), NOW) is Shelved.TOO_MANY
    newer = sign_record(record(serial=2, keys=2), signers[0])
    assert shelf.put(NUMBER, newer, NOW) is Shelved.KEPT
    assert len(shelf.tokens(NUMBER, NOW)) == 4


def test_tombstones_are_bounded(shelf: RecordShelf, authority: Authority) -> None:
    """Records without keys take room too: sixteen of a number are enough."""
    for each in range(16):
        signer = authority.credential(NUMBER, name=f"company {each}")
        assert shelf.put(NUMBER, sign_record(record(keys=0), signer), NOW) is Shelved.KEPT
    signer = authority.credential(NUMBER)
    assert shelf.put(NUMBER, sign_record(record(keys=0), signer), NOW) is Shelved.TOO_MANY


def test_memory_is_bounded(authority: Authority, company: Credential) -> None:
    """A full shelf says so, and keeps what it has."""
    shelf = RecordShelf(authority.anchors, SpcPolicy(), max_octets=6000)
    first = sign_record(record(), company)
    assert shelf.put(NUMBER, first, NOW) is Shelved.KEPT
    assert shelf.put(OTHER, sign_record(record(OTHER), company), NOW) is Shelved.FULL
    assert shelf.tokens(NUMBER, NOW) == (first,)


def test_a_record_for_another_number_is_not_kept(shelf: RecordShelf, company: Credential) -> None:
    """A record is put under one of its own numbers."""
    token = sign_record(record(OTHER), company)
    assert shelf.put(NUMBER, token, NOW) is Shelved.NOT_THIS_NUMBER


def test_a_stranger_is_refused(shelf: RecordShelf, authority: Authority) -> None:
    """Without authority over the number, or under another root, nothing is kept."""
    for signer in (authority.credential(OTHER), Authority().credential(NUMBER)):
        with pytest.raises(Refused):
            shelf.put(NUMBER, sign_record(record(), signer), NOW)
    with pytest.raises(MalformedRecord):
        shelf.put(NUMBER, "a.b.c", NOW)
    assert len(shelf) == 0


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
    async with run(anchors=authority.anchors, tokens=True) as cps, aiohttp.ClientSession() as http:
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


async def test_without_anchors_no_record_is_taken(run: Run, company: Credential) -> None:
    """503 says that anchors are missing; the empty list is there all the same."""
    async with run() as cps, aiohttp.ClientSession() as session:
        path = f"{cps.url}/cps/{NUMBER}/keys"
        headers = {"Content-Type": "application/jose"}
        async with session.put(
            path, data=sign_record(record(), company), headers=headers
        ) as response:
            assert response.status == 503
            assert "anchors" in await response.text()
        async with session.get(path) as response:
            assert await response.json() == {"records": []}
