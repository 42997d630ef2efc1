"""Statements signed with STIR credentials: a JWS that brings its signer's certificates along.

Takes tokens that a stranger sent, gives what they say once the signature holds under the
certificate that came along; whether anybody trusts that certificate is for others to say. Each kind
of statement has its own ``typ``, and its reader refuses every other. Nothing is fetched.

The header has exactly ``alg`` (ES256), ``typ`` and ``x5c``: the signer's chain in base64 DER, leaf
first. Source: RFC 7515 sections 3.1 and 4.1.6.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.errors import Malformed
from pbx_stir.stir import jws
from pbx_stir.stir.certificate import parse_chain
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.profile import is_p256

MAX_OCTETS: Final = 32_768
_MEMBERS: Final = frozenset({"alg", "typ", "x5c"})


@dataclass(frozen=True, slots=True)
class Statement:
    """Claims whose signature holds under ``chain[0]``, whom nobody has trusted yet."""

    token: str
    claims: Mapping[str, object]
    chain: tuple[x509.Certificate, ...]


def sign_statement(
    typ: str,
    claims: Mapping[str, object],
    credential: Credential,
    *,
    max_octets: int = MAX_OCTETS,
) -> str:
    """Sign claims, the credential's chain inside.

    Raises ``Malformed`` for claims that JSON cannot hold, or a token over ``max_octets``.
    """
    x5c = [base64.b64encode(der).decode("ascii") for der in credential.chain]
    token = jws.sign({"typ": typ, "x5c": x5c}, claims, credential.key)
    if len(token) > max_octets:
        raise Malformed(f"a {typ} of {len(token)} octets, over {max_octets}")
    return token


def read_statement(token: str, typ: str, *, max_octets: int = MAX_OCTETS) -> Statement:
    """Read a token of this ``typ`` and check its signature under the leaf that came along.

    Raises ``Malformed``, also for a signature that does not hold.
    """
    read = jws.read(token, typ=typ, max_octets=max_octets)
    chain = parse_chain(_inline_chain(read.header))
    key = chain[0].public_key() if is_p256(chain[0]) else None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise Malformed("signer has no P-256 key")
    if not jws.signature_holds(jws.signing_input(token), read.signature, key):
        raise Malformed("signature does not hold")
    return Statement(token, read.claims, chain)


def _inline_chain(header: Mapping[str, object]) -> tuple[bytes, ...]:
    """Read x5c: "base64-encoded (Section 4 of [RFC4648] -- not base64url-encoded) DER"."""
    if set(header) != _MEMBERS:
        raise Malformed("header has other members than alg, typ and x5c")
    x5c = header["x5c"]
    if not isinstance(x5c, list) or not all(isinstance(one, str) for one in x5c):
        raise Malformed("x5c is not an array of strings")
    try:
        return tuple(base64.b64decode(one, validate=True) for one in x5c)
    except (binascii.Error, ValueError) as error:
        raise Malformed("x5c is not base64") from error
