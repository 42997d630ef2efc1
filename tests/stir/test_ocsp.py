"""OCSP answers count when the issuer, or somebody it chose for that, has signed them."""

from __future__ import annotations

import base64
import urllib.parse

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import CertificateUnavailable, MalformedCertificate
from pbx_stir.stir.ocsp import (
    MAX_OCTETS,
    UNDATED_SECONDS,
    Said,
    parse_answer,
    request_url,
    said_of,
)
from pbx_stir.stir.revocation_list import CLOCK_SECONDS
from pbx_stir.stir.x5u import EgressRule, check_url
from tests.stir import revoking
from tests.stir.conftest import DAY, NOW, Forge, Issued

FORGE = Forge()
ROOT = FORGE.root()
LEAF = FORGE.leaf(ROOT)
STRANGER = FORGE.root("Stranger")
REVOKED = ocsp.OCSPCertStatus.REVOKED
FOR_OCSP = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), False)
SIGNS = FORGE.usage(digital_signature=True)


def responder(issuer: Issued = ROOT, **wrong: object) -> Issued:
    """Somebody whom the issuer lets answer."""
    settings: dict[str, object] = {"ca": False, "usage_bits": SIGNS, "extra": [FOR_OCSP]}
    return FORGE.make(issuer, "Responder", **(settings | wrong))  # type: ignore[arg-type]


def said(octets: bytes, now: float = NOW) -> Said:
    """What an answer says of LEAF."""
    return said_of(parse_answer(octets), LEAF.cert, ROOT.cert, now)


def test_the_request_is_a_url_that_may_be_fetched() -> None:
    """RFC 6960 appendix A.1: base64, escaped, after the responder's URL; short as RFC 5019 asks."""
    url = request_url("http://ocsp.example.com/a/", LEAF.cert, ROOT.cert)
    check_url(url, EgressRule(ports=frozenset({80}), schemes=frozenset({"http"})))
    assert url.startswith("http://ocsp.example.com/a/M")
    asked = ocsp.load_der_ocsp_request(
        base64.b64decode(urllib.parse.unquote(url.rpartition("/")[2]))
    )
    assert asked.serial_number == LEAF.cert.serial_number
    assert len(url) <= 255


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA256(), hashes.SHA384()])
def test_the_issuer_itself_answers(algorithm: hashes.HashAlgorithm) -> None:
    """Good and revoked are told, with whatever hash the responder names certificates."""
    assert said(revoking.answer(LEAF, ROOT, algorithm=algorithm)) is Said.GOOD
    gone = revoking.answer(LEAF, ROOT, status=REVOKED, algorithm=algorithm)
    assert said(gone) is Said.REVOKED
    lost = revoking.answer(LEAF, ROOT, status=ocsp.OCSPCertStatus.UNKNOWN)
    assert said(lost) is Said.NOTHING


def test_a_chosen_responder_answers() -> None:
    """RFC 6960 section 4.2.2.2: a certificate of the issuer with id-kp-OCSPSigning."""
    assert said(revoking.answer(LEAF, ROOT, responder=responder())) is Said.GOOD
    no_check = (x509.OCSPNoCheck(), False)
    quiet = responder(extra=[FOR_OCSP, no_check], usage_bits=None)
    assert said(revoking.answer(LEAF, ROOT, responder=quiet, status=REVOKED)) is Said.REVOKED


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra": []},
        {"extra": [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)]},
        {"extra": [FOR_OCSP, (revoking.UNKNOWN, True)]},
        {"usage_bits": FORGE.usage(key_agreement=True)},
        {"not_after": NOW - 1},
        {"not_before": NOW + 1},
        {"signing_key": FORGE.key()},
        {"issuer_name": "Else"},
        {"digest": hashes.SHA224()},
    ],
)
def test_a_responder_that_was_not_chosen_says_nothing(wrong: dict[str, object]) -> None:
    """No purpose, not understood, not for signatures, not now, or not of this issuer."""
    assert said(revoking.answer(LEAF, ROOT, responder=responder(**wrong))) is Said.NOTHING


