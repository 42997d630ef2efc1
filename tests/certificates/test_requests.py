"""Tests of pbx_stir.certificates.requests: what is asked for, and that the asker has the key."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates.issuing import new_key
from pbx_stir.certificates.requests import new_request, parse_request
from pbx_stir.errors import ConfigurationError, MalformedCertificate
from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

KEY = new_key()
ASKED = TnAuthList(ranges=(("12125551200", 100),), numbers=("16465550000",))


def request(
    name: str | None = "Alice",
    der: bytes | None = ASKED.encode(),
    key: ec.EllipticCurvePrivateKey = KEY,
) -> bytes:
    """A request as anybody might make it."""
    names = [] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    if der is not None:
        wanted = x509.UnrecognizedExtension(OID_TN_AUTH_LIST, der)
        builder = builder.add_extension(wanted, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_a_request_says_who_asks_for_what() -> None:
    """Name, numbers and public key come back as they were put in; the private key does not."""
    text = new_request("Alice Ltd", ASKED, KEY)
    found = parse_request(text)
    assert (found.name, found.asked) == ("Alice Ltd", ASKED)
    assert found.public_key == KEY.public_key()
    assert b"PRIVATE" not in text


def test_an_impossible_name_is_said() -> None:
    """X.509 has no common name of more than 64 characters."""
    with pytest.raises(ConfigurationError, match="common name"):
        new_request("x" * 65, ASKED, KEY)


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "PEM"),
        (b"x" * 100_000, "octets"),
        (request(name=None), "no name"),
        (request(name="\u001b[2J"), "no name"),
        (request(der=None), "no numbers"),
        (request(der=b"\x30\x00"), "TNAuthList"),
        (request(key=ec.generate_private_key(ec.SECP384R1())), "P-256"),
    ],
    ids=["empty", "large", "nameless", "unprintable", "nothing", "broken list", "P-384"],
)
def test_what_cannot_be_certified_is_refused(octets: bytes, said: str) -> None:
    """Each mistake in words of its own."""
    with pytest.raises(MalformedCertificate, match=said):
        parse_request(octets)


def test_nobody_asks_for_anothers_key() -> None:
    """A request whose signature is not its key's is refused: who asks has the key."""
    der = bytearray(x509.load_pem_x509_csr(request()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    changed = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(MalformedCertificate, match="its own key"):
        parse_request(changed)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_octets_are_a_request_or_malformed(octets: bytes, at: int) -> None:
    """Whatever is sent, also a request that was damaged on its way."""
    good = request()
    for one in (octets, good[:at] + octets + good[at + len(octets) :]):
        try:
            parse_request(one)
        except MalformedCertificate:
            continue
