"""The signed records of keys that a CPS gives out: the newest of each signer for a number.

Takes tokens, canonical numbers and wall-clock moments (a record's ``iat`` and ``exp`` are such);
checks a record before it keeps it, so that a stranger cannot fill a number's place. Senders check
again: nothing here is trusted by anybody. Source: RFC 8816 section 11.

A record that is put under one of its numbers is found under all of them. Its numbers and ranges are
indexed by what first and last have in common at their beginning, and never enumerated.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.record import SignedRecord, check_record, parse_record

MAX_KEYS_OF_A_NUMBER = 8
MAX_KEYS_OF_A_SIGNER = 2
MAX_RECORDS_OF_A_NUMBER = 16
MAX_RECORDS_OF_A_SIGNER = 64
DEFAULT_MAX_OCTETS = 64 * 1024 * 1024
# What the objects around a token take in CPython, measured and rounded up.
RECORD_OVERHEAD_OCTETS = 2048
_Key = TypeVar("_Key", str, bytes)


class Shelved(Enum):
    """What became of a record that is itself in order."""

    KEPT = "kept"
    NOT_NEWER = "not newer than the signer's record for this number"
    NOT_THIS_NUMBER = "the record does not name this number"
    TOO_MANY = "too many keys for one number, or records of one signer"
    FULL = "no room for more records"


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A record as it is given out, and what later ones are compared with."""

    token: str
    signer: bytes
    spans: tuple[tuple[str, str], ...]
    serial: int
    keys: int
    exp: float

    def covers(self, number: str) -> bool:
        """Say whether one of the spans holds the number, which has as many digits."""
        return any(len(a) == len(number) and a <= number <= b for a, b in self.spans)

    def is_within(self, other: _Kept) -> bool:
        """Say whether each of the spans lies in one of the other's."""
        return all(
            any(len(a) == len(c) and a <= c and d <= b for a, b in other.spans)
            for c, d in self.spans
        )


class RecordShelf:
    """Records by number and signer, in at most ``max_octets`` of memory.

    A signer is known by its certificate's public key. A tombstone is kept like any record until it
    expires: it is how senders learn of the revocation, and its serial bars what it revoked.
    ``allow_plain`` takes records that name CPSs without TLS on loopback.
    """

    def __init__(
        self,
        anchors: Anchors,
        policy: SpcPolicy,
        *,
        allow_plain: bool = False,
        max_octets: int = DEFAULT_MAX_OCTETS,
    ) -> None:
        self._anchors = anchors
        self._policy = policy
        self._allow_plain = allow_plain
        self._max_octets = max_octets
        self._octets = 0
        self._by_signer: dict[bytes, dict[_Kept, None]] = {}
        self._by_prefix: dict[str, dict[_Kept, None]] = {}

    def __len__(self) -> int:
        """Count the records, expired ones that no sweep has met among them."""
        return sum(map(len, self._by_signer.values()))

    def put(self, number: str, token: str, now: float) -> Shelved:
        """Check a record and keep it, in place of the signer's older ones that it covers whole.

        Raises ``Malformed``, and ``Refused`` where its signer has no authority over its numbers.
        """
        signed = parse_record(token)
        if not signed.record.covers(number):
            return Shelved.NOT_THIS_NUMBER
        check_record(signed, self._anchors, now, self._policy, allow_plain=self._allow_plain)
        kept = _kept(signed)
        newest = self._newest(number, now)
        earlier = newest.get(kept.signer)
        if earlier is not None and kept.serial <= earlier.serial:
            return Shelved.NOT_NEWER
        others = [each for each in newest.values() if each.signer != kept.signer]
        replaced = [
            each
            for each in self._by_signer.get(kept.signer, ())
            if each.serial < kept.serial and each.is_within(kept)
        ]
        of_signer = len(self._by_signer.get(kept.signer, ())) - len(replaced) + 1
        if (
            of_signer > MAX_RECORDS_OF_A_SIGNER
            or len(others) >= MAX_RECORDS_OF_A_NUMBER
            or sum(each.keys for each in others) + kept.keys > MAX_KEYS_OF_A_NUMBER
        ):
            return Shelved.TOO_MANY
        if self._octets + _cost(kept) - sum(map(_cost, replaced)) > self._max_octets:
            return Shelved.FULL
        for each in replaced:
            self._remove(each)
        self._add(kept)
        return Shelved.KEPT

    def tokens(self, number: str, now: float) -> tuple[str, ...]:
        """Give a number's records: each signer's newest that has not expired, at most 8 keys."""
        found: list[str] = []
        keys = 0
        for each in self._newest(number, now).values():
            keys += each.keys
            if keys <= MAX_KEYS_OF_A_NUMBER and len(found) < MAX_RECORDS_OF_A_NUMBER:
                found.append(each.token)
        return tuple(found)

    def sweep(self, now: float) -> None:
        """Free what has expired."""
        expired = [
            each for records in self._by_signer.values() for each in records if each.exp <= now
        ]
        for each in expired:
            self._remove(each)

    def _newest(self, number: str, now: float) -> dict[bytes, _Kept]:
        """Find each signer's newest record for a number, in the order in which they came."""
        newest: dict[bytes, _Kept] = {}
        for length in range(len(number) + 1):
            for each in self._by_prefix.get(number[:length], ()):
                if each.exp > now and each.covers(number):
                    known = newest.get(each.signer)
                    if known is None or known.serial < each.serial:
                        newest[each.signer] = each
        return newest

    def _add(self, kept: _Kept) -> None:
        """Put a record into every index."""
        self._octets += _cost(kept)
        self._by_signer.setdefault(kept.signer, {})[kept] = None
        for span in kept.spans:
            self._by_prefix.setdefault(_prefix(*span), {})[kept] = None

    def _remove(self, kept: _Kept) -> None:
        """Take a record out of every index."""
        self._octets -= _cost(kept)
        _discard(self._by_signer, kept.signer, kept)
        for span in kept.spans:
            _discard(self._by_prefix, _prefix(*span), kept)


def _kept(signed: SignedRecord) -> _Kept:
    """Take what is needed out of a checked record; its signer by the key, which is what signs."""
    key = signed.chain[0].public_key()
    octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _Kept(
        signed.token,
        hashlib.sha256(octets).digest(),
        tuple(signed.record.ranges()),
        signed.record.serial,
        # Senders use no more of one signer's.
        min(len(signed.record.keys), MAX_KEYS_OF_A_SIGNER),
        signed.record.exp,
    )


def _prefix(first: str, last: str) -> str:
    """Give the digits that all numbers from first to last begin with."""
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    return first[:same]


def _discard(index: dict[_Key, dict[_Kept, None]], key: _Key, kept: _Kept) -> None:
    """Take one record out of one index; nothing empty stays."""
    records = index.get(key, {})
    records.pop(kept, None)
    if not records:
        index.pop(key, None)


def _cost(kept: _Kept) -> int:
    """What a record takes in memory, about, in octets."""
    return len(kept.token) + RECORD_OVERHEAD_OCTETS
