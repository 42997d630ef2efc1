"""A revocation list is read whole, understood, or refused."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedCertificate
from pbx_stir.stir import revocation_list
from pbx_stir.stir.revocation_list import CLOCK_SECONDS, parse_lists
from tests.stir import revoking
from tests.stir.conftest import DAY, NOW, Forge

FORGE = Forge()
ROOT = FORGE.root()
LEAF = FORGE.leaf(ROOT)
OTHER = FORGE.ca(None, "Other")
SERIAL = LEAF.cert.serial_number
GOOD = revoking.crl(ROOT, [SERIAL, 77])
INDIRECT = revoking.crl(
    OTHER,
    [revoking.entry(SERIAL, issuer=ROOT.cert.subject), 78, 79],
    says=revoking.point(indirect_crl=True, full_name=revoking.uri(revoking.URL)),
)


def test_a_list_is_indexed() -> None:
    """Issuer, times, size and entries are there; a certificate is found by issuer and serial."""
    (listed,) = parse_lists(GOOD)
    assert listed.issuer == ROOT.cert.subject
    assert (listed.this_update, listed.next_update) == (NOW - revoking.HOUR, NOW + DAY)
    assert listed.octets == len(GOOD)
    assert listed.entry(LEAF.cert) is not None
    assert listed.entry(FORGE.leaf(ROOT).cert) is None
    assert not listed.is_indirect


def test_the_same_serial_of_another_issuer_is_not_listed() -> None:
    """An entry of a direct list is of a certificate of the list's issuer."""
    (listed,) = parse_lists(revoking.crl(OTHER, [SERIAL]))
    assert listed.entry(LEAF.cert) is None


def test_an_indirect_list_goes_on_with_the_issuer_it_named() -> None:
    """RFC 5280 section 5.3.3: entries without an issuer are of that of the entry before."""
    (listed,) = parse_lists(INDIRECT)
    assert listed.is_indirect
    assert set(listed.entries[ROOT.cert.subject]) == {SERIAL, 78, 79}
    assert not listed.entries[OTHER.cert.subject]


def test_a_hold_is_told_from_a_revocation() -> None:
    """certificateHold may be taken back, every other reason not."""
    held = revoking.entry(SERIAL, reason=x509.ReasonFlags.certificate_hold)
    lost = revoking.entry(5, reason=x509.ReasonFlags.key_compromise)
    (listed,) = parse_lists(revoking.crl(ROOT, [held, lost]))
    entries = listed.entries[ROOT.cert.subject]
    assert (entries[SERIAL].on_hold, entries[5].on_hold) == (True, False)


def test_who_is_removed_from_the_list_is_not_listed() -> None:
    """RFC 5280 section 6.3.3 (k): removeFromCRL is as good as no entry."""
    gone = revoking.entry(SERIAL, reason=x509.ReasonFlags.remove_from_crl)
    (listed,) = parse_lists(revoking.crl(ROOT, [gone]))
    assert listed.entry(LEAF.cert) is None


def test_times_are_inclusive() -> None:
    """A list counts from thisUpdate, less what clocks may differ, to the end of nextUpdate."""
    (listed,) = parse_lists(GOOD)
    begins = NOW - revoking.HOUR - CLOCK_SECONDS
    assert listed.has_begun(begins)
    assert not listed.has_begun(begins - 1)
    assert not listed.is_over(NOW + DAY + 0.9)
    assert listed.is_over(NOW + DAY + 1)


def test_pem_files_hold_lists_and_certificates() -> None:
    """Text between blocks is nothing, certificates come along for every list."""
    first = revoking.crl(ROOT, [1], encoding=Encoding.PEM)
    second = revoking.crl(OTHER, [2], encoding=Encoding.PEM)
    lists = parse_lists(b"the lists\r\n" + first.replace(b"\n", b"\r\n") + ROOT.pem + second)
    assert [one.issuer for one in lists] == [ROOT.cert.subject, OTHER.cert.subject]
    assert [one.certificates for one in lists] == [(ROOT.cert,)] * 2


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        b"hello",
        LEAF.der,
        LEAF.pem,
        GOOD + b"\x00",
        GOOD[:-1],
        b"-----BEGIN X509 CRL-----\nAAAA",
        b"-----BEGIN X509 CRL-----\n!!!\n-----END X509 CRL-----\n",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        revoking.crl(ROOT, encoding=Encoding.PEM) * (revocation_list.MAX_LISTS + 1),
        b"\x30" * (revocation_list.MAX_OCTETS + 1),
    ],
)
def test_what_is_no_list_is_refused(octets: bytes) -> None:
    """Other octets, other things in DER, broken base64, too many and too much."""
    with pytest.raises(MalformedCertificate):
        parse_lists(octets)


@pytest.mark.parametrize(
    "octets",
    [
        revoking.crl(ROOT, extra=[(revoking.UNKNOWN, True)]),
        revoking.crl(ROOT, extra=[(x509.DeltaCRLIndicator(1), True)]),
        revoking.crl(ROOT, extra=[(x509.DeltaCRLIndicator(1), False)]),
        revoking.crl(ROOT, [revoking.entry(1, extra=[(revoking.UNKNOWN, True)])]),
        revoking.crl(ROOT, [revoking.entry(1, issuer=OTHER.cert.subject)]),
    ],
    ids=["critical", "delta", "lax delta", "critical in entry", "direct with issuers"],
)
def test_a_list_that_is_not_understood_is_refused_whole(octets: bytes) -> None:
    """RFC 5280 sections 5.2 and 5.3: no status is determined by such a list."""
    with pytest.raises(MalformedCertificate):
        parse_lists(octets)


def test_unknown_extensions_that_are_not_critical_change_nothing() -> None:
    """RFC 5280 section 5.2: they may be ignored."""
    odd = revoking.entry(SERIAL, extra=[(revoking.UNKNOWN, False)])
    (listed,) = parse_lists(revoking.crl(ROOT, [odd], extra=[(revoking.UNKNOWN, False)]))
    assert listed.entry(LEAF.cert) is not None


@given(st.sampled_from([GOOD, INDIRECT]), st.data())
def test_mutated_octets_are_a_list_or_malformed(good: bytes, data: st.DataObject) -> None:
    """Whatever octets are changed, nothing but MalformedCertificate comes out."""
    octets = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(octets) - 1))
        octets[where] = data.draw(st.integers(0, 255))
    try:
        lists = parse_lists(bytes(octets))
    except MalformedCertificate:
        return
    for one in lists:
        one.entry(LEAF.cert)
        one.is_over(NOW)


@given(st.binary(max_size=300))
def test_any_octets_are_a_list_or_malformed(octets: bytes) -> None:
    """Whatever comes, nothing but MalformedCertificate comes out."""
    for octet in (b"", b"\x30", b"-----BEGIN X509 CRL-----"):
        with pytest.raises(MalformedCertificate):
            parse_lists(octet + octets)


def test_a_list_names_one_signature_algorithm() -> None:
    """RFC 5280 section 5.1.1.2: the one outside is the one that was signed."""
    sha256, sha384 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040303")
    assert GOOD.count(sha256) == 2
    parse_lists(GOOD.replace(sha256, sha384))
    with pytest.raises(MalformedCertificate):
        parse_lists(GOOD.replace(sha256, sha384, 1))
