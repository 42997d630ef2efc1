"""Which keys of a number's records are to be used.

Takes record tokens as a CPS returned them and what was held before, gives what is held now, by
signer. The CPS is not trusted: signature, path, authority and time are checked here, for each
record. Pure and blocking, about a millisecond a record: callers run it in a thread.

Of one signer the record with the highest serial counts, and one that was seen stays seen: a CPS
that returns an older record, or leaves a tombstone out, changes nothing until that record expires.
Source: RFC 8816 section 11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pbx_stir.directory.signers import fingerprint
from pbx_stir.errors import Malformed, Refused
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy
from pbx_stir.stir.record import Record, check_record, parse_record
from pbx_stir.stir.sealing import SUITE

MOST_RECORDS: Final = 32
MOST_SIGNERS: Final = 16
MOST_KEYS: Final = 8
MOST_KEYS_OF_SIGNER: Final = 2


@dataclass(frozen=True, slots=True)
class Held:
    """One signer's latest record: its raw public keys (none for a tombstone) until ``expires``.

    ``leaf`` is the fingerprint of the certificate that signed it.
    """

    serial: int
    keys: tuple[bytes, ...]
    expires: float
    leaf: bytes = b""


def nobody_refused(leaf: bytes) -> str:
    """Say of every certificate that it is not refused."""
    return ""


@dataclass(frozen=True, slots=True)
class Selection:
    """What is held by signer, how many records were refused, and why the first of them was.

    ``paths`` are those of the records that were taken now.
    """

    held: Mapping[str, Held]
    refused: int = 0
    detail: str = ""
    paths: tuple[Path, ...] = ()

    def keys(
        self, now: float, why_refused: Callable[[bytes], str] = nobody_refused
    ) -> tuple[bytes, ...]:
        """The keys to seal to at ``now``: at most eight, each once, of nobody who is refused."""
        held_now = (held for held in self.held.values() if now < held.expires)
        live = [held for held in held_now if not why_refused(held.leaf)]
        every = [key for held in live for key in held.keys]
        return tuple(dict.fromkeys(every))[:MOST_KEYS]


def select(
    tokens: Iterable[str],
    number: str,
    anchors: Anchors,
    policy: SpcPolicy,
    now: float,
    before: Mapping[str, Held],
    *,
    allow_plain: bool = False,
    why_refused: Callable[[bytes], str] = nobody_refused,
) -> Selection:
    """Check the records of ``number`` and join them with what was held ``before``.

    Looks at the first ``MOST_RECORDS`` only. ``allow_plain`` admits records that name a CPS on
    loopback without TLS. ``why_refused`` says of a certificate, by its fingerprint, why it counts
    no more, empty where it does: what it signed takes nobody's place. Never raises for what a
    token holds.
    """
    held = {
        signer: one
        for signer, one in before.items()
        if now < one.expires and not why_refused(one.leaf)
    }
    paths: list[Path] = []
    refused = 0
    detail = ""
    for token in list(dict.fromkeys(tokens))[:MOST_RECORDS]:
        try:
            signed = parse_record(token)
            path = check_record(signed, anchors, now, policy, allow_plain=allow_plain)
            if not signed.record.covers(number):
                raise Refused("a record that does not name the number it was returned for")
            if why := why_refused(fingerprint(path)):
                raise Refused(why)
        except (Malformed, Refused) as error:
            refused += 1
            detail = detail or str(error)
            continue
        paths.append(path)
        signer, one = path.signer, _held(signed.record, path)
        known = held.get(signer)
        if known is None or one.serial > known.serial:
            held[signer] = one
    if len(held) > MOST_SIGNERS:
        latest = sorted(held.items(), key=lambda item: item[1].serial, reverse=True)
        held = dict(latest[:MOST_SIGNERS])
    return Selection(held, refused, detail, tuple(paths))


def _held(record: Record, path: Path) -> Held:
    """What a checked record says; its signer's certificates bound it too."""
    keys = tuple(key.public for key in record.keys if key.suite == SUITE)
    expires = min(float(record.exp), path.not_after)
    return Held(record.serial, keys[:MOST_KEYS_OF_SIGNER], expires, fingerprint(path))