def test_others_say_nothing() -> None:
    """A stranger's answer, the leaf's own, one with another key, and one of another certificate."""
    for impostor in (STRANGER, FORGE.root()):
        octets = revoking.answer(LEAF, ROOT, responder=impostor, status=REVOKED)
        assert said(octets) is Said.NOTHING
    of_stranger = responder(STRANGER)
    assert said(revoking.answer(LEAF, ROOT, responder=of_stranger)) is Said.NOTHING
    assert said(revoking.answer(LEAF, ROOT, responder=LEAF)) is Said.NOTHING
    assert said(revoking.answer(FORGE.leaf(ROOT), ROOT)) is Said.NOTHING
    assert said(revoking.answer(LEAF, STRANGER, responder=ROOT)) is Said.NOTHING
    assert said(revoking.answer(LEAF, ROOT, digest=hashes.SHA224())) is Said.NOTHING


def test_rsa_issuers_answer() -> None:
    """RSASSA-PKCS1-v1_5 with SHA-256 counts."""
    root = FORGE.root(key=rsa.generate_private_key(65537, 2048))
    leaf = FORGE.leaf(root)
    got = parse_answer(revoking.answer(leaf, root))
    assert said_of(got, leaf.cert, root.cert, NOW) is Said.GOOD
    assert said_of(got, leaf.cert, ROOT.cert, NOW) is Said.NOTHING


def test_answers_have_their_time() -> None:
    """From thisUpdate, less what clocks may differ, to nextUpdate; an hour without one."""
    octets = revoking.answer(LEAF, ROOT, this_update=NOW, next_update=NOW + DAY)
    assert said(octets, NOW - CLOCK_SECONDS) is Said.GOOD
    assert said(octets, NOW - CLOCK_SECONDS - 1) is Said.NOTHING
    assert said(octets, NOW + DAY) is Said.GOOD
    assert said(octets, NOW + DAY + 1) is Said.NOTHING
    undated = revoking.answer(LEAF, ROOT, this_update=NOW, next_update=None)
    assert said(undated, NOW + UNDATED_SECONDS) is Said.GOOD
    assert said(undated, NOW + UNDATED_SECONDS + 1) is Said.NOTHING


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30\x00",
        LEAF.der,
        revoking.answer(LEAF, ROOT)[:-1],
        revoking.answer(LEAF, ROOT) + b"\x00",
        revoking.answer(LEAF, ROOT, extra=[(revoking.UNKNOWN, True)]),
        b"\x30" * (MAX_OCTETS + 1),
    ],
)
def test_what_is_no_answer_is_refused(octets: bytes) -> None:
    """Other octets, an extension that is not understood, too much."""
    with pytest.raises(MalformedCertificate):
        parse_answer(octets)


def test_a_responder_without_an_answer_is_unavailable() -> None:
    """tryLater and the like are no answer."""
    octets = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    with pytest.raises(CertificateUnavailable, match="try_later"):
        parse_answer(octets.public_bytes(Encoding.DER))


OF_RESPONDER = revoking.answer(LEAF, ROOT, responder=responder())


@given(st.data())
def test_mutated_octets_say_nothing_or_are_refused(data: st.DataObject) -> None:
    """Whatever octets are changed, there is an answer of ours or an error of ours."""
    octets = bytearray(OF_RESPONDER)
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, len(octets) - 1))
        octets[where] = data.draw(st.integers(0, 255))
    try:
        result = said(bytes(octets))
    except (MalformedCertificate, CertificateUnavailable):
        return
    assert result is not Said.REVOKED


@given(st.binary(max_size=200))
def test_any_octets_are_refused(octets: bytes) -> None:
    """Whatever comes, nothing but an error of ours comes out."""
    for first in (b"", b"\x30"):
        with pytest.raises((MalformedCertificate, CertificateUnavailable)):
            parse_answer(first + octets)
