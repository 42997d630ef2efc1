"""Family 21: who may have tokens, publish records and retrieve, and what does not show it.

One CPS, three kinds of request that a STIR credential signs, and every way in which one of them is
not the request that it should be. Each of them is refused, costs no token, leaves no record and
shows no entry.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from pbx_stir.cps.settings import HOLDERS
from pbx_stir.stir import jws, sealing
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.record import EncryptionKey, Record, sign_record
from pbx_stir.stir.signed_request import RETRIEVAL, SUBMISSION, TOKEN_REQUEST, sign_request
from pbx_stir.stir.statement import sign_statement
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens import exchange
from tests.cps.conftest import Running, sealed
from tests.cps.desk import Sender, desk
from tests.tokens.signers import Authority
from tests.tokens.spending import NOW, batch, token_request

HOST = "127.0.0.1"
NUMBER = "12125551234"
OTHER = "12125559999"
COLLECTION = f"/cps/{NUMBER}/ppts"
ROOT = Authority()
RANGE = TnAuthList(ranges=(("12125551200", 100),))
HOLDER = ROOT.credential(RANGE, name="Holder")
ELSEWHERE = ROOT.credential(TnAuthList(ranges=(("13105550000", 100),)), name="Elsewhere")
PROVIDER = ROOT.credential(TnAuthList(spcs=("1234",)), name="Provider")
STRANGER = Authority(name="Lab").credential(RANGE, name="Holder")
EXPIRED = ROOT.credential(RANGE, name="Holder", begins=NOW - 30 * 86_400, days=20)
DELEGATE = Authority(ROOT, name="Delegate").credential(RANGE, name="Deep")
TABLE = SpcPolicy(table={"1212": frozenset({"1234"})})


@asynccontextmanager
async def cps(**settings: object) -> AsyncIterator[tuple[Running, Sender]]:
    """A CPS with everything on, that trusts one authority."""
    chosen = {"anchors": lambda: ROOT.anchors, "retrieval": HOLDERS, "names": (HOST,)}
    async with desk(**(chosen | settings)) as (running, sender):
        yield running, sender


# --- requests for tokens


async def ask_for_tokens(
    sender: Sender, credential: Credential = HOLDER, *, nonce: str = "", **wrong: object
) -> int:
    """Ask for one token; gives the status."""
    body = exchange.format_request(batch())
    drawn = nonce or await sender.nonce()
    signed = bytes(wrong.pop("signed", body))  # type: ignore[call-overload]
    value = token_request(credential, drawn, signed, **({"audience": HOST} | wrong))  # type: ignore[arg-type]
    headers = {"Content_Type": "application/json", "Authorization": value}
    status, _, answered = await sender.ask("POST", exchange.TOKENS_PATH, body, **headers)
    assert (b"signatures" in answered) == (status == 201)
    return status


WRONG_REQUESTS: dict[str, dict[str, object]] = {
    "another audience": {"audience": "other.example"},
    "an audience with a port": {"audience": f"{HOST}:443"},
    "stale": {"now": NOW - 31},
    "of the future": {"now": NOW + 31},
    "signed to retrieve": {"typ": RETRIEVAL},
    "signed to submit": {"typ": SUBMISSION},
    "signed as a record": {"typ": "pbx-stir-record"},
    "signed as an advertisement": {"typ": "pbx-stir-advertisement"},
    "another path": {"path": COLLECTION},
    "another method": {"method": "GET"},
    "another body": {"signed": b"{}"},
    "a nonce of its own": {"nonce": "A" * 40},
}


@pytest.mark.parametrize("name", WRONG_REQUESTS)
async def test_family_21_authority_token_requests(name: str) -> None:
    """A request for tokens that is not for this CPS, now and this batch gets none."""
    async with cps() as (_, sender):
        assert await ask_for_tokens(sender, **WRONG_REQUESTS[name]) == 401  # type: ignore[arg-type]
        assert await ask_for_tokens(sender) == 201


@pytest.mark.parametrize("signer", [STRANGER, EXPIRED], ids=["a stranger", "expired"])
async def test_family_21_authority_tokens_are_for_the_trusted(signer: Credential) -> None:
    """Whose path does not hold is issued nothing, whatever his certificate says."""
    async with cps() as (_, sender):
        assert await ask_for_tokens(sender, signer) == 401


async def test_family_21_authority_token_nonces_are_used_once() -> None:
    """A nonce buys one batch, also for somebody else, and no longer than it lives."""
    async with cps() as (_, sender):
        nonce = await sender.nonce()
        assert await ask_for_tokens(sender, nonce=nonce) == 201
        assert await ask_for_tokens(sender, nonce=nonce) == 409
        assert await ask_for_tokens(sender, DELEGATE, nonce=nonce) != 201


# --- signed retrievals


@dataclass
class Seen:
    """What one retrieval gave: its status, and whether the real entry was in it."""

    status: int
    real: bool


async def retrieve(
    running: Running, sender: Sender, value: str | None, path: str = COLLECTION
) -> Seen:
    """Retrieve the list and, where it is there, the entry itself."""
    entry_id = await running.store.add(NUMBER, sealed(), running.clock())
    headers = {} if value is None else {"Authorization": value}
    status, _, body = await sender.ask("GET", path, **headers)
    return Seen(status, entry_id.encode() in body)


def to_retrieve(credential: Credential = HOLDER, **wrong: object) -> str:
    """The header of a retrieval."""
    fields: dict[str, object] = {
        "typ": RETRIEVAL,
        "audience": HOST,
        "method": "GET",
        "path": COLLECTION,
        "body": b"",
        "now": NOW,
        "credential": credential,
    }
    fields |= wrong
    return sign_request(fields.pop("typ"), **fields)  # type: ignore[arg-type]


WRONG_RETRIEVALS: dict[str, dict[str, object]] = {
    "another audience": {"audience": "other.example"},
    "stale": {"now": NOW - 31},
    "of the future": {"now": NOW + 31},
    "signed for tokens": {"typ": TOKEN_REQUEST},
    "signed to submit": {"typ": SUBMISSION},
    "another number's path": {"path": f"/cps/{OTHER}/ppts"},
    "the same path, spelt otherwise": {"path": f"/cps/+{NUMBER}/ppts"},
    "another query": {"path": f"{COLLECTION}?expand=1"},
    "another method": {"method": "POST"},
    "a body that is not there": {"body": b"x"},
}


@pytest.mark.parametrize("name", WRONG_RETRIEVALS)
async def test_family_21_authority_retrievals(name: str) -> None:
    """A signature over another request shows nothing, and says so."""
    async with cps() as (running, sender):
        wrong = await retrieve(running, sender, to_retrieve(**WRONG_RETRIEVALS[name]))
        assert wrong == Seen(401, real=False)
        assert await retrieve(running, sender, to_retrieve()) == Seen(200, real=True)


@pytest.mark.parametrize("signer", [STRANGER, EXPIRED], ids=["a stranger", "expired"])
async def test_family_21_authority_retrievals_are_for_the_trusted(signer: Credential) -> None:
    """Whose path does not hold is nobody."""
    async with cps() as (running, sender):
        assert await retrieve(running, sender, to_retrieve(signer)) == Seen(401, real=False)


async def test_family_21_authority_retrieval_nonces_are_used_once() -> None:
    """Who heard a signed retrieval cannot ask the same again."""
    async with cps() as (running, sender):
        value = to_retrieve()
        assert await retrieve(running, sender, value) == Seen(200, real=True)
        assert await retrieve(running, sender, value) == Seen(401, real=False)


@pytest.mark.parametrize("value", ["StirCredential", "StirCredential ..", "Bearer x", "x"])
async def test_family_21_authority_retrievals_without_a_signature(value: str) -> None:
    """What is no signed request is not taken for one."""
    async with cps() as (running, sender):
        assert not (await retrieve(running, sender, value)).real


async def test_family_21_authority_uncovered_numbers_show_dummies_alone() -> None:
    """A right signature for somebody else's number: all looks as ever, and the entry is not there.

    A provider code without a table covers nothing, with one what the table says.
    """
    async with cps() as (running, sender):
        for signer in (ELSEWHERE, PROVIDER):
            assert await retrieve(running, sender, to_retrieve(signer)) == Seen(200, real=False)
        assert await retrieve(running, sender, None) == Seen(200, real=False)
        assert await retrieve(running, sender, to_retrieve(DELEGATE)) == Seen(200, real=True)
    async with cps(spc_policy=TABLE) as (running, sender):
        assert await retrieve(running, sender, to_retrieve(PROVIDER)) == Seen(200, real=True)


# --- records


def record(credential: Credential = HOLDER, *, serial: int = 1, **changes: object) -> str:
    """A signed record for the number."""
    fields: dict[str, object] = {
        "numbers": (NUMBER,),
        "cps": ("https://cps.example",),
        "keys": (EncryptionKey(sealing.public_octets(sealing.new_private_key())),),
        "serial": serial,
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 3_600,
    }
    return sign_record(Record(**(fields | changes)), credential)  # type: ignore[arg-type]


async def publish(sender: Sender, token: str, number: str = NUMBER) -> int:
    """Put a record; gives the status."""
    path = f"/cps/{number}/keys"
    status, _, _ = await sender.ask("PUT", path, token.encode(), Content_Type="application/jose")
    return status


async def published(sender: Sender, number: str = NUMBER) -> list[str]:
    """What is published for a number."""
    status, _, body = await sender.ask("GET", f"/cps/{number}/keys")
    assert status == 200
    return list(json.loads(body)["records"])


def as_another_typ(typ: str) -> str:
    """A record's claims, signed as something else."""
    claims = jws.read(record(), typ="pbx-stir-record", max_octets=32_768).claims
    return sign_statement(typ, claims, HOLDER)


