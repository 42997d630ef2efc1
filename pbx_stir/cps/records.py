"""What a CPS asks of a signed record before it keeps it, and which of two records it keeps.

Takes tokens, canonical numbers and wall-clock moments (a record's ``iat`` and ``exp`` are such);
gives decisions that every shelf carries out alike (``shelf``). Pure: it holds nothing. A record is
checked, so that a stranger cannot fill a number's place; senders check again, and nothing here is
trusted by anybody. Source: RFC 8816 section 11.

A signer is known by its certificate's public key. Of one signer and number only the record with the
highest serial counts, and that serial stays remembered when the record has expired, for as long as
an older record could still be good: whoever kept a copy must not bring it back. So the rows of one
signer never name one number twice: a newer record cuts its numbers out of the older ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pbx_stir.services.judgement import RevocationSource
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.digits import joined
from pbx_stir.stir.record import (
    FUTURE_TOLERANCE_SECONDS,
    MAX_LIFETIME_SECONDS,
    check_record,
    parse_record,
)

MAX_KEYS_OF_A_NUMBER = 8
MAX_KEYS_OF_A_SIGNER = 2
MAX_RECORDS_OF_A_NUMBER = 16
MAX_RECORDS_OF_A_SIGNER = 64
# with those that have expired and whose serials are remembered
MAX_ROWS_OF_A_SIGNER = 256
MAX_SPANS_OF_A_SIGNER = 8192
# An older record was signed before this one came: so long can it be good.
REMEMBERED_SECONDS = MAX_LIFETIME_SECONDS + FUTURE_TOLERANCE_SECONDS

# first and last number, of as many digits each
Span = tuple[str, str]


class Shelved(Enum):
    """What became of a record that is itself in order."""

    KEPT = "kept"
    NOT_NEWER = "not newer than the signer's record for this number"
    NOT_THIS_NUMBER = "the record does not name this number"
    TOO_MANY = "too many keys for one number, or records of one signer"
    FULL = "no room for more records"


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """A record whose signer has its numbers. ``signer`` is the hash of its public key."""

    token: str
    signer: bytes
    spans: tuple[Span, ...]
    serial: int
    keys: int
    exp: float


@dataclass(frozen=True, slots=True)
class Row:
    """What a shelf holds of one record: the token until ``exp``, the serial until ``until``.

    ``spans`` are the numbers for which no newer record of the signer has come. ``since`` is when
    the signer took its place at these numbers: who came first keeps it. ``token`` is empty once it
    has expired. ``id`` is the shelf's, and grows.
    """

    token: str
    signer: bytes
    spans: tuple[Span, ...]
    serial: int
    keys: int
    exp: float
    until: float
    since: float
    id: int = 0

    def covers(self, number: str) -> bool:
        """Say whether one of the spans holds the number."""
        return covers(self.spans, number)

    def is_live(self, now: float) -> bool:
        """Say whether the record is given out: a swept one stays gone when the clock goes back."""
        return bool(self.token) and self.exp > now


@dataclass(frozen=True, slots=True)
class Placement:
    """What is to be done with a record: ``row`` is added, ``gone`` and ``cut`` are changed."""

    shelved: Shelved
    row: Row | None = None
    gone: tuple[Row, ...] = ()
    cut: tuple[Row, ...] = ()


class RecordCheck:
    """Checks records as they come, by the anchors and revocations that are in force then."""

    def __init__(
        self,
        anchors: Callable[[], Anchors],
        policy: SpcPolicy,
        *,
        allow_plain: bool = False,
        revocation: RevocationSource | None = None,
    ) -> None:
        """``allow_plain`` takes records that name CPSs without TLS on loopback."""
        self._anchors = anchors
        self._policy = policy
        self._allow_plain = allow_plain
        self._revocation = revocation

    def check(self, number: str, token: str, now: float) -> CheckedRecord | None:
        """Read a record that is put under ``number``; None where it does not name it.

        Raises ``Malformed``; ``Refused`` where its signer has no authority over its numbers, or is
        revoked; ``Unavailable`` where that must be known and is not.
        """
        signed = parse_record(token)
        if not signed.record.covers(number):
            return None
        path = check_record(
            signed, self._anchors(), now, self._policy, allow_plain=self._allow_plain
        )
        if self._revocation is not None:
            self._revocation.check(path, now)
        key = path.leaf.public_key()
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return CheckedRecord(
            signed.token,
            hashlib.sha256(octets).digest(),
            tuple(dict.fromkeys(signed.record.ranges())),
            signed.record.serial,
            # Senders use no more of one signer's.
            min(len(signed.record.keys), MAX_KEYS_OF_A_SIGNER),
            min(float(signed.record.exp), path.not_after),
        )


def place(
    record: CheckedRecord, number: str, mine: Sequence[Row], others: Sequence[Row], now: float
) -> Placement:
    """Decide on a record that is put under ``number``.

    ``mine`` are the signer's rows, ``others`` those of other signers that hold ``number``; rows
    that are over (``until``) or, of others, have expired must not be among them.
    """
    newer = [span for row in mine if row.serial >= record.serial for span in row.spans]
    spans = without(record.spans, newer) if newer else record.spans
    if not covers(spans, number):
        return Placement(Shelved.NOT_NEWER)
    touched: list[Row] = []
    gone: list[Row] = []
    cut: list[Row] = []
    for row in mine:
        left = without(row.spans, spans) if row.serial < record.serial else row.spans
        if left == row.spans:
            continue
        touched.append(row)
        if left:
            cut.append(replace(row, spans=left))
        else:
            gone.append(row)
    if _too_many(record, spans, mine, gone, others, now):
        return Placement(Shelved.TOO_MANY)
    row = Row(
        record.token,
        record.signer,
        spans,
        record.serial,
        record.keys,
        record.exp,
        until=max([now + REMEMBERED_SECONDS, *(each.until for each in touched)]),
        since=min([now, *(each.since for each in touched if each.is_live(now))]),
    )
    return Placement(Shelved.KEPT, row, tuple(gone), tuple(cut))


def _too_many(
    record: CheckedRecord,
    spans: Sequence[Span],
    mine: Sequence[Row],
    gone: Sequence[Row],
    others: Sequence[Row],
    now: float,
) -> bool:
    """Say whether one record more is beyond a bound of its number or signer."""
    left = [row for row in mine if row not in gone]
    return (
        len(others) >= MAX_RECORDS_OF_A_NUMBER
        or sum(row.keys for row in others) + record.keys > MAX_KEYS_OF_A_NUMBER
        or sum(row.is_live(now) for row in left) >= MAX_RECORDS_OF_A_SIGNER
        or len(left) >= MAX_ROWS_OF_A_SIGNER
        or sum(len(row.spans) for row in left) + len(spans) > MAX_SPANS_OF_A_SIGNER
    )


def given(rows: Iterable[Row], now: float) -> tuple[str, ...]:
    """Give the tokens of one number's rows: who came first, comes first; at most 8 keys."""
    found: list[str] = []
    keys = 0
    live = (row for row in rows if row.is_live(now))
    for row in sorted(live, key=lambda each: (each.since, each.signer)):
        if keys + row.keys <= MAX_KEYS_OF_A_NUMBER and len(found) < MAX_RECORDS_OF_A_NUMBER:
            keys += row.keys
            found.append(row.token)
    return tuple(found)


