"""The listener for unsealed PASSporTs: from whom it takes them, and to whom it gives them."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbx_stir.certificates import issuing
from pbx_stir.cps import serving
from pbx_stir.cps.bare import ANY, SIGNED, BareSettings
from pbx_stir.cps.listening import listening_bare
from pbx_stir.cps.settings import CpsSettings
from pbx_stir.cps.tally import Tally
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir import credential as credentials
from pbx_stir.stir.certificate import SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.signed_request import RETRIEVAL, SUBMISSION, TOKEN_REQUEST
from pbx_stir.stir.tnauthlist import TnAuthList
from pbx_stir.tokens.ledger import MemoryLedger

from .bare_listener import ALICE, BOB, PATH, Bare, running
from .conftest import NOW, Authority, Run, TlsFiles, private_pem, sealed
from .signing import authorization

UNSIGNED = {
    "another audience": {"audience": "other.example"},
    "another path": {"path": f"/cps/{ALICE}/ppts"},
    "another method": {"method": "PUT"},
    "another body": {"body": b"x"},
    "stale": {"now": NOW - 31},
    "of the future": {"now": NOW + 31},
    "signed to retrieve": {"typ": RETRIEVAL},
    "signed for tokens": {"typ": TOKEN_REQUEST},
}


@pytest.mark.parametrize("name", UNSIGNED)
async def test_a_submission_is_signed_for_itself(bare: Bare, name: str) -> None:
    """A signature for anything else authorises nothing."""
    token = bare.token().encode()
    fields: dict[str, object] = {"method": "POST", "typ": SUBMISSION, "body": token, "path": PATH}
    value = authorization(bare.alice, **(fields | UNSIGNED[name]))  # type: ignore[arg-type]
    answer = await bare.ask("POST", PATH, token, Authorization=value)
    assert (answer[0], answer[1]["WWW-Authenticate"]) == (401, "StirCredential")
    assert await bare.held() == []


@pytest.mark.parametrize("name", UNSIGNED)
async def test_a_retrieval_is_signed_for_itself(bare: Bare, name: str) -> None:
    """Neither another time, place nor purpose."""
    changes = {"signed to retrieve": {"typ": SUBMISSION}}.get(name, UNSIGNED[name])
    await bare.submit(bare.token())
    value = authorization(bare.bob, **({"path": PATH} | changes))  # type: ignore[arg-type]
    answer = await bare.ask("GET", PATH, Authorization=value)
    assert (answer[0], answer[1]["WWW-Authenticate"]) == (401, "StirCredential")


async def test_nobody_comes_in_unsigned(bare: Bare) -> None:
    """Neither to store nor to read, and nothing that is unreadable counts as signed."""
    token = bare.token().encode()
    assert (await bare.ask("POST", PATH, token))[0] == 401
    for value in ("StirCredential", "StirCredential a.b.c", "Bearer x", "StorageToken epoch=1"):
        assert (await bare.ask("POST", PATH, token, Authorization=value))[0] == 401
        assert (await bare.ask("GET", PATH, Authorization=value))[0] == 401
    assert (await bare.ask("GET", PATH))[0] == 401
    assert (await bare.ask("GET", f"{PATH}/{'A' * 22}"))[0] == 401


async def test_a_signed_request_is_used_once(bare: Bare) -> None:
    """Heard and sent again it is refused."""
    token = bare.token().encode()
    value = authorization(bare.alice, PATH, method="POST", typ=SUBMISSION, body=token)
    assert (await bare.ask("POST", PATH, token, Authorization=value))[0] == 201
    assert (await bare.ask("POST", PATH, token, Authorization=value))[0] == 401
    value = authorization(bare.bob, PATH)
    assert (await bare.ask("GET", PATH, Authorization=value))[0] == 200
    assert (await bare.ask("GET", PATH, Authorization=value))[0] == 401


@pytest.mark.parametrize("ledger", ["used", "ledger"])
async def test_a_signed_request_is_used_at_one_listener(
    authority: Authority, run: Run, ledger: str
) -> None:
    """What was signed for the sealed ones of a number is not taken a second time here."""
    shared = {ledger: MemoryLedger(lambda: NOW)}
    value = authorization(authority.credential(BOB), PATH, now=NOW)
    trust = {"anchors": lambda: authority.anchors}
    async with (
        run(**trust, **shared) as cps,
        running(authority, **{f"common_{ledger}": shared[ledger]}) as bare,
    ):
        async with bare.session.get(cps.url + PATH, headers={"Authorization": value}) as first:
            assert first.status == 200
        assert (await bare.ask("GET", PATH, Authorization=value))[0] == 401


async def test_strangers_are_not_trusted(bare: Bare) -> None:
    """A chain to another root neither stores nor retrieves."""
    other = Authority()
    assert (await bare.submit(bare.token(), credential=other.credential(ALICE)))[0] == 401
    assert (await bare.fetch(credential=other.credential(BOB)))[0] == 401


async def test_only_the_holder_of_the_number_retrieves(bare: Bare) -> None:
    """ "determine the range of TNAuthLists for which an OOB-VS is entitled to receive"."""
    status, headers, _ = await bare.submit(bare.token())
    assert status == 201
    for path in (PATH, f"{PATH}?expand=1", headers["Location"]):
        assert (await bare.fetch(path, credential=bare.alice))[0] == 401


async def test_a_code_retrieves_what_the_table_gives_it(authority: Authority) -> None:
    """A provider code alone entitles to nothing (RFC 9888 section 10); the table decides."""
    provider = authority_with_code(authority, "77")
    async with running(authority) as bare:
        assert (await bare.fetch(credential=provider))[0] == 401
        assert (await bare.submit(bare.token(), credential=provider))[0] == 201
    policy = SpcPolicy(table={"1310": frozenset({"77"})})
    async with running(authority, common_spc_policy=policy) as bare:
        assert (await bare.fetch(credential=provider))[0] == 200
        path = f"/cps/{ALICE}/ppts"
        assert (await bare.fetch(path, credential=provider))[0] == 401


def authority_with_code(authority: Authority, code: str) -> Credential:
    """A provider's credential under the same authority."""
    key = issuing.new_key()
    listed = TnAuthList(spcs=(code,))
    leaf = issuing.issue_leaf(
        authority._root, authority._key, key.public_key(), "Provider", listed, NOW - 1000, 20
    )
    return credentials.load(
        leaf.public_bytes(serialization.Encoding.PEM),
        private_pem(key),
        x5u="https://cert.example.com/p.pem",
    )


