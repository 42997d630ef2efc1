"""Family 14: which numbers a TN Authorization List covers, octet by octet and digit by digit."""

from __future__ import annotations

import pytest

from pbx_stir.stir.tnauthlist import TnAuthList
from tests.families.hostile import FORGE, NONE, Court, Judging, shaken, token
from tests.stir.conftest import tlv

ONE = 2


def number(digits: bytes) -> bytes:
    """An entry of one number."""
    return tlv(0xA2, tlv(0x16, digits))


def span(start: bytes, count: bytes) -> bytes:
    """An entry of a range; ``count`` are the octets of the INTEGER."""
    return tlv(0xA1, tlv(0x30, tlv(0x16, start) + tlv(0x02, count)))


def code(spc: bytes) -> bytes:
    """An entry of a provider."""
    return tlv(0xA0, tlv(0x16, spc))


ALICE = b"12125551234"
MALFORMED = {
    "nothing": b"",
    "an empty list": tlv(0x30, b""),
    "implicit tag": tlv(0x30, tlv(0x82, ALICE)),
    "unknown tag": tlv(0x30, number(ALICE) + tlv(0xA3, tlv(0x16, ALICE))),
    "application tag": tlv(0x30, tlv(0x62, tlv(0x16, ALICE))),
    "UTF8String": tlv(0x30, tlv(0xA2, tlv(0x0C, ALICE))),
    "NumericString": tlv(0x30, tlv(0xA2, tlv(0x12, ALICE))),
    "count 1": tlv(0x30, span(ALICE, b"\x01")),
    "count 0": tlv(0x30, span(ALICE, b"\x00")),
    "a negative count": tlv(0x30, span(ALICE, b"\x80")),
    "a long count": tlv(0x30, span(ALICE, b"\x00\x02")),
    "octets after": tlv(0x30, number(ALICE)) + b"\0",
    "octets inside": tlv(0x30, tlv(0xA2, tlv(0x16, ALICE) + b"\0\0")),
    "a long length": b"\x30\x81" + tlv(0x30, number(ALICE))[1:],
    "an endless length": b"\x30\x80" + number(ALICE) + b"\0\0",
    "a length too small": b"\x30\x05" + number(ALICE),
    "a length too large": b"\x30\x7f" + number(ALICE),
    "a plus": tlv(0x30, number(b"+" + ALICE)),
    "a blank": tlv(0x30, number(b"1212555 1234")),
    "sixteen digits": tlv(0x30, number(b"1212555123400000")),
    "no digit": tlv(0x30, number(b"")),
    "a letter": tlv(0x30, number(b"1212555123A")),
    "a good one, then a bad one": tlv(0x30, number(ALICE) + span(ALICE, b"\x01")),
    "a range from a star": tlv(0x30, span(b"*12125551", b"\x05")),
    "a SET": tlv(0x31, number(ALICE)),
    "two lists": tlv(0x30, tlv(0x30, number(ALICE))),
    "an empty code": tlv(0x30, code(b"") + number(ALICE)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_family_14_tnauthlist_malformed(court: Court, judging: Judging, name: str) -> None:
    """Anything but strict DER of RFC 8226 section 9, though every other rule holds."""
    leaf = FORGE.leaf(court.ca, tn=MALFORMED[name])
    judging.refuses("certificate-untrusted", court.signed(leaf, court.ca))


def test_family_14_tnauthlist_absent(court: Court, judging: Judging) -> None:
    """A certificate of the web signs no calls."""
    judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(court.ca, tn=None), court.ca))


