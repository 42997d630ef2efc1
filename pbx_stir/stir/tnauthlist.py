"""TNAuthList: the telephone numbers and providers that a STIR certificate speaks for.

Takes the DER value of the certificate extension (RFC 8226 section 9), gives a frozen ``TnAuthList``
that answers by arithmetic whether a number is covered and whether another list lies inside it.
It never enumerates a range, and knows neither certificates nor policies on providers.

::

    TNAuthorizationList ::= SEQUENCE SIZE (1..MAX) OF TNEntry           (all tags EXPLICIT)
    TNEntry ::= CHOICE { spc [0] ServiceProviderCode, range [1] TelephoneNumberRange,
                         one [2] TelephoneNumber }
    ServiceProviderCode ::= IA5String
    TelephoneNumberRange ::= SEQUENCE { start TelephoneNumber, count INTEGER (2..MAX), ... }
    TelephoneNumber ::= IA5String (SIZE (1..15)) (FROM ("0123456789#*"))

Source: RFC 8226 section 9, RFC 9060 section 4 (a delegate's list lies inside its issuer's).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.hazmat import asn1

from pbx_stir.errors import MalformedCertificate
from pbx_stir.stir.digits import inside, joined

OID_TN_AUTH_LIST: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")

MAX_OCTETS: Final = 65_535
MAX_ENTRIES: Final = 4_096
_COUNT_BITS: Final = 256  # INTEGER (2..MAX), but nobody needs more than 10**15 numbers

_TELEPHONE_NUMBER: Final = re.compile(r"[0-9*#]{1,15}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_SPC: Final = re.compile(r"[ -~]{1,255}", re.ASCII)


@asn1.sequence
class _Range:
    """TelephoneNumberRange; an extension addition after ``count`` is refused."""

    start: asn1.IA5String
    count: int


_Spc = asn1.Variant[asn1.IA5String, Literal["spc"]]
_RangeEntry = asn1.Variant[_Range, Literal["range"]]
_One = asn1.Variant[asn1.IA5String, Literal["one"]]


@asn1.sequence
class _Wrapped:
    """The list inside one more SEQUENCE: a bare SEQUENCE OF cannot be a root of this decoder."""

    entries: list[
        Annotated[_Spc, asn1.Explicit(0)]
        | Annotated[_RangeEntry, asn1.Explicit(1)]
        | Annotated[_One, asn1.Explicit(2)]
    ]


@dataclass(frozen=True, slots=True)
class TnAuthList:
    """The entries of one extension, each kind in the order it had.

    ``spcs``: service provider codes, 1 to 255 printable ASCII characters each. ``ranges``: pairs of
    first number (1 to 15 digits) and how many numbers follow from it, itself counted (at least 2).
    ``numbers``: single numbers, 1 to 15 of ``0-9*#``. Nothing is canonicalised: a "+" is refused.

    RFC 8226 calls a range invalid that runs on into numbers of more digits; we read it and let it
    cover only numbers of as many digits as its start, because that part is what its issuer meant
    beyond doubt. A range that starts with ``*`` or ``#`` in it is malformed: the count does not
    apply to it. Raises MalformedCertificate when made of anything else, or of nothing.
    """

    spcs: tuple[str, ...] = ()
    ranges: tuple[tuple[str, int], ...] = ()
    numbers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        entries = len(self.spcs) + len(self.ranges) + len(self.numbers)
        if not 1 <= entries <= MAX_ENTRIES:
            raise MalformedCertificate(f"TNAuthList has {entries} entries, not 1 to {MAX_ENTRIES}")
        for spc in self.spcs:
            if not _SPC.fullmatch(spc):
                raise MalformedCertificate("TNAuthList has an SPC that is not printable ASCII")
        for number in self.numbers:
            if not _TELEPHONE_NUMBER.fullmatch(number):
                raise MalformedCertificate(f"TNAuthList names {number[:40]!r}, not a number")
        for start, count in self.ranges:
            if not _DIGITS.fullmatch(start):
                raise MalformedCertificate(f"TNAuthList range starts at {start[:40]!r}")
            if count < 2 or count.bit_length() > _COUNT_BITS:
                raise MalformedCertificate(f"TNAuthList range at {start} has a count out of bounds")

    @classmethod
    def parse(cls, der: bytes) -> TnAuthList:
        """Read the extension's value (the content of its OCTET STRING), strictly DER.

        Raises MalformedCertificate: other tags, IMPLICIT tags, no entry, non-minimal lengths or
        integers, octets left over, a number out of its alphabet, a count below 2, too many entries.
        """
        if len(der) > MAX_OCTETS:
            raise MalformedCertificate(f"TNAuthList of {len(der)} octets is too long")
        try:
            entries = asn1.decode_der(_Wrapped, _wrap(der)).entries
        except ValueError as error:
            raise MalformedCertificate(f"TNAuthList is not DER of RFC 8226: {error}") from error
        spcs: list[str] = []
        ranges: list[tuple[str, int]] = []
        numbers: list[str] = []
        for entry in entries:
            value = entry.value
            if isinstance(value, _Range):
                ranges.append((value.start.as_str(), value.count))
            elif entry.tag == "spc":
                spcs.append(value.as_str())
            else:
                numbers.append(value.as_str())
        return cls(tuple(spcs), tuple(ranges), tuple(numbers))

    def encode(self) -> bytes:
        """Give the DER for the extension: SPCs first, then ranges, then single numbers."""
        entries: list[_Spc | _RangeEntry | _One] = []
        entries += [_Spc(asn1.IA5String(spc), "spc") for spc in self.spcs]
        for start, count in self.ranges:
            found = _Range(start=asn1.IA5String(start), count=count)
            entries.append(_RangeEntry(found, "range"))
        entries += [_One(asn1.IA5String(number), "one") for number in self.numbers]
        return _unwrap(asn1.encode_der(_Wrapped(entries=entries)))

    @property
    def has_numbers(self) -> bool:
        """True where any range or single number is listed: then SPCs do not decide (RFC 8226)."""
        return bool(self.ranges or self.numbers)

    def covers(self, number: str) -> bool:
        """Tell whether a range or a single number of the list is ``number`` (canonical digits).

        A range covers only numbers of as many digits as its start. SPCs are not looked at.
        """
        if number in self.numbers:
            return True
        if not _DIGITS.fullmatch(number):
            return False
        value = int(number)
        return any(
            len(start) == len(number) and int(start) <= value < int(start) + count
            for start, count in self.ranges
        )

    def contains(self, other: TnAuthList) -> bool:
        """Tell whether every number and range of ``other`` lies inside the union of ours.

        Neighbouring and overlapping entries of ours are joined first. SPCs of neither are looked
        at, so a list of SPCs alone is inside everything: ask ``has_numbers`` first.
        """
        mine = joined(self._intervals())
        listed = frozenset(self.numbers)
        if any(not number.isdigit() and number not in listed for number in other.numbers):
            return False
        return all(inside(mine, digits, first, last) for digits, first, last in other._intervals())

    def _intervals(self) -> Iterator[tuple[int, int, int]]:
        """Give (digits, first, last) of each entry made of digits, ``last`` as long as first."""
        for number in self.numbers:
            if number.isdigit():
                yield len(number), int(number), int(number)
        for start, count in self.ranges:
            yield len(start), int(start), min(int(start) + count, 10 ** len(start)) - 1


def _wrap(der: bytes) -> bytes:
    """Put one more SEQUENCE header around ``der`` (at most 65,535 octets)."""
    size = len(der)
    if size < 0x80:
        return bytes((0x30, size)) + der
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x30, 0x80 | len(length))) + length + der


def _unwrap(der: bytes) -> bytes:
    """Take off the outer header of our own encoding."""
    return der[2:] if der[1] < 0x80 else der[2 + (der[1] & 0x7F) :]