async def test_a_signer_has_its_own_rate(authority: Authority) -> None:
    """One that floods is told to wait; another one is not."""
    async with running(authority, signer_rate=2.0) as bare:
        statuses = [(await bare.submit(bare.token(jti=str(at))))[0] for at in range(3)]
        assert statuses == [201, 201, 429]
        answer = await bare.submit(bare.token(), credential=bare.bob)
        assert answer[0] == 201


async def test_there_is_a_rate_of_all(authority: Authority) -> None:
    """Submissions and retrievals each have theirs, with Retry-After."""
    async with running(authority, submission_rate=1.0, common_retrieval_rate=1.0) as bare:
        assert (await bare.submit(bare.token()))[0] == 201
        answer = await bare.submit(bare.token())
        assert (answer[0], answer[1]["Retry-After"]) == (429, "2")
        assert (await bare.fetch())[0] == 200
        assert (await bare.fetch())[0] == 429


@pytest.mark.parametrize("value", ["", "StirCredential a.b.c"])
async def test_who_may_not_submit_takes_nothing_of_the_rate_of_all(
    authority: Authority, value: str
) -> None:
    """Junk, signed or not, costs those who may submit nothing."""
    async with running(authority, submission_rate=1.0) as bare:
        headers = {"Authorization": value} if value else {}
        for _ in range(5):
            assert (await bare.ask("POST", PATH, b"x", **headers))[0] == 401
        assert (await bare.submit(bare.token()))[0] == 201


