"""The file of a closed group: whom its members trust, who they are, and where their CPSs are.

Takes and gives TOML, signed by the group's authority: the one file that everybody in a group gets,
again whenever somebody joins or renews. It holds no secret. Its first line is the signature over
all that follows; whoever changes a letter is told apart from the authority. Who reads it for the
first time must learn the authority's fingerprint by another way.

::

    # signature: BASE64URL          ECDSA, P-256, SHA-256, DER; over CONTEXT and the rest
    format = 1
    name = "Our Group"
    made = 1800000000               epoch seconds; grows with each change
    authority = PEM
    tls_ca = PEM, or empty: CAs of the CPSs' TLS certificates, where they are no public ones
    crl = PEM, or empty: whom the authority has revoked
    [[member]]
    name = "Example Ltd"
    numbers = ["+12125551200-+12125551299"]
    cps = ["https://cps.example.com"]
    certificate = PEM
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Meta, Struct
from msgspec.structs import replace

from pbx_stir.cps.origin import parse_cps_url
from pbx_stir.errors import MalformedCertificate, MalformedNumber, UrlRefused
from pbx_stir.stir.number_set import NumberSet
from pbx_stir.stir.profile import is_authority, is_p256, name_of, public_key
from pbx_stir.stir.revocation_list import parse_lists
from pbx_stir.stir.tnauthlist import TnAuthList

MAX_OCTETS: Final = 1 << 20
MOST_MEMBERS: Final = 1_000
CONTEXT: Final = b"pbx-stir group v1\0"
_SIGNATURE: Final = re.compile(rb"# signature: ([A-Za-z0-9_-]{80,120})\n")
_FINGERPRINT_DIGITS: Final = 32
# in messages and in files that people edit: nothing that could end a line or a string
_ENDING: Final = frozenset('"\\')
_LONGEST_NAME: Final = 64

Name = Annotated[str, Meta(min_length=1, max_length=64)]
Pem = Annotated[str, Meta(max_length=100_000)]
Numbers = Annotated[tuple[str, ...], Meta(min_length=1, max_length=4_096)]


class Member(Struct, frozen=True, forbid_unknown_fields=True):
    """Who has which numbers, and where PASSporTs for them are stored."""

    name: Name
    numbers: Numbers
    cps: Annotated[tuple[str, ...], Meta(min_length=1, max_length=4)]
    certificate: Pem


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """All that the file says; see the module. Made by ``parse``, or by the authority itself."""

    name: Name
    made: Annotated[int, Meta(ge=0, lt=1 << 53)]
    authority: Pem
    tls_ca: Pem = ""
    crl: Annotated[str, Meta(max_length=500_000)] = ""
    member: Annotated[tuple[Member, ...], Meta(max_length=MOST_MEMBERS)] = ()
    format: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Read:
    """A group's file that holds: its signature is that of the authority in it."""

    group: Group
    authority: x509.Certificate


