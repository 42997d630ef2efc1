"""JSON Web Signatures in compact form, ES256, strictly: the one form of every signed object here.

Takes text that a stranger sent, gives its parts with every octet accounted for, or Malformed; and
signs. It knows nothing of what the claims mean, of certificates and of time. Each kind of object
has its own ``typ``, and its parser asks for that one alone.

Why so strict: other readers drop foreign base64 characters, take the last of two members of one
name, read NaN, or run out of stack. Where two readers see two tokens in the same octets, one of
them can be lied to. So: three segments, base64url in its one canonical form (no padding, no stray
bits), UTF-8 without byte order mark, RFC 8259 JSON whose top is an object, no member twice at any
depth, no NaN, no Infinity, no lone surrogates, bounded size, depth and digits. White space and
member order are free: the signature is over the octets received, and they are never re-serialised
for checking.

A signature of another length than 64 octets is malformed (a DER signature is); one whose r or s is
0 or not below the group order is well-formed, and does not hold.

Source: RFC 7515 (JWS), RFC 7518 section 3.4 (ES256), RFC 8259 (JSON), RFC 8225 section 9 (canonical
octets of what we make).
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.errors import Malformed

if TYPE_CHECKING:
    from jwt.algorithms import ECAlgorithm

ALGORITHM: Final = "ES256"
SIGNATURE_OCTETS: Final = 64
# the order of the base point of P-256 (SEC 2 section 2.4.2)
GROUP_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
MAX_DEPTH: Final = 32
_MAX_NUMBER: Final = 100  # characters; Python would refuse, or take its time, from 4,300 digits on

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+")
# by how many characters are over: those that stand for octets and zero bits (RFC 4648 section 3.5)
_LAST: Final = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}
_STRUCTURE: Final = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Jws:
    """The parts of one token; two are equal when their texts are.

    ``token`` is the text as received. ``header`` and ``claims`` are the decoded objects, read-only
    at their top. ``signature`` is r‖s, 64 octets.
    """

    token: str
    header: Mapping[str, object] = field(compare=False, repr=False)
    claims: Mapping[str, object] = field(compare=False, repr=False)
    signature: bytes = field(compare=False, repr=False)

    @property
    def signing_input(self) -> bytes:
        """The octets that the signature is over: header and payload segments as received."""
        return signing_input(self.token)


def read(token: str, *, typ: str, max_octets: int) -> Jws:
    """Take a token apart. Its signature is not checked, only its form.

    Raises Malformed: not three segments in the strict form above, longer than ``max_octets``, an
    ``alg`` other than ES256 or a ``typ`` other than ``typ`` (both by letter case), or a ``crit``.
    """
    if len(token) > max_octets:
        raise Malformed(f"token of more than {max_octets} octets")
    segments = token.split(".", 3)
    if len(segments) != 3:
        raise Malformed("token has not three segments")
    header_octets, payload, signature = map(decode_segment, segments)
    if len(signature) != SIGNATURE_OCTETS:
        raise Malformed(f"signature has {len(signature)} octets, not {SIGNATURE_OCTETS}")
    header = read_object(header_octets)
    if header.get("alg") != ALGORITHM:
        raise Malformed(f"alg is {str(header.get('alg'))[:40]!r}, not {ALGORITHM}")
    if header.get("typ") != typ:
        raise Malformed(f"typ is {str(header.get('typ'))[:40]!r}, not {typ}")
    # RFC 7515 section 4.1.11: "If any of the listed extension Header Parameters are not understood
    # and supported by the recipient, then the JWS is invalid"; we support none
    if "crit" in header:
        raise Malformed("crit is not supported")
    claims = read_object(payload)
    return Jws(token, MappingProxyType(header), MappingProxyType(claims), signature)


def signing_input(token: str) -> bytes:
    """Give the octets that the signature of an ASCII token is over."""
    return token.rpartition(".")[0].encode("ascii")


def decode_segment(segment: str) -> bytes:
    """Decode base64url without padding, in the one form that its octets have.

    Raises Malformed: nothing, foreign characters, ``=``, a length that no octets have, or bits left
    over that are not zero.
    """
    if not _SEGMENT.fullmatch(segment):
        raise Malformed("a segment is empty or not base64url")
    left = len(segment) % 4
    if left == 1:
        raise Malformed("a segment has a length that base64url never has")
    if left and segment[-1] not in _LAST[left]:
        raise Malformed("a segment ends in bits that are not zero")
    return base64.urlsafe_b64decode(segment + "=" * (-left % 4))


def encode_segment(octets: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def read_object(octets: bytes) -> dict[str, object]:
    """Read a JSON object, strictly as the module says. Raises Malformed."""
    try:
        text = octets.decode("utf-8")
        if text.count("[") + text.count("{") > MAX_DEPTH:
            _check_depth(text)
        found = _DECODER.decode(text)
        if _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise Malformed("a segment is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a segment is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Malformed("a segment is not a JSON object")
    return found


def _check_depth(text: str) -> None:
    """Refuse text nested too deeply before a recursive reader sees it."""
    depth = 0
    in_string = False
    for match in _STRUCTURE.finditer(text):
        mark = match[0]
        if mark == '"':
            in_string = not in_string
        elif not in_string and mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(f"JSON nested more than {MAX_DEPTH} deep")
        elif not in_string and mark in "]}":
            depth -= 1


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a member stands twice in one JSON object")
    return members


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise Malformed("a JSON number is too long")
    return int(text)


def _float(text: str) -> float:
    number = float(text) if len(text) <= _MAX_NUMBER else math.inf
    if not math.isfinite(number):
        raise Malformed("a JSON number is too large or too long")
    return number


def _constant(text: str) -> object:
    raise Malformed(f"{text} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_constant,
)


def canonical_octets(value: object) -> bytes:
    """Serialise as RFC 8225 section 9: members by code point, no white space, UTF-8 unescaped.

    Raises Malformed for what JSON cannot hold.
    """
    try:
        return _CANONICAL.encode(dict(value) if isinstance(value, Mapping) else value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Malformed(f"cannot be written as JSON: {error}") from error


def sign(
    header: Mapping[str, object], claims: Mapping[str, object], key: ec.EllipticCurvePrivateKey
) -> str:
    """Make a token of canonical octets; ``header`` has at least ``typ``, ``alg`` is put in.

    Raises Malformed for a key that is not on P-256, or members that are not JSON.
    """
    if not isinstance(key.curve, ec.SECP256R1):
        raise Malformed(f"key is on {key.curve.name}, not P-256")
    segments = [
        encode_segment(canonical_octets(members))
        for members in ({**header, "alg": ALGORITHM}, claims)
    ]
    unsigned = ".".join(segments)
    signature = _es256().sign(unsigned.encode("ascii"), key)
    return f"{unsigned}.{encode_segment(signature)}"


def signature_holds(signed: bytes, signature: bytes, key: ec.EllipticCurvePublicKey) -> bool:
    """Tell whether ``key`` made the signature r‖s over ``signed``. Never raises.

    False for a key on another curve, a signature of another size than 64 octets, and r or s of 0 or
    not below the group order. Both s and n - s hold (RFC 7518 knows no low s).
    """
    if len(signature) != SIGNATURE_OCTETS or not isinstance(key.curve, ec.SECP256R1):
        return False
    if not all(0 < scalar < GROUP_ORDER for scalar in scalars(signature)):
        return False
    return _es256().verify(signed, key, signature)


def scalars(signature: bytes) -> tuple[int, int]:
    """Give r and s of 64 octets, whatever their range."""
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


@lru_cache(maxsize=1)
def _es256() -> ECAlgorithm:
    # imported where it is used: a command that only shows its help need not wait for it
    from cryptography.hazmat.primitives import hashes
    from jwt.algorithms import ECAlgorithm

    return ECAlgorithm(hashes.SHA256)