WRONG_RECORDS = {
    "not of the signer's numbers": lambda: record(ELSEWHERE),
    "more than the signer's numbers": lambda: record(numbers=(NUMBER, OTHER)),
    "a range that goes beyond": lambda: record(numbers=("12125551200-12125551300",)),
    "a code without a table": lambda: record(PROVIDER),
    "a stranger's": lambda: record(STRANGER),
    "an expired signer's": lambda: record(EXPIRED),
    "over": lambda: record(iat=int(NOW) - 7_200, exp=int(NOW) - 3_600),
    "of the future": lambda: record(iat=int(NOW) + 60, exp=int(NOW) + 3_600),
    "for another number": lambda: record(numbers=("12125551235",)),
    "signed to retrieve": lambda: as_another_typ(RETRIEVAL),
    "signed for tokens": lambda: as_another_typ(TOKEN_REQUEST),
    "signed as an advertisement": lambda: as_another_typ("pbx-stir-advertisement"),
    "a retrieval": lambda: to_retrieve().partition(" ")[2],
}


@pytest.mark.parametrize("name", WRONG_RECORDS)
async def test_family_21_authority_records(name: str) -> None:
    """A record that its signer may not make, or of another kind, is not kept."""
    async with cps() as (_, sender):
        assert await publish(sender, WRONG_RECORDS[name]()) == 400
        assert await published(sender) == []
        right = record()
        assert await publish(sender, right) in {200, 201, 204}
        assert await published(sender) == [right]


async def test_family_21_authority_record_paths() -> None:
    """A record is put under a number that it names, whatever else its signer has."""
    async with cps() as (_, sender):
        token = record()
        assert await publish(sender, token, "12125551235") == 400
        assert await publish(sender, token, OTHER) == 400
        assert await published(sender) == []


async def test_family_21_authority_records_are_not_replayed() -> None:
    """Of one signer a lower serial is refused after a higher one, a tombstone included."""
    async with cps() as (_, sender):
        old, new = record(serial=1), record(serial=2)
        assert await publish(sender, new) in {200, 201, 204}
        assert await publish(sender, old) == 409
        tombstone = record(serial=3, keys=(), revoked=True)
        assert await publish(sender, tombstone) in {200, 201, 204}
        assert await publish(sender, new) == 409
        assert await published(sender) == [tombstone]


async def test_family_21_authority_a_table_gives_a_code_its_numbers() -> None:
    """With the table a provider publishes for what is its own, and for nothing else."""
    async with cps(spc_policy=TABLE) as (_, sender):
        assert await publish(sender, record(PROVIDER)) in {200, 201, 204}
        wrong = record(PROVIDER, numbers=("13105550000",))
        assert await publish(sender, wrong, "13105550000") == 400
