"""Advertisements of call placement services: whose numbers' PASSporTs belong at which CPS.

Takes what a stranger published, gives the CPS of a number, most specific key first; makes and signs
advertisements. It fetches nothing and remembers nothing, so that a serial grows is for whoever
keeps advertisements to check, and so is what may be connected to.

An advertisement is the JSON object of RFC 9888 section 4, whose values are https URLs::

    {"0-1234": "https://cps.example.com",              a service provider code
     "1-15714341000-99": "https://cps.example.com",    a first number and how many from it on
     "2-12025550100": "https://cps2.example.com"}      one number

Signed it is the member ``advertisement`` of a JWS in compact form (RFC 7515), ES256, whose claims
are exactly these, times in epoch seconds::

    {"advertisement": {...}, "exp": 1750604800, "iat": 1750000000, "serial": 1750000000}

Its header has exactly ``alg``, ``typ`` "pbx-stir-advertisement" and ``x5c``, the chain of a STIR
credential that has every key (``parse_signed``, ``check_signed``); or ``alg`` and ``typ`` alone,
where the reader knows the signer's key already (``parse_pinned``). RFC 9888 leaves the form open.

Source: RFC 9888 section 4, RFC 8226 section 9 (the entries' alphabet and bounds).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.errors import (
    AdvertisementRefused,
    Malformed,
    MalformedAdvertisement,
    UrlRefused,
)
from pbx_stir.stir import jws
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy, find_path
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.segments import Claim, Segments
from pbx_stir.stir.statement import read_statement, sign_statement
from pbx_stir.stir.tnauthlist import MAX_ENTRIES, TnAuthList
from pbx_stir.stir.x5u import EgressRule, check_url

TYP: Final = "pbx-stir-advertisement"
MAX_OCTETS: Final = 512 * 1024
MAX_PAIRS: Final = MAX_ENTRIES
MAX_LIFETIME_SECONDS: Final = 31 * 86_400
FUTURE_TOLERANCE_SECONDS: Final = 5

_CLAIMS: Final = frozenset({"advertisement", "exp", "iat", "serial"})
_MAX_INTEGER: Final = 2**53 - 1
_CODE: Final = re.compile(r"0-([ -~]{1,255})", re.ASCII)
_RANGE: Final = re.compile(r"1-([0-9]{1,15})-([1-9][0-9]{0,15})", re.ASCII)
_ONE: Final = re.compile(r"2-([0-9*#]{1,15})", re.ASCII)
_MOST_NAMED: Final = 64


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """The CPS of a number, and how specific the key is that says so: the smallest comes first.

    ``kind`` is 0 for a single number, 1 for a range, 2 for a code; ``size`` how many numbers the
    key names, 0 for a code.
    """

    kind: int
    size: int
    cps: str = field(compare=False)


class Advertisement:
    """What an advertisement says. Ranges cover only numbers of as many digits as their start."""

    __slots__ = ("_codes", "_numbers", "_pairs", "_segments", "names")

    def __init__(self, pairs: Mapping[str, str]) -> None:
        """Take the pairs of the JSON object. Raises ``MalformedAdvertisement``.

        That is: no pair or more than ``MAX_PAIRS``; a key that is none of the three kinds in the
        one form they have ("+", leading zeros of a count and counts below 2 among the wrong ones);
        a value that is not an https URL without user, query and fragment.
        """
        if not 1 <= len(pairs) <= MAX_PAIRS:
            raise MalformedAdvertisement(
                f"an advertisement of {len(pairs)} pairs, not 1 to {MAX_PAIRS}"
            )
        self._pairs = dict(pairs)
        self._codes: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        ranges: list[tuple[str, int]] = []
        claims: list[Claim] = []
        checked: set[str] = set()
        for key, url in self._pairs.items():
            if url not in checked:
                check_cps_url(url)
                checked.add(url)
            if found := _CODE.fullmatch(key):
                self._codes[found[1]] = url
            elif found := _ONE.fullmatch(key):
                self._numbers[found[1]] = url
            elif (found := _RANGE.fullmatch(key)) and int(found[2]) >= 2:
                ranges.append((found[1], int(found[2])))
                claims.append(Claim(found[1], int(found[2]), url))
            else:
                raise MalformedAdvertisement(f"an advertisement names {key[:80]!a}")
        self._segments = Segments(claims)
        self.names = TnAuthList(tuple(self._codes), tuple(ranges), tuple(self._numbers))

    def match(self, number: str, codes: Collection[str] = ()) -> Match | None:
        """Find the CPS of ``number`` (canonical), None where no key names it.

        "2-" comes before the smallest "1-" before "0-", of which one of ``codes`` must be: the
        codes of the provider who has the number, as a configured table says; nobody else can.
        """
        if (single := self._numbers.get(number)) is not None:
            return Match(0, 1, single)
        if (claim := self._segments.smallest(number)) is not None:
            return Match(1, claim.size, claim.value)
        for code in sorted(codes):
            if (url := self._codes.get(code)) is not None:
                return Match(2, 0, url)
        return None

    def urls(self) -> frozenset[str]:
        """Give every CPS that it names."""
        return frozenset(self._pairs.values())

    def pairs(self) -> dict[str, str]:
        """Give the pairs of the JSON object."""
        return dict(self._pairs)

    def encode(self) -> bytes:
        """Write the JSON object of RFC 9888, members in order, without white space."""
        return jws.canonical_octets(self._pairs)

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Advertisement) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(frozenset(self._pairs.items()))


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed advertisement. ``chain`` is the signer's, whom nobody has trusted yet; () if pinned.

    Times are epoch seconds; ``exp`` is at most 31 days after ``iat``, or making one raises
    ``MalformedAdvertisement``.
    """

    advertisement: Advertisement
    iat: int
    exp: int
    serial: int
    chain: tuple[x509.Certificate, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("iat", self.iat), ("exp", self.exp), ("serial", self.serial)):
            # bool is an int to Python, and 1.0 is equal to one
            if type(value) is not int or not 0 <= value <= _MAX_INTEGER:
                raise MalformedAdvertisement(f"an advertisement's {name} is no integer in bounds")
        if not self.iat < self.exp <= self.iat + MAX_LIFETIME_SECONDS:
            raise MalformedAdvertisement(
                f"an advertisement that lives {self.exp - self.iat} s",
                hint=f"more than none, at most {MAX_LIFETIME_SECONDS} s",
            )


