"""Records: the numbers, CPSs and public encryption keys of somebody, signed with STIR credentials.

Takes tokens that a stranger sent, anchors and the time; gives what a record says once it has shown
that its signer has the numbers it names. It fetches nothing and remembers nothing, so that a serial
grows is for whoever keeps records to check.

A record is a JWS in compact form (RFC 7515), ES256, with exactly these header parameters: ``alg``,
``typ`` "pbx-stir-record", ``x5c`` (the signer's chain, leaf first). Its payload is::

    {"cps": ["https://cps.example.net"], "exp": 1750086400, "iat": 1750000000,
     "keys": [{"public": "<32 octets, base64url>", "suite": "X25519/HKDF-SHA256/AES-128-GCM"}],
     "numbers": ["12125551200-12125551299"], "revoked": false, "serial": 1}

A tombstone has ``revoked`` true and no keys. Source: RFC 8816 section 10 (which leaves the form
open), RFC 7515 section 4.1.6.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec
from cryptography import x509

from pbx_stir.errors import Malformed, MalformedRecord, RecordRefused, UrlRefused
from pbx_stir.stir import jws, sealing
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy, find_path
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.statement import read_statement, sign_statement
from pbx_stir.stir.x5u import EgressRule, check_url

TYP: Final = "pbx-stir-record"
MAX_TOKEN_OCTETS: Final = 32_768
MAX_NUMBERS: Final = 64
MAX_CPS: Final = 4
MAX_KEYS: Final = 8
MAX_LIFETIME_SECONDS: Final = 7 * 86_400
FUTURE_TOLERANCE_SECONDS: Final = 5

_MAX_INTEGER: Final = 2**53 - 1
_MAX_FOREIGN_KEY_OCTETS: Final = 2_048
_NUMBER: Final = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?", re.ASCII)
_SUITE: Final = re.compile(r"[A-Za-z0-9/_-]{1,64}", re.ASCII)
_SCHEMES: Final = frozenset({"https", "http"})


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """A raw public key to seal to, and its suite.

    A key of a suite that is not ours is kept as it is: nobody here can seal to it, but a later
    version can, and its record must not be lost for that. Raises ``MalformedRecord``.
    """

    public: bytes
    suite: str = sealing.SUITE

    def __post_init__(self) -> None:
        if not _SUITE.fullmatch(self.suite):
            raise MalformedRecord("a record names a suite that is no name")
        if self.suite != sealing.SUITE:
            if not 1 <= len(self.public) <= _MAX_FOREIGN_KEY_OCTETS:
                raise MalformedRecord(f"a record's key of {len(self.public)} octets")
            return
        try:
            sealing.check_public_key(self.public)
        except Malformed as error:
            raise MalformedRecord(f"a record's {error.message}") from error


@dataclass(frozen=True, slots=True)
class Record:
    """What a record says. Times are epoch seconds; raises ``MalformedRecord`` when made wrongly.

    ``numbers``: 1 to 64, each canonical or "first-last" with as many digits each. ``cps``: 1 to 4
    URLs, https, or http on loopback; a tombstone may have none. ``keys``: 1 to 8, none in a
    tombstone. ``exp`` is at most seven days after ``iat``.
    """

    numbers: tuple[str, ...]
    cps: tuple[str, ...]
    keys: tuple[EncryptionKey, ...]
    serial: int
    iat: int
    exp: int
    revoked: bool = False

    def __post_init__(self) -> None:
        _check_count("numbers", self.numbers, 1, MAX_NUMBERS)
        _check_count("cps", self.cps, 0 if self.revoked else 1, MAX_CPS)
        _check_count("keys", self.keys, 0 if self.revoked else 1, 0 if self.revoked else MAX_KEYS)
        for name, value in (("serial", self.serial), ("iat", self.iat), ("exp", self.exp)):
            if not 0 <= value <= _MAX_INTEGER:
                raise MalformedRecord(f"a record's {name} is out of bounds")
        if not self.iat < self.exp <= self.iat + MAX_LIFETIME_SECONDS:
            raise MalformedRecord(
                f"a record that lives {self.exp - self.iat} s",
                hint=f"more than none, at most {MAX_LIFETIME_SECONDS} s",
            )
        for one in self.numbers:
            _first_and_last(one)
        for url in self.cps:
            _check_url(url)

    def ranges(self) -> Iterator[tuple[str, str]]:
        """Give (first, last) of each entry, as many digits each; the same twice for one number."""
        return map(_first_and_last, self.numbers)

    def covers(self, number: str) -> bool:
        """Tell whether the record speaks of ``number`` (canonical)."""
        return any(
            len(first) == len(number) and first <= number <= last for first, last in self.ranges()
        )


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """A record whose signature holds under ``chain[0]``, whom nobody has trusted yet."""

    token: str
    record: Record
    chain: tuple[x509.Certificate, ...]


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key on the wire."""

    public: str
    suite: str


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload on the wire."""

    cps: tuple[str, ...]
    exp: int
    iat: int
    keys: tuple[_Key, ...]
    numbers: tuple[str, ...]
    revoked: bool
    serial: int


def sign_record(record: Record, credential: Credential) -> str:
    """Sign a record. That the credential has its numbers is not checked; everyone else will.

    Raises ``MalformedRecord`` where the token would be too large.
    """
    keys = [{"public": jws.encode_segment(key.public), "suite": key.suite} for key in record.keys]
    claims = {
        "cps": record.cps,
        "exp": record.exp,
        "iat": record.iat,
        "keys": keys,
        "numbers": record.numbers,
        "revoked": record.revoked,
        "serial": record.serial,
    }
    try:
        return sign_statement(TYP, claims, credential, max_octets=MAX_TOKEN_OCTETS)
    except Malformed as error:
        raise MalformedRecord(error.message) from error


def parse_record(token: str) -> SignedRecord:
    """Read a token and check its signature under the leaf that came along, whoever that is.

    Raises ``MalformedRecord``, also for a signature that does not hold.
    """
    try:
        read = read_statement(token, TYP, max_octets=MAX_TOKEN_OCTETS)
    except Malformed as error:
        raise MalformedRecord(f"a record's {error.message}") from error
    return SignedRecord(token, _record(read.claims), read.chain)


def claimed(token: str) -> Record:
    """Read what a token says without checking its signature: to choose what is worth a check.

    Raises ``MalformedRecord``.
    """
    try:
        return _record(jws.read(token, typ=TYP, max_octets=MAX_TOKEN_OCTETS).claims)
    except MalformedRecord:
        raise
    except Malformed as error:
        raise MalformedRecord(f"a record's {error.message}") from error


def check_record(
    signed: SignedRecord,
    anchors: Anchors,
    now: float,
    policy: SpcPolicy,
    *,
    allow_plain: bool = False,
) -> Path:
    """Check that the signer is trusted at ``now`` and has every number that the record names.

    A provider's code counts through the policy's table only, never alone. ``allow_plain`` admits
    http URLs of CPSs on loopback. The serial is not looked at.

    Raises ``CertificateUntrusted``, ``CertificateExpired``, ``MalformedCertificate`` as
    ``find_path`` does, and ``RecordRefused``.
    """
    record = signed.record
    path = find_path(signed.chain, anchors, now)
    if record.iat > now + FUTURE_TOLERANCE_SECONDS:
        raise RecordRefused("a record from the future", hint="is the clock right?")
    if record.exp < now:
        raise RecordRefused("a record that has expired")
    if not allow_plain and any(not url.startswith("https:") for url in record.cps):
        raise RecordRefused("a record that names a cps without tls")
    for first, last in record.ranges():
        if not path.authorises(first, last, policy):
            named = first if first == last else f"{first}-{last}"
            raise RecordRefused(f"a record for {named}, which is not of {path.signer!r}")
    return path


def _record(claims: Mapping[str, object]) -> Record:
    """Read the payload, every member of its exact type and no other member."""
    # convert() would take 1.0 for an integer
    if any(isinstance(claims.get(name), float) for name in ("serial", "iat", "exp")):
        raise MalformedRecord("a record's times and serial are integers")
    try:
        read = msgspec.convert(dict(claims), _Claims)
        keys = tuple(EncryptionKey(jws.decode_segment(one.public), one.suite) for one in read.keys)
    except msgspec.ValidationError as error:
        raise MalformedRecord(f"not a record: {error}") from error
    except MalformedRecord:
        raise
    except Malformed as error:
        raise MalformedRecord(f"a record's key: {error.message}") from error
    return Record(
        numbers=read.numbers,
        cps=read.cps,
        keys=keys,
        serial=read.serial,
        iat=read.iat,
        exp=read.exp,
        revoked=read.revoked,
    )


def _check_count(name: str, values: Sequence[object], least: int, most: int) -> None:
    """Bound a list, and refuse to hear the same twice."""
    if not least <= len(values) <= most:
        raise MalformedRecord(f"a record with {len(values)} {name}, not {least} to {most}")
    if len(set(values)) != len(values):
        raise MalformedRecord(f"a record that repeats one of its {name}")


def _first_and_last(entry: str) -> tuple[str, str]:
    """Read a number or a range; ``MalformedRecord`` else."""
    match = _NUMBER.fullmatch(entry)
    if match is None:
        raise MalformedRecord(f"a record names {entry[:40]!r}, not a number or a range")
    first, last = match[1], match[2]
    if last is None:
        return first, first
    if len(first) != len(last) or first >= last:
        raise MalformedRecord(f"a record names {entry!r}, which is not a range")
    return first, last


def _check_url(url: str) -> None:
    """Check the form of a CPS's URL; whether a stranger's may be fetched is for others to say."""
    try:
        parts = urlsplit(url)
        origin = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        checked = check_url(url, EgressRule(schemes=_SCHEMES, origins=frozenset({origin})))
    except (ValueError, UrlRefused) as error:
        raise MalformedRecord(f"a record names {url[:80]!r}, not the url of a cps") from error
    if checked.scheme != "https" and not _is_loopback(checked.host):
        raise MalformedRecord(f"a record names {url[:80]!r}, which is not https")


def _is_loopback(host: str) -> bool:
    """Tell whether it means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
