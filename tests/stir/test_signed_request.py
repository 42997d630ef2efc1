"""Signed requests and statements: good for one service, request, time and purpose."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import CertificateUntrusted, Malformed, RequestRefused
from pbx_stir.stir import credential as credentials
from pbx_stir.stir import jws, signed_request
from pbx_stir.stir.certificate import Anchors, find_path
from pbx_stir.stir.signed_request import RETRIEVAL, TOKEN_REQUEST, WINDOW_SECONDS
from pbx_stir.stir.statement import read_statement, sign_statement

NOW = 1_750_000_000
ASKED = {
    "audience": "cps.example.net",
    "method": "GET",
    "path": "/cps/12125551234/ppts",
    "body": b"",
}
EXPECTED = {
    "audiences": {"cps.example.net"},
    "method": "GET",
    "path": "/cps/12125551234/ppts",
    "body": b"",
}


@pytest.fixture(scope="module")
def root(forge):
    """A trusted root."""
    return forge.root()


@pytest.fixture(scope="module")
def signer(forge, root):
    """A company, through an authority."""
    ca = forge.ca(root)
    leaf = forge.leaf(ca, "Company")
    key = leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return credentials.load(leaf.pem + ca.pem, key, x5u="https://cert.example.com/a")


@pytest.fixture(scope="module")
def value(signer) -> str:
    """A request as it is sent."""
    return signed_request.sign_request(RETRIEVAL, now=NOW + 0.7, credential=signer, **ASKED)


def forged(value: str, signer, **claims) -> str:
    """Rightly signed, with other claims; ... takes one away."""
    good = jws.read(value.partition(" ")[2], typ=RETRIEVAL, max_octets=99_999)
    members = {**good.claims, **claims}
    token = jws.sign(good.header, {k: v for k, v in members.items() if v is not ...}, signer.key)
    return f"StirCredential {token}"


def checked(signed, *, anchors, now, **expected):
    """What whoever is asked does: the request's terms first, then its signer's path."""
    signed_request.check_terms(signed, now=now, **expected)
    return find_path(signed.statement.chain, anchors, now)


def test_a_request_is_read_and_trusted(value, root) -> None:
    """What was signed comes back, and its signer's path is given."""
    signed = signed_request.read_request(value, RETRIEVAL)
    assert (signed.audience, signed.method, signed.path) == tuple(ASKED.values())[:3]
    assert signed.iat == NOW
    anchors = Anchors.of([root.cert])
    path = checked(signed, anchors=anchors, now=NOW, **EXPECTED)
    assert path.signer == "Company"
    assert len(signed.statement.chain) == 2


def test_nonces_differ_unless_given(signer) -> None:
    """Each request has a nonce of its own, or the one that the service gave."""
    values = [
        signed_request.sign_request(RETRIEVAL, now=NOW, credential=signer, **ASKED)
        for _ in range(2)
    ]
    nonces = {signed_request.read_request(each, RETRIEVAL).nonce for each in values}
    assert len(nonces) == 2
    given_one = signed_request.sign_request(
        RETRIEVAL, now=NOW, credential=signer, nonce="n" * 16, **ASKED
    )
    assert signed_request.read_request(given_one, RETRIEVAL).nonce == "n" * 16


@pytest.mark.parametrize(
    "other",
    [
        {"audiences": {"other.example.net"}},
        {"method": "POST"},
        {"path": "/cps/12125551234/ppts/"},
        {"body": b"x"},
    ],
)
def test_another_request_is_refused(value, root, other) -> None:
    """A signature is good for one service, method, path and body."""
    signed = signed_request.read_request(value, RETRIEVAL)
    with pytest.raises(RequestRefused):
        checked(signed, anchors=Anchors.of([root.cert]), now=NOW, **(EXPECTED | other))


def test_another_time_is_refused(value, root) -> None:
    """It is good within the window before and after, to the second, and no longer."""
    signed = signed_request.read_request(value, RETRIEVAL)
    anchors = Anchors.of([root.cert])
    for edge in (-WINDOW_SECONDS, WINDOW_SECONDS):
        checked(signed, anchors=anchors, now=NOW + edge, **EXPECTED)
        beyond = NOW + edge + (1 if edge > 0 else -1)
        with pytest.raises(RequestRefused):
            checked(signed, anchors=anchors, now=beyond, **EXPECTED)


def test_a_stranger_is_untrusted(value, forge) -> None:
    """Another root's company is not heard."""
    signed = signed_request.read_request(value, RETRIEVAL)
    with pytest.raises(CertificateUntrusted):
        checked(signed, anchors=Anchors.of([forge.root().cert]), now=NOW, **EXPECTED)


def test_another_purpose_is_malformed(value) -> None:
    """What was signed to retrieve obtains no tokens."""
    with pytest.raises(Malformed):
        signed_request.read_request(value, TOKEN_REQUEST)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ...},
        {"more": 1},
        {"iat": True},
        {"iat": 1.0},
        {"iat": "1750000000"},
        {"iat": -1},
        {"jti": "short"},
        {"jti": "n" * 129},
        {"jti": "sixteen letters\n"},
        {"method": ""},
        {"path": "/cps/é"},
        {"path": "/" + "x" * 600},
        {"body": "AAAA"},
        {"body": 7},
        {"aud": ["cps.example.net"]},
    ],
)
def test_wrong_claims_are_malformed(value, signer, claims) -> None:
    """Each claim is there once, of its exact type and size, and no other is."""
    with pytest.raises(Malformed):
        signed_request.read_request(forged(value, signer, **claims), RETRIEVAL)


def test_a_broken_signature_is_malformed(value, signer) -> None:
    """The signature must hold under the certificate that came along."""
    head, _, signature = value.rpartition(".")
    broken = ("A" if signature[0] != "A" else "B") + signature[1:]
    with pytest.raises(Malformed):
        signed_request.read_request(f"{head}.{broken}", RETRIEVAL)
    for wrong in ("", "Bearer x", value.partition(" ")[2], "StirCredential"):
        with pytest.raises(Malformed):
            signed_request.read_request(wrong, RETRIEVAL)


@given(st.text(max_size=200))
def test_any_text_is_read_or_malformed(text) -> None:
    """Nothing but Malformed comes of text that is no request."""
    for each in (text, f"StirCredential {text}"):
        with pytest.raises(Malformed):
            signed_request.read_request(each, RETRIEVAL)


def test_statements_have_a_size_and_a_chain(signer) -> None:
    """A statement that would be too large is not made, one with another header not read."""
    with pytest.raises(Malformed):
        sign_statement("a", {"x": "y" * 40_000}, signer)
    token = sign_statement("a", {"x": 1}, signer)
    assert read_statement(token, "a").claims == {"x": 1}
    header = jws.read(token, typ="a", max_octets=99_999).header
    for change in ({"x5c": "text"}, {"x5c": ["%"]}, {"x5c": [1]}, {"x5c": []}, {"kid": "1"}):
        with pytest.raises(Malformed):
            read_statement(jws.sign({**header, **change}, {"x": 1}, signer.key), "a")