def code_key(code: str) -> str:
    """Name a service provider code as advertisements do."""
    return f"0-{code}"


def number_key(first: str, last: str) -> str:
    """Name the numbers from ``first`` to ``last`` (canonical, as many digits) the same way."""
    count = int(last) - int(first) + 1
    return f"2-{first}" if count == 1 else f"1-{first}-{count}"


def parse_advertisement(octets: bytes) -> Advertisement:
    """Read the bare JSON object. Raises ``MalformedAdvertisement``.

    Refused is, beside what ``Advertisement`` refuses, all that is not strict JSON with an object of
    texts on top: a member twice, a byte order mark or anything else before or behind, nesting, more
    than ``MAX_OCTETS``.
    """
    if len(octets) > MAX_OCTETS:
        raise MalformedAdvertisement(f"an advertisement of more than {MAX_OCTETS} octets")
    try:
        found = jws.read_object(octets)
    except Malformed as error:
        raise MalformedAdvertisement(f"not an advertisement: {error.message}") from error
    return Advertisement(_texts(found))


def sign_advertisement(
    advertisement: Advertisement, credential: Credential, *, iat: int, exp: int, serial: int
) -> str:
    """Sign with a STIR credential, its chain inside. Whether it has the keys, readers will check.

    Raises ``MalformedAdvertisement`` where the times or the size are out of bounds.
    """
    claims = _claims(Signed(advertisement, iat, exp, serial))
    try:
        return sign_statement(TYP, claims, credential, max_octets=MAX_OCTETS)
    except Malformed as error:
        raise MalformedAdvertisement(error.message) from error


def sign_pinned(
    advertisement: Advertisement,
    key: ec.EllipticCurvePrivateKey,
    *,
    iat: int,
    exp: int,
    serial: int,
) -> str:
    """Sign with a key that readers have in their configurations. Raises as the other one does."""
    claims = _claims(Signed(advertisement, iat, exp, serial))
    try:
        token = jws.sign({"typ": TYP}, claims, key)
    except Malformed as error:
        raise MalformedAdvertisement(error.message) from error
    if len(token) > MAX_OCTETS:
        raise MalformedAdvertisement(f"an advertisement of more than {MAX_OCTETS} octets")
    return token


def parse_signed(token: str) -> Signed:
    """Read a token with an inline chain; its signature holds under the leaf that came along.

    Raises ``MalformedAdvertisement``.
    """
    try:
        read = read_statement(token, TYP, max_octets=MAX_OCTETS)
    except Malformed as error:
        raise MalformedAdvertisement(f"an advertisement's {error.message}") from error
    return _signed(read.claims, read.chain)


def parse_pinned(token: str, key: ec.EllipticCurvePublicKey) -> Signed:
    """Read a token that the owner of ``key`` signed. Raises ``MalformedAdvertisement``."""
    try:
        read = jws.read(token, typ=TYP, max_octets=MAX_OCTETS)
    except Malformed as error:
        raise MalformedAdvertisement(f"an advertisement's {error.message}") from error
    if set(read.header) != {"alg", "typ"}:
        raise MalformedAdvertisement("an advertisement's header has other members than alg and typ")
    if not jws.signature_holds(read.signing_input, read.signature, key):
        raise MalformedAdvertisement("an advertisement that the pinned key has not signed")
    return _signed(read.claims, ())


