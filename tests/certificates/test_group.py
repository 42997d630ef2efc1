"""Tests of pbx_stir.certificates.group: the one file that everybody in a group gets."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.certificates import group as room
from pbx_stir.certificates import issuing
from pbx_stir.certificates.group import Group, Member
from pbx_stir.errors import MalformedCertificate
from pbx_stir.stir.number_set import NumberSet
from pbx_stir.stir.tnauthlist import TnAuthList

CPS = ("https://cps.example.com:8443",)


@dataclass(frozen=True)
class Made:
    """An authority, and what it certifies."""

    root: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def member(self, name: str, *numbers: str, cps: tuple[str, ...] = CPS) -> Member:
        """Certified for one number; the file says which ones."""
        own = issuing.new_key().public_key()
        listed = TnAuthList(numbers=("12125551234",))
        leaf = issuing.issue_leaf(self.root, self.key, own, name, listed, time.time(), 1)
        return Member(name, numbers, cps, room.pem_of(leaf))

    def group(self, *members: Member) -> Group:
        return Group("Our Group", 7, room.pem_of(self.root), member=members)


@pytest.fixture(scope="module")
def made() -> Made:
    """An authority."""
    return Made(*issuing.new_root("Our Group", time.time(), 1))


def test_a_file_says_what_was_put_in(made: Made) -> None:
    """Members, numbers, CPSs and certificates come back; the authority in it has signed it."""
    group = made.group(made.member("Alice", "+12125551200-+12125551299"), made.member("Bob", "+1"))
    octets = room.format_group(group, made.key)
    read = room.parse_group(octets)
    assert (read.group, read.authority) == (group, made.root)
    assert b"PRIVATE" not in octets


def test_a_changed_file_is_refused(made: Made) -> None:
    """Whichever octet is changed: a route to somebody else's CPS would be worth a lot."""
    octets = room.format_group(made.group(made.member("Alice", "+12125551234")), made.key)
    other = octets.replace(b"cps.example.com", b"cps.example.net")
    assert other != octets
    with pytest.raises(MalformedCertificate, match="changed"):
        room.parse_group(other)
    with pytest.raises(MalformedCertificate, match="signature"):
        room.parse_group(octets.partition(b"\n")[2])


def test_another_authority_cannot_sign_for_it(made: Made) -> None:
    """Somebody else's signature does not hold over a file that names our authority."""
    _, key = issuing.new_root("Our Group", time.time(), 1)
    with pytest.raises(MalformedCertificate, match="changed"):
        room.format_group(made.group(), key)


def test_a_fingerprint_is_compared_as_people_write_it(made: Made) -> None:
    """Its first half or all of it, in either case, with colons or blanks; no shorter piece."""
    whole = made.root.fingerprint(hashes.SHA256()).hex()
    colons = ":".join(whole[at : at + 2] for at in range(0, 64, 2)).upper()
    for text in (room.fingerprint(made.root), whole, colons, whole[:32]):
        assert room.has_fingerprint(made.root, text)
    changed = ("0" if whole[0] != "0" else "1") + whole[1:]
    for text in ("", whole[:31], whole + "00", changed):
        assert not room.has_fingerprint(made.root, text)


def test_a_member_takes_his_own_place(made: Made) -> None:
    """Of one key: a renewal replaces, whatever its name, and each change counts up."""
    alice, bob = made.member("Alice", "+12125551200"), made.member("Bob", "+12125551201")
    group = room.with_member(room.with_member(made.group(), bob, 0), alice, 0)
    assert ([one.name for one in group.member], group.made) == (["Alice", "Bob"], 9)
    again = made.member("Alice", "+12125551202")
    with pytest.raises(MalformedCertificate, match="another key"):
        room.with_member(group, again, 1_000)
    group = room.with_member(group, again, 1_000, instead=True)
    assert group.member == (again, bob)
    assert group.made == 1_000
    renamed = Member("Alice Ltd", again.numbers, again.cps, again.certificate)
    assert room.with_member(group, renamed, 0).member == (renamed, bob)


