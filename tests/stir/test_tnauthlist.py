"""What pbx_stir.stir.tnauthlist promises."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedCertificate
from pbx_stir.stir.tnauthlist import MAX_ENTRIES, OID_TN_AUTH_LIST, TnAuthList

SPC_1234 = bytes.fromhex("3008a006160431323334")


@pytest.fixture(scope="module")
def published(vectors: Path) -> dict[str, str]:
    """The public RFC 8226 and RFC 9118 vectors."""
    return dict(json.loads((vectors / "rfc/rfc8226_rfc9118_asn1.json").read_text()))


def tlv(tag: int, *content: bytes) -> bytes:
    """Encode one short DER element."""
    inside = b"".join(content)
    if len(inside) < 128:
        return bytes((tag, len(inside))) + inside
    return bytes((tag, 0x82)) + len(inside).to_bytes(2, "big") + inside


def one(number: bytes) -> bytes:
    """Encode a single-number entry."""
    return tlv(0xA2, tlv(0x16, number))


def span(start: bytes, count: bytes) -> bytes:
    """Encode a range entry with the INTEGER's octets as given."""
    return tlv(0xA1, tlv(0x30, tlv(0x16, start), tlv(0x02, count)))


def test_public_vector_reads_and_encodes_to_itself(published: dict[str, str]) -> None:
    """The list of the RFC 8226 module's test reads as published and encodes to the same octets."""
    der = base64.b64decode(published["TNAuthorizationList_der_b64"])
    read = TnAuthList.parse(der)
    assert read == TnAuthList(("bogus",), (("5715551212", 788),), ("7035551212",))
    assert read.encode() == der
    assert read.has_numbers


@pytest.mark.parametrize(
    ("name", "spc"), [("rfc8226_cert_pem", "fake"), ("rfc9118_cert_pem", "1234")]
)
def test_published_certificates(published: dict[str, str], name: str, spc: str) -> None:
    """The extension of the certificates printed in RFC 8226 and RFC 9118 reads as their SPC."""
    leaf = x509.load_pem_x509_certificate(published[name].encode())
    extension = leaf.extensions.get_extension_for_oid(OID_TN_AUTH_LIST).value
    assert isinstance(extension, x509.UnrecognizedExtension)
    read = TnAuthList.parse(extension.value)
    assert read == TnAuthList(spcs=(spc,))
    assert not read.has_numbers


MALFORMED = {
    "nothing": b"",
    "empty list": tlv(0x30),
    "IMPLICIT tag": tlv(0x30, tlv(0x80, b"1234")),
    "tag [3]": tlv(0x30, tlv(0xA3, tlv(0x16, b"1234"))),
    "SPC as UTF8String": tlv(0x30, tlv(0xA0, tlv(0x0C, b"1234"))),
    "SPC beyond ASCII": tlv(0x30, tlv(0xA0, tlv(0x16, b"12\xff4"))),
    "empty SPC": tlv(0x30, tlv(0xA0, tlv(0x16))),
    "SPC with a line break": tlv(0x30, tlv(0xA0, tlv(0x16, b"12\n4"))),
    "SET for SEQUENCE": tlv(0x31, one(b"1")),
    "octets after the list": SPC_1234 + b"\x00",
    "octets inside an entry": tlv(0x30, tlv(0xA0, tlv(0x16, b"1234"), b"\x05\x00")),
    "non-minimal length": b"\x30\x81\x08" + SPC_1234[2:],
    "indefinite length": b"\x30\x80" + SPC_1234[2:] + b"\x00\x00",
    "truncated": SPC_1234[:-1],
    "constructed string": tlv(0x30, tlv(0xA0, tlv(0x36, tlv(0x16, b"1234")))),
    "number with plus": tlv(0x30, one(b"+12125551234")),
    "empty number": tlv(0x30, one(b"")),
    "sixteen digits": tlv(0x30, one(b"1234567890123456")),
    "number with letters": tlv(0x30, one(b"12a")),
    "count 1": tlv(0x30, span(b"1", b"\x01")),
    "count 0": tlv(0x30, span(b"1", b"\x00")),
    "count negative": tlv(0x30, span(b"1", b"\xff")),
    "count non-minimal": tlv(0x30, span(b"1", b"\x00\x02")),
    "count without octets": tlv(0x30, span(b"1", b"")),
    "count of 2,400 bits": tlv(0x30, span(b"1", b"\x7f" * 300)),
    "range from a star": tlv(0x30, span(b"*12", b"\x02")),
    "range with an extension": tlv(
        0x30, tlv(0xA1, tlv(0x30, tlv(0x16, b"1"), tlv(0x02, b"\x02"), tlv(0x02, b"\x05")))
    ),
    "good, then bad": tlv(0x30, one(b"1"), span(b"1", b"\x01")),
    "too many entries": tlv(0x30, one(b"1") * (MAX_ENTRIES + 1)),
}