def check_time(signed: Signed, now: float) -> None:
    """Refuse what is of another time than ``now``. Raises ``AdvertisementRefused``."""
    if signed.iat > now + FUTURE_TOLERANCE_SECONDS:
        raise AdvertisementRefused("an advertisement from the future", hint="is the clock right?")
    if signed.exp < now:
        raise AdvertisementRefused("an advertisement that has expired")


def check_signed(signed: Signed, anchors: Anchors, now: float, policy: SpcPolicy) -> Path:
    """Check that the signer is trusted at ``now`` and has every key of the advertisement.

    "whether the signer has the authority to advertise a particular CPS" (RFC 9888 section 4):
    numbers must be on its list, or, where it lists codes alone, be theirs by the policy's table;
    a code must be on its list and on each list above it.

    Raises ``AdvertisementRefused``, and as ``find_path`` does.
    """
    check_time(signed, now)
    path = find_path(signed.chain, anchors, now)
    if path.overreaches():
        raise AdvertisementRefused(f"the list of {path.signer!r} goes beyond that of its authority")
    lists = (path.tn_auth_list, *path.above, *path.above_codes)
    for code in signed.advertisement.names.spcs:
        if not all(code in one.spcs for one in lists):
            raise AdvertisementRefused(f"code {code!r} is advertised, but not of {path.signer!r}")
    if not _has_numbers(path, signed.advertisement.names, policy):
        raise AdvertisementRefused(
            f"numbers are advertised that are not of {path.signer!r}",
            hint=_first_foreign(path, signed.advertisement.names, policy),
        )
    return path


def _has_numbers(path: Path, wanted: TnAuthList, policy: SpcPolicy) -> bool:
    """Tell whether all numbers are the signer's, in one go: there may be thousands."""
    if not wanted.has_numbers:
        return True
    listed = path.tn_auth_list
    if listed.has_numbers:
        return all(one.contains(wanted) for one in (listed, *path.above))
    return all(policy.authorises(listed.spcs, *span) for span in _spans(wanted)) and all(
        upper.contains(wanted) for upper in path.above
    )


def _first_foreign(path: Path, wanted: TnAuthList, policy: SpcPolicy) -> str:
    """Name one that is not, where it does not take long to find."""
    for first, last in list(_spans(wanted))[:_MOST_NAMED]:
        # "*" and "#" are in RFC 8226's alphabet, and no arithmetic is done on them
        if first.isdigit() and not path.authorises(first, last, policy):
            return f"{number_key(first, last)} is one of them"
    return ""


def _spans(wanted: TnAuthList) -> Iterator[tuple[str, str]]:
    """Give (first, last) of each entry with numbers, as many digits each."""
    for number in wanted.numbers:
        yield number, number
    for start, count in wanted.ranges:
        last = min(int(start) + count, 10 ** len(start)) - 1
        yield start, str(last).zfill(len(start))


def _claims(signed: Signed) -> dict[str, object]:
    return {
        "advertisement": signed.advertisement.pairs(),
        "exp": signed.exp,
        "iat": signed.iat,
        "serial": signed.serial,
    }


def _signed(claims: Mapping[str, object], chain: tuple[x509.Certificate, ...]) -> Signed:
    if set(claims) != _CLAIMS:
        raise MalformedAdvertisement("an advertisement's claims are not the four that it has")
    pairs, iat, exp, serial = (claims[one] for one in ("advertisement", "iat", "exp", "serial"))
    if not isinstance(pairs, dict):
        raise MalformedAdvertisement("advertisement is not an object")
    # Signed looks at the exact types
    return Signed(Advertisement(_texts(pairs)), iat, exp, serial, chain)  # type: ignore[arg-type]


def _texts(found: Mapping[str, object]) -> dict[str, str]:
    texts = {key: url for key, url in found.items() if isinstance(url, str)}
    if len(texts) != len(found):
        raise MalformedAdvertisement("an advertisement has a value that is not a text")
    return texts


def check_cps_url(url: str) -> None:
    """Check a URL's form; whether a stranger's may be connected to is for others to say.

    Raises ``MalformedAdvertisement``.
    """
    try:
        parts = urlsplit(url)
        origin = ((parts.hostname or "").lower(), parts.port or 443)
        # "CPS URIs MUST be HTTPS URIs" (RFC 9888 section 4)
        check_url(url, EgressRule(origins=frozenset({origin})))
    except (ValueError, UrlRefused) as error:
        raise MalformedAdvertisement(
            f"an advertisement names {url[:80]!a}, not the https url of a cps"
        ) from error