def test_nobody_gets_anothers_numbers(made: Made) -> None:
    """A number is one member's; who it is already is said."""
    group = made.group(made.member("Alice", "+12125551200-+12125551299"))
    with pytest.raises(MalformedCertificate, match=r"\+12125551250 is Alice's"):
        room.with_member(group, made.member("Bob", "+12125551250", "+13105550000"), 0)


@pytest.mark.parametrize(
    ("name", "numbers", "cps"),
    [
        ('A"', "+1", CPS[0]),
        ("A\nB", "+1", CPS[0]),
        ("A", "+1*", CPS[0]),
        ("A", "one", CPS[0]),
        ("A", "+1", "http://cps.example.com"),
        ("A", "+1", "https://user@cps.example.com"),
        ("A", "+1", 'https://cps.example.com/"\nx = "'),
    ],
)
def test_what_could_break_a_configuration_is_refused(
    made: Made, name: str, numbers: str, cps: str
) -> None:
    """Nothing that a member says ends a string or a line where it is written."""
    member = made.member("A", numbers, cps=(cps,))
    with pytest.raises((MalformedCertificate, ValueError)):
        room.format_group(
            made.group(Member(name, member.numbers, member.cps, member.certificate)), made.key
        )


def test_a_leaf_is_no_authority(made: Made) -> None:
    """A member's own certificate cannot stand behind a group."""
    key = issuing.new_key()
    listed = TnAuthList(numbers=("1",))
    leaf = issuing.issue_leaf(made.root, made.key, key.public_key(), "A", listed, time.time(), 1)
    with pytest.raises(MalformedCertificate, match="no authority"):
        room.format_group(Group("G", 0, room.pem_of(leaf)), key)


def test_numbers_of_a_list_are_written_as_in_configurations() -> None:
    """Ranges with both ends, leading zeros kept; then single numbers."""
    listed = TnAuthList(ranges=(("12125551200", 100), ("00000", 2)), numbers=("16465550000",))
    assert room.numbers_of(listed) == (
        "+12125551200-+12125551299",
        "+00000-+00001",
        "+16465550000",
    )


@given(st.integers(1, 6), st.integers(0, 999_999), st.integers(0, 999_999))
def test_prefixes_hold_exactly_the_numbers(digits: int, low: int, high: int) -> None:
    """Of numbers with as many digits, those of the range begin with one of them, and no others."""
    first, last = sorted((low % 10**digits, high % 10**digits))
    written = f"+{first:0{digits}d}-+{last:0{digits}d}"
    found = room.prefixes([written])
    held = NumberSet.parse([f"{one}*" for one in found])
    edges = {first, last, first - 1, last + 1, low % 10**digits, (first + last) // 2}
    for number in edges:
        if 0 <= number < 10**digits:
            assert (f"{number:0{digits}d}" in held) == (first <= number <= last)
    assert len(found) <= 18 * digits


def test_a_hundred_numbers_are_one_prefix() -> None:
    """What is cut at powers of ten needs one route."""
    assert room.prefixes(["+12125551200-+12125551299"]) == ("+121255512",)


@given(st.binary(max_size=200), st.integers(0, 3_000))
def test_any_octets_are_a_group_or_malformed(octets: bytes, at: int) -> None:
    """Whatever is sent, also what begins as a group's file does, and what its authority signed."""
    root, key = _root()
    good = room.format_group(Group("G", 0, room.pem_of(root)), key)
    body = good.partition(b"\n")[2][:at] + octets
    signature = key.sign(room.CONTEXT + body, ec.ECDSA(hashes.SHA256()))
    signed = b"# signature: " + base64.urlsafe_b64encode(signature).rstrip(b"=") + b"\n" + body
    for one in (octets, good[:at] + octets + good[at + len(octets) :], signed):
        try:
            room.parse_group(one)
        except MalformedCertificate:
            continue


_ROOTS: list[tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = []


def _root() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """One for all examples."""
    if not _ROOTS:
        _ROOTS.append(issuing.new_root("G", time.time(), 1))
    return _ROOTS[0]