def covers(spans: Iterable[Span], number: str) -> bool:
    """Say whether one of the spans holds the number."""
    return any(len(a) == len(number) and a <= number <= b for a, b in spans)


def without(spans: Sequence[Span], taken: Iterable[Span]) -> tuple[Span, ...]:
    """Give what is left of ``spans`` where ``taken`` is cut out; themselves where nothing is."""
    cuts = joined((len(a), int(a), int(b)) for a, b in taken)
    left: list[Span] = []
    for first, last in spans:
        start, end = int(first), int(last)
        touching = [one for one in cuts.get(len(first), ()) if one[0] <= end and start <= one[1]]
        if not touching:
            left.append((first, last))
            continue
        for low, high in touching:
            if start < low:
                left.append(_span(len(first), start, low - 1))
            start = high + 1
        if start <= end:
            left.append(_span(len(first), start, end))
    return tuple(left)


def prefix_of(span: Span) -> str:
    """Give the digits that all numbers of a span begin with."""
    first, last = span
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    return first[:same]


def prefixes(spans: Iterable[Span]) -> tuple[str, ...]:
    """Give the prefixes under which a row is found, each once, in order."""
    return tuple(sorted(set(map(prefix_of, spans))))


def first_prefix_under(row: Row, prefix: str) -> str | None:
    """Give the first of a row's prefixes that has numbers under ``prefix``, None for none."""
    under = [
        prefix_of(span)
        for span in row.spans
        if len(span[0]) >= len(prefix)
        and span[0] <= prefix.ljust(len(span[0]), "9")
        and prefix.ljust(len(span[0]), "0") <= span[1]
    ]
    return min(under, default=None)


def beginnings(number: str) -> Iterator[str]:
    """Give every prefix of a number, from none to itself."""
    return (number[:length] for length in range(len(number) + 1))


def _span(digits: int, first: int, last: int) -> Span:
    return f"{first:0{digits}d}", f"{last:0{digits}d}"