async def test_where_nobody_signs_an_address_has_its_own_rate(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address that floods leaves the rate of all to others."""
    peers = {"name": "192.0.2.1"}
    monkeypatch.setattr(serving, "_peer_name", lambda _: peers["name"])
    async with running(authority, submitters=ANY, signer_rate=2.0, submission_rate=4.0) as bare:
        statuses = [(await bare.ask("POST", PATH, b"x"))[0] for _ in range(9)]
        assert statuses == [400] * 2 + [429] * 7
        peers["name"] = "192.0.2.2"
        assert (await bare.ask("POST", PATH, bare.token().encode()))[0] == 201


async def test_open_listeners_ask_nobody(authority: Authority) -> None:
    """Where the configuration says any, nothing needs to be signed."""
    async with running(authority, submitters=ANY, retrieval=ANY, common_anchors=None) as bare:
        token = bare.token().encode()
        assert (await bare.ask("POST", PATH, token))[0] == 201
        status, _, body = await bare.ask("GET", f"{PATH}?expand=1")
        assert (status, token in body) == (200, True)
        assert (await bare.ask("POST", PATH, sealed()))[0] == 400


def test_settings_that_trust_nobody_are_refused() -> None:
    """Signed requests without anchors could never come; other words are mistakes."""
    for submitters, retrieval in ((SIGNED, ANY), (ANY, SIGNED)):
        with pytest.raises(ConfigurationError):
            BareSettings(CpsSettings(), submitters, retrieval)
    with pytest.raises(ConfigurationError):
        BareSettings(CpsSettings(), "all", ANY)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200), ("HEAD", "/health", 200), ("POST", "/health", 405),
        ("PUT", PATH, 405), ("DELETE", PATH, 405), ("POST", f"{PATH}/{'A' * 22}", 405),
        ("GET", f"/cps/{BOB}/keys", 404), ("PUT", f"/cps/{BOB}/keys", 404),
        ("GET", "/cps/1310*/ppts", 404), ("GET", "/cps/tokens", 404), ("POST", "/cps/tokens", 404),
        ("GET", "/cps/token-keys", 404), ("GET", "/", 404), ("GET", "/cps//ppts", 400),
        ("GET", "/cps/bob/ppts", 400), ("GET", f"/cps/{BOB}/../{BOB}/ppts", 404),
        ("GET", f"/cps/{'1' * 16}/ppts", 400), ("PATCH", "/cps", 404),
    ],
)  # fmt: skip
async def test_there_is_nothing_else(bare: Bare, method: str, path: str, status: int) -> None:
    """Sealed collections' other resources are not here, and methods are as they are there."""
    found, headers, _ = await bare.ask(method, path)
    assert found == status
    if status == 405:
        assert "POST" in headers["Allow"] or "GET" in headers["Allow"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(body=st.binary(max_size=300), value=st.text("\x20!aA.=,", max_size=60))
def test_any_octets_are_answered(body: bytes, value: str) -> None:
    """Whatever comes ends in a problem, never in a 5xx."""

    async def once() -> int:
        async with running(Authority(), submitters=ANY, retrieval=ANY) as bare:
            return (await bare.ask("POST", PATH, body, X_Other=value.strip()))[0]

    assert asyncio.run(once()) in {400, 413, 415}


async def test_answers_are_counted_apart_from_sealed_ones(authority: Authority) -> None:
    """By resources of this listener's own, without a number."""
    tally = Tally()
    settings = BareSettings(CpsSettings(port=0, tls=False), ANY, ANY)
    async with (
        listening_bare(settings, tally=tally) as url,
        aiohttp.ClientSession() as session,
    ):
        for path in (PATH, "/health", f"/cps/{BOB}/keys", "/cps/bob/ppts"):
            async with session.get(url + path) as response:
                await response.read()
    assert tally.requests == {
        ("bare-collection", "GET", 200): 1,
        ("bare-health", "GET", 200): 1,
        ("bare-none", "GET", 404): 1,
        ("bare-none", "GET", 400): 1,
    }


async def test_a_tls_client_may_show_its_certificate(
    authority: Authority, tls_files: TlsFiles, tmp_path: Path
) -> None:
    """RFC 9888 section 5's mutual TLS does as well, where it is asked for."""
    async with running(
        authority,
        common_tls=True,
        common_certificate=tls_files.certificate,
        common_key=tls_files.key,
        common_client_certificates=True,
    ) as bare:
        context = tls_files.trusting
        token = bare.token().encode()
        headers = {"Content-Type": "application/passport"}
        url = bare.url + PATH
        async with bare.session.post(url, data=token, headers=headers, ssl=context) as response:
            assert response.status == 401
        for credential, status in ((bare.bob, 200), (bare.alice, 401)):
            mutual = _trusting(tls_files)
            mutual.load_cert_chain(*_files(credential, tmp_path))
            async with aiohttp.ClientSession() as session:
                async with session.post(url, data=token, headers=headers, ssl=mutual) as response:
                    assert response.status == 201
                async with session.get(url, ssl=mutual) as response:
                    assert response.status == status


def _trusting(tls_files: TlsFiles) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls_files.certificate)


def _files(credential: Credential, folder: Path) -> tuple[Path, Path]:
    """Chain and key as a TLS client wants them."""
    pems = [
        x509.load_der_x509_certificate(one).public_bytes(serialization.Encoding.PEM)
        for one in credential.chain
    ]
    files = folder / "leaf.pem", folder / "leaf.key"
    files[0].write_bytes(b"".join(pems))
    files[1].write_bytes(private_pem(credential.key))
    return files