@pytest.mark.parametrize("der", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_is_refused(der: bytes) -> None:
    """Anything but strict DER of RFC 8226 section 9 is MalformedCertificate, nothing else."""
    with pytest.raises(MalformedCertificate):
        TnAuthList.parse(der)


def test_too_long_is_refused_at_once() -> None:
    """More octets than an extension can sensibly have are refused before they are read."""
    with pytest.raises(MalformedCertificate, match="too long"):
        TnAuthList.parse(bytes(70_000))


@given(st.binary(max_size=60))
def test_any_octets_read_or_are_refused(der: bytes) -> None:
    """Whatever the octets: a list that encodes to the same entries, or MalformedCertificate."""
    try:
        read = TnAuthList.parse(der)
    except MalformedCertificate:
        return
    assert TnAuthList.parse(read.encode()) == read


digits = st.text("0123456789", min_size=1, max_size=15)


@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), max_size=3),
    st.lists(st.tuples(digits, st.integers(2, 10**16)), max_size=3),
    st.lists(st.text("0123456789*#", min_size=1, max_size=15), max_size=3),
)
def test_what_is_encoded_reads_back(
    spcs: list[str], ranges: list[tuple[str, int]], numbers: list[str]
) -> None:
    """Every list that can be made encodes to octets that read as the same list."""
    if not (spcs or ranges or numbers):
        return
    made = TnAuthList(tuple(spcs), tuple(ranges), tuple(numbers))
    assert TnAuthList.parse(made.encode()) == made
    assert made.contains(made)


def test_range_covers_first_to_last_and_no_more() -> None:
    """A range covers its start, its last number, and neither neighbour."""
    hundred = TnAuthList(ranges=(("12125551200", 100),))
    assert hundred.covers("12125551200")
    assert hundred.covers("12125551299")
    assert not hundred.covers("12125551199")
    assert not hundred.covers("12125551300")


def test_range_covers_only_numbers_of_its_length() -> None:
    """Longer and shorter numbers are outside a range, also where it runs on past its length."""
    assert not TnAuthList(ranges=(("12125551200", 100),)).covers("121255512000")
    over = TnAuthList(ranges=(("98", 5),))
    assert over.covers("99")
    assert not over.covers("100")
    assert not over.covers("098")
    assert not TnAuthList(ranges=(("0012", 10),)).covers("12")


def test_single_numbers_and_spcs() -> None:
    """A single number covers itself; an SPC covers no number; ``*`` and ``#`` match literally."""
    listed = TnAuthList(spcs=("1234",), numbers=("12125551234", "*67"))
    assert listed.covers("12125551234")
    assert not listed.covers("1234")
    assert not listed.covers("+12125551234")
    assert not listed.covers("\u0661")
    assert listed.has_numbers


def test_huge_range_costs_nothing() -> None:
    """A range of 10**70 numbers is computed with, never enumerated."""
    everything = TnAuthList(ranges=(("10000000000", 10**70),))
    assert everything.covers("99999999999")
    assert everything.contains(TnAuthList(ranges=(("12125550000", 10_000),)))


def test_contains_joins_neighbours() -> None:
    """A range across two neighbouring entries is inside their union; one number past it is not."""
    mine = TnAuthList(ranges=(("100", 10), ("111", 5)), numbers=("110",))
    assert mine.contains(TnAuthList(ranges=(("105", 11),)))
    assert not mine.contains(TnAuthList(ranges=(("105", 12),)))
    assert not mine.contains(TnAuthList(numbers=("0100",)))
    assert mine.contains(TnAuthList(spcs=("any",)))
    assert not mine.contains(TnAuthList(numbers=("*67",)))
    assert TnAuthList(numbers=("*67",)).contains(TnAuthList(numbers=("*67",)))
    assert not TnAuthList(spcs=("1234",)).contains(TnAuthList(numbers=("100",)))


def test_contains_stays_quick_on_full_lists() -> None:
    """Two lists as long as allowed are compared without comparing every pair."""
    full = TnAuthList(numbers=tuple(str(10_000 + 2 * at) for at in range(MAX_ENTRIES)))
    assert full.contains(full)


spans = st.lists(st.tuples(st.integers(0, 99), st.integers(2, 40)), min_size=1, max_size=5)


@given(spans, spans)
def test_contains_agrees_with_counting(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    """``contains`` says what enumerating every number would say."""
    mine = TnAuthList(ranges=tuple((f"{start:02}", count) for start, count in ours))
    other = TnAuthList(ranges=tuple((f"{start:02}", count) for start, count in theirs))
    everything = [f"{value:02}" for value in range(100)]
    counted = all(mine.covers(number) for number in everything if other.covers(number))
    assert mine.contains(other) == counted


short = st.text("0123456789*#", min_size=1, max_size=3)
numbers_near = st.lists(short, max_size=4)
ranges_near = st.lists(
    st.tuples(st.text("0123456789", min_size=1, max_size=3), st.integers(2, 1200)), max_size=4
)


@given(numbers_near, ranges_near, short)
def test_a_number_is_covered_where_a_list_of_it_is_contained(
    numbers: list[str], ranges: list[tuple[str, int]], one: str
) -> None:
    """Two ways to ask for one number; the path of a certificate takes the quick one."""
    mine = TnAuthList(("1234",), tuple(ranges), tuple(numbers))
    assert mine.covers(one) == mine.contains(TnAuthList(numbers=(one,)))