def format_group(group: Group, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a group's file, signed with the authority's key. Raises ``MalformedCertificate``."""
    lines = [
        f"format = {group.format}",
        f"name = {_quoted(group.name)}",
        f"made = {group.made}",
        f"authority = {_lines(group.authority)}",
        f"tls_ca = {_lines(group.tls_ca)}",
        f"crl = {_lines(group.crl)}",
    ]
    for one in group.member:
        lines += [
            "",
            "[[member]]",
            f"name = {_quoted(one.name)}",
            f"numbers = [{', '.join(map(_quoted, one.numbers))}]",
            f"cps = [{', '.join(map(_quoted, one.cps))}]",
            f"certificate = {_lines(one.certificate)}",
        ]
    body = ("\n".join(lines) + "\n").encode()
    signature = key.sign(CONTEXT + body, ec.ECDSA(hashes.SHA256()))
    whole = b"# signature: " + base64.urlsafe_b64encode(signature).rstrip(b"=") + b"\n" + body
    # what nobody could read is not given to anybody
    parse_group(whole)
    return whole


def parse_group(octets: bytes) -> Read:
    """Read a group's file, and see that the authority in it has signed it.

    Whether that authority is the right one is not looked at: compare its ``fingerprint``.
    Raises ``MalformedCertificate``.
    """
    if len(octets) > MAX_OCTETS:
        raise MalformedCertificate(f"a group's file of more than {MAX_OCTETS} octets")
    signed = _SIGNATURE.match(octets)
    if signed is None:
        raise MalformedCertificate("not a group's file: its first line is no signature")
    body = octets[signed.end() :]
    try:
        group = msgspec.toml.decode(body, type=Group)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise MalformedCertificate(f"not a group's file: {error}") from error
    authority = _certificate(group.authority)
    key = public_key(authority)
    if not is_authority(authority) or not isinstance(key, ec.EllipticCurvePublicKey):
        raise MalformedCertificate("the group's authority is no authority")
    text = signed[1].decode("ascii")
    try:
        signature = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        key.verify(signature, CONTEXT + body, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, binascii.Error) as error:
        raise MalformedCertificate("the group's file was changed after it was signed") from error
    _check(group)
    return Read(group, authority)


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 fingerprint's first half, for people: eight groups of four hex digits."""
    digits = certificate.fingerprint(hashes.SHA256()).hex()[:_FINGERPRINT_DIGITS]
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def has_fingerprint(certificate: x509.Certificate, text: str) -> bool:
    """Tell whether ``text`` is that certificate's fingerprint: its first half or all of it, in hex,
    with blanks or colons between the digits."""
    given = re.sub(r"[\s:]", "", text).lower()
    whole = certificate.fingerprint(hashes.SHA256()).hex()
    return len(given) >= _FINGERPRINT_DIGITS and whole.startswith(given)


def is_name(text: str) -> bool:
    """Whether that can name somebody: 1 to 64 characters that are seen, no quotes."""
    is_seen = text.isprintable() and bool(text.strip()) and not _ENDING.intersection(text)
    return is_seen and len(text) <= _LONGEST_NAME


def with_member(group: Group, member: Member, made: int, *, instead: bool = False) -> Group:
    """``group`` with ``member`` in the place of who has that certificate's key.

    ``instead``: also in the place of who has its name, with another key.
    Raises ``MalformedCertificate`` where somebody else has one of its numbers, or its name: that is
    what its owner calls himself, and anybody may call himself so.
    """
    key = public_key(_certificate(member.certificate))
    others = [one for one in group.member if public_key(_certificate(one.certificate)) != key]
    namesake = next((one for one in others if one.name == member.name), None)
    if namesake is not None and not instead:
        raise MalformedCertificate(
            f"{member.name} is in this group already, with another key",
            hint="another --name, or, where that key is lost: revoke first, or --replace",
        )
    others = [one for one in others if one != namesake]
    for other in others:
        shared = _shared(other.numbers, member.numbers)
        if shared:
            raise MalformedCertificate(f"{shared} is {other.name}'s in this group")
    changed = tuple(sorted([*others, member], key=lambda one: one.name))
    return replace(group, member=changed, made=max(made, group.made + 1))


def without_member(group: Group, name: str, made: int) -> Group:
    """``group`` without whoever has that name."""
    left = tuple(one for one in group.member if one.name != name)
    return replace(group, member=left, made=max(made, group.made + 1))


def member_of(group: Group, key: ec.EllipticCurvePublicKey) -> Member | None:
    """Whose certificate is for this key, if anybody's."""
    return next((m for m in group.member if public_key(_certificate(m.certificate)) == key), None)


def key_of(member: Member) -> object:
    """The key that a member's certificate is for."""
    return public_key(_certificate(member.certificate))


def key_fingerprint(member: Member) -> str:
    """The SHA-256 of a member's public key, its first half in hex."""
    return digest_of(_certificate(member.certificate))


def digest_of(certificate: x509.Certificate) -> str:
    """The SHA-256 of a certificate's public key, its first half in hex."""
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(info).hexdigest()[:_FINGERPRINT_DIGITS]


def numbers_of(listed: TnAuthList) -> tuple[str, ...]:
    """The numbers of a list as configurations have them."""
    ranges = [
        f"+{start}-+{int(start) + count - 1:0{len(start)}d}" for start, count in listed.ranges
    ]
    return (*ranges, *(f"+{one}" for one in listed.numbers))


def prefixes(numbers: Sequence[str]) -> tuple[str, ...]:
    """The fewest prefixes that hold exactly these numbers and ranges, with "+" before them."""
    found: list[str] = []
    for digits, row in sorted(NumberSet.parse(numbers).ranges.items()):
        for first, last in row:
            found += _prefixes(first, last, digits)
    return tuple(found)


def pem_of(certificate: x509.Certificate) -> str:
    """A certificate's text."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _prefixes(first: int, last: int, digits: int) -> Iterable[str]:
    """Cut a range into blocks that begin and end with a power of ten."""
    while first <= last:
        size, zeros = 1, 0
        while zeros < digits - 1 and first % (size * 10) == 0 and first + size * 10 - 1 <= last:
            size, zeros = size * 10, zeros + 1
        yield f"+{first:0{digits}d}"[: digits + 1 - zeros]
        first += size


def _shared(mine: Sequence[str], theirs: Sequence[str]) -> str:
    """One number that both have, or an empty string."""
    others = NumberSet.parse(theirs).ranges
    for digits, row in NumberSet.parse(mine).ranges.items():
        for first, last in row:
            for low, high in others.get(digits, ()):
                if max(first, low) <= min(last, high):
                    return f"+{max(first, low):0{digits}d}"
    return ""


def _check(group: Group) -> None:
    """Refuse what could not be put into a configuration. Raises ``MalformedCertificate``."""
    if group.tls_ca:
        _certificates(group.tls_ca)
    if group.crl:
        parse_lists(group.crl.encode())
    for name in (group.name, *(one.name for one in group.member)):
        if not is_name(name):
            raise MalformedCertificate(f"not a name: {name!r}")
    for one in group.member:
        if not is_p256(_certificate(one.certificate)):
            raise MalformedCertificate(f"{one.name}: the certificate's key is not P-256")
        try:
            if NumberSet.parse(one.numbers).prefixes:
                raise MalformedCertificate(f"{one.name}: a prefix among the numbers")
            for url in one.cps:
                _quoted(parse_cps_url(url).base)
        except (MalformedNumber, UrlRefused) as error:
            raise MalformedCertificate(f"{one.name}: {error.message}") from error


def _certificate(pem: str) -> x509.Certificate:
    found = _certificates(pem)
    if len(found) != 1:
        raise MalformedCertificate(f"{len(found)} certificates where one belongs")
    return found[0]


def _certificates(pem: str) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem.encode("ascii", "replace"))
        # an odd one fails when it is looked at, not before
        for one in found:
            name_of(one)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, Warning) as error:
        raise MalformedCertificate(f"not a certificate in PEM: {error}") from error
    return found


def _quoted(text: str) -> str:
    """A TOML string of text that needs no escapes. Raises ``MalformedCertificate``."""
    if re.search(r"[\x00-\x1f\x7f\"\\]", text):
        raise MalformedCertificate(f"no name, number or URL for a file: {text[:80]!r}")
    return f'"{text}"'


def _lines(pem: str) -> str:
    """A TOML string of several lines; PEM has neither quotes nor backslashes."""
    if re.search(r"[\"\\]", pem):
        raise MalformedCertificate("not a certificate in PEM")
    return f'"""\n{pem}"""'