RANGES: list[tuple[str, int, str, bool]] = [
    # start, count, caller, covered
    ("12125551200", 100, "12125551200", True),
    ("12125551200", 100, "12125551299", True),
    ("12125551200", 100, "12125551199", False),
    ("12125551200", 100, "12125551300", False),
    ("12125551200", 100, "121255512000", False),
    ("12125551200", 100, "1212555120", False),
    ("12125551200", 100, "2125551234", False),
    ("99", 10, "99", True),
    ("99", 10, "100", False),
    ("99", 10, "108", False),
    ("99", 10, "09", False),
    ("00", 100, "00", True),
    ("00", 100, "99", True),
    ("00", 100, "0", False),
    ("00", 100, "100", False),
    ("0", 10, "0", True),
    ("0", 10, "00", False),
    ("012", 2, "013", True),
    ("012", 2, "13", False),
    ("012", 2, "12", False),
    ("999999999999999", 2, "999999999999999", True),
    ("999999999999998", 2, "999999999999999", True),
    ("000000000000000", 10**15, "999999999999999", True),
    ("000000000000000", 10**15, "99999999999999", False),
    ("1", 2**200, "9", True),
    ("1", 2**200, "10", False),
    ("12125551234", 2, "12125551235", True),
    ("12125551234", 2, "12125551236", False),
]


@pytest.mark.parametrize(("start", "count", "caller", "covered"), RANGES)
def test_family_14_tnauthlist_ranges(
    court: Court, judging: Judging, start: str, count: int, caller: str, covered: bool
) -> None:
    """First, last, one past, other lengths, leading zeros, ranges beyond all numbers."""
    leaf = FORGE.leaf(court.ca, tn=TnAuthList(ranges=((start, count),)))
    text = court.signed(leaf, court.ca, claims={"orig": {"tn": caller}})
    if covered:
        judging.passes(text, orig=caller)
    else:
        judging.refuses("number-not-covered", text, orig=caller)


def test_family_14_tnauthlist_single_numbers(court: Court, judging: Judging) -> None:
    """A number alone covers itself; stars and hashes are nobody's caller ID."""
    listed = TnAuthList(numbers=("12125551234", "*82", "#1", "7"))
    leaf = FORGE.leaf(court.ca, tn=listed)

    def caller(orig: str) -> str:
        return court.signed(leaf, court.ca, claims={"orig": {"tn": orig}})

    judging.passes(caller("12125551234"))
    judging.passes(caller("7"), orig="7")
    for other in ("12125551235", "82", "1", "77", "121255512340"):
        judging.refuses("number-not-covered", caller(other), orig=other)
    judging.refuses("malformed", caller("*82"))


def test_family_14_tnauthlist_codes(court: Court, judging: Judging) -> None:
    """A code vouches for an attestation; beside numbers it says nothing more."""
    listed = TnAuthList(spcs=("1234", "ABCD"))
    leaf = FORGE.leaf(court.ca, tn=listed)
    key, x5u = leaf.key, court.chain(leaf, court.ca)
    assert judging.passes(shaken(key, header={"x5u": x5u})).signer == "1234"  # type: ignore[arg-type]
    text = token(key, header={"x5u": x5u})  # type: ignore[arg-type]
    judging.refuses("number-not-covered", text, verdict=NONE)
    both = FORGE.leaf(court.ca, "Both", tn=TnAuthList(spcs=("1234",), numbers=("19995550000",)))
    x5u = court.chain(both, court.ca)
    judging.refuses("number-not-covered", shaken(both.key, header={"x5u": x5u}))  # type: ignore[arg-type]
    other = {"orig": {"tn": "19995550000"}}
    for made in (shaken, token):
        text = made(both.key, header={"x5u": x5u}, claims=other)  # type: ignore[arg-type]
        judging.passes(text, orig="19995550000")


def test_family_14_tnauthlist_many(court: Court, judging: Judging) -> None:
    """A thousand entries are read in order, and the last counts as the first does."""
    numbers = tuple(str(12_125_550_000 + 2 * at) for at in range(1_000))
    leaf = FORGE.leaf(court.ca, tn=TnAuthList(numbers=numbers))
    text = court.signed(leaf, court.ca, claims={"orig": {"tn": numbers[-1]}})
    judging.passes(text, orig=numbers[-1])
    text = court.signed(leaf, court.ca, claims={"orig": {"tn": "12125550001"}})
    judging.refuses("number-not-covered", text, orig="12125550001")
