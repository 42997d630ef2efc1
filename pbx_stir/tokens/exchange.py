"""What a sender and a CPS send each other to obtain tokens: three small JSON objects, both ways.

Takes and gives octets; pure, bounded and strict, and checks forms alone::

    GET  /cps/tokens   {"nonce": "…"}
    POST /cps/tokens   {"epoch": 20000, "blinded": ["<256 octets, base64url>", …]}
                       {"signatures": ["<256 octets, base64url>", …]}

The signatures are as many as the blinded messages, and in their order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from pbx_stir.errors import Malformed, MalformedToken
from pbx_stir.stir import jws
from pbx_stir.tokens.epochs import KEY_BITS, LAST_EPOCH

KEYS_PATH: Final = "/cps/token-keys"
TOKENS_PATH: Final = "/cps/tokens"
MOST_IN_A_REQUEST: Final = 32
MAX_REQUEST_OCTETS: Final = 16_384
MAX_ANSWER_OCTETS: Final = 16_384
_OCTETS: Final = KEY_BITS // 8
_T = TypeVar("_T")
_NONCE: Final = re.compile(r"[A-Za-z0-9_.-]{16,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class BlindedBatch:
    """Blinded messages of 256 octets each, to be signed with the key of an epoch."""

    epoch: int
    blinded: tuple[bytes, ...]


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be signed."""

    epoch: int
    blinded: list[str]


class _Signatures(msgspec.Struct, forbid_unknown_fields=True):
    """What was signed."""

    signatures: list[str]


class _Nonce(msgspec.Struct, forbid_unknown_fields=True):
    """What a request must repeat."""

    nonce: str


def format_request(batch: BlindedBatch) -> bytes:
    """Write a request for signatures."""
    return msgspec.json.encode(
        _Request(batch.epoch, [jws.encode_segment(one) for one in batch.blinded])
    )


def parse_request(body: bytes) -> BlindedBatch:
    """Read a request for 1 to ``MOST_IN_A_REQUEST`` signatures. Raises ``MalformedToken``."""
    request = _read(body, _Request, MAX_REQUEST_OCTETS)
    if not 0 <= request.epoch <= LAST_EPOCH:
        raise MalformedToken("an epoch out of range")
    return BlindedBatch(request.epoch, _all_decoded(request.blinded))


def format_signatures(signatures: Sequence[bytes]) -> bytes:
    """Write blind signatures."""
    return msgspec.json.encode(_Signatures([jws.encode_segment(one) for one in signatures]))


def parse_signatures(body: bytes, count: int) -> tuple[bytes, ...]:
    """Read as many blind signatures as were asked for. Raises ``MalformedToken``."""
    signatures = _all_decoded(_read(body, _Signatures, MAX_ANSWER_OCTETS).signatures)
    if len(signatures) != count:
        raise MalformedToken(f"{len(signatures)} blind signatures for {count} blinded messages")
    return signatures


def format_nonce(nonce: str) -> bytes:
    """Write a nonce."""
    return msgspec.json.encode(_Nonce(nonce))


def parse_nonce(body: bytes) -> str:
    """Read a nonce, 16 to 128 characters of ``A-Z a-z 0-9 _ . -``. Raises ``MalformedToken``."""
    nonce = _read(body, _Nonce, 1_024).nonce
    if not _NONCE.fullmatch(nonce):
        raise MalformedToken("a nonce that is not 16 to 128 characters of its alphabet")
    return nonce


def _read(body: bytes, kind: type[_T], limit: int) -> _T:
    if len(body) > limit:
        raise MalformedToken(f"a body over {limit} octets")
    try:
        return msgspec.convert(jws.read_object(body), kind)
    except (Malformed, msgspec.ValidationError) as error:
        raise MalformedToken("the body is not the JSON object that it must be") from error


def _all_decoded(texts: list[str]) -> tuple[bytes, ...]:
    if not 0 < len(texts) <= MOST_IN_A_REQUEST:
        raise MalformedToken(f"{len(texts)} values, not 1 to {MOST_IN_A_REQUEST}")
    return tuple(map(_decoded, texts))


def _decoded(text: str) -> bytes:
    try:
        octets = jws.decode_segment(text)
    except Malformed:
        raise MalformedToken("a value is not base64url") from None
    if len(octets) != _OCTETS:
        raise MalformedToken(f"a value of {len(octets)} octets, not {_OCTETS}")
    return octets
