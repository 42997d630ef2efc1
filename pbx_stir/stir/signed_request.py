"""HTTP requests signed with a STIR credential, for a CPS that must know who asks.

Takes requests and credentials, gives the value of an ``Authorization`` header, and reads and checks
one. "the use of the STIR credential to sign a token that is submitted to the CPS" (RFC 9888 section
6). Mutual TLS alone would not do: a critical TNAuthList makes TLS stacks refuse the certificate.

The value is ``StirCredential`` and a statement (``stir.statement``) whose claims are exactly::

    {"aud": "cps.example.net", "body": "<SHA-256 of the body, base64url>", "iat": 1750000000,
     "jti": "<nonce>", "method": "GET", "path": "/cps/12125551234/ppts"}

``aud`` is the CPS's host name without port. Each purpose has its own ``typ``, so that what was
signed to retrieve cannot be used to obtain tokens. That a nonce is used once only is for the caller
to see to: for two windows, by signer and nonce.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from pbx_stir.errors import Malformed, RequestRefused
from pbx_stir.stir import jws
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.statement import Statement, read_statement, sign_statement

RETRIEVAL: Final = "pbx-stir-retrieval"
SUBMISSION: Final = "pbx-stir-submission"
REPORT: Final = "pbx-stir-report"
TOKEN_REQUEST: Final = "pbx-stir-token-request"  # noqa: S105
SCHEME: Final = "StirCredential"
WINDOW_SECONDS: Final = 30
# a header field of a server's usual bound, 8 KiB, holds it with its name
MAX_TOKEN_OCTETS: Final = 8_000

_CLAIMS: Final = frozenset({"aud", "body", "iat", "jti", "method", "path"})
_NONCE: Final = re.compile(r"[A-Za-z0-9_.-]{16,128}", re.ASCII)
_MOST_TEXT: Final = 512


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signed request says; nobody has trusted its signer yet. ``iat`` is epoch seconds."""

    statement: Statement
    audience: str
    method: str
    path: str
    iat: int
    nonce: str
    body_sha256: bytes


def sign_request(
    typ: str,
    *,
    audience: str,
    method: str,
    path: str,
    body: bytes,
    now: float,
    credential: Credential,
    nonce: str = "",
) -> str:
    """Give the value of ``Authorization`` for a request.

    ``path`` is as it is sent, percent-encoding and query included; ``nonce`` is what the CPS gave
    where it gives one, else a random one is drawn.
    Raises ``Malformed`` where the chain is too long for a header field.
    """
    claims = {
        "aud": audience,
        "body": jws.encode_segment(hashlib.sha256(body).digest()),
        "iat": int(now),
        "jti": nonce or secrets.token_urlsafe(16),
        "method": method,
        "path": path,
    }
    return f"{SCHEME} {sign_statement(typ, claims, credential, max_octets=MAX_TOKEN_OCTETS)}"


def is_signed(value: str) -> bool:
    """Tell whether an ``Authorization`` value is of this scheme, whatever follows."""
    return value.partition(" ")[0].lower() == SCHEME.lower()


def read_request(value: str, typ: str) -> SignedRequest:
    """Read the value of ``Authorization``; its signature holds then. Raises ``Malformed``."""
    if not is_signed(value):
        raise Malformed(f"authorization is not of scheme {SCHEME}")
    statement = read_statement(value.partition(" ")[2], typ, max_octets=MAX_TOKEN_OCTETS)
    claims = statement.claims
    if set(claims) != _CLAIMS:
        raise Malformed("a signed request has other claims than aud, body, iat, jti, method, path")
    audience, method, path, nonce, body = (
        _text(claims[name], name) for name in ("aud", "method", "path", "jti", "body")
    )
    iat = claims["iat"]
    # bool is an int to Python
    if type(iat) is not int or not 0 <= iat < 2**53:
        raise Malformed("iat is not a time in whole seconds")
    if not _NONCE.fullmatch(nonce):
        raise Malformed("jti is not 16 to 128 characters of a nonce")
    body_sha256 = jws.decode_segment(body)
    if len(body_sha256) != hashlib.sha256().digest_size:
        raise Malformed("body is not a SHA-256 value")
    return SignedRequest(statement, audience, method, path, iat, nonce, body_sha256)


def check_terms(
    signed: SignedRequest,
    *,
    audiences: Container[str],
    method: str,
    path: str,
    body: bytes,
    now: float,
) -> None:
    """Check that the request is this one, is of now and for us. Raises ``RequestRefused``.

    Whether its signer is trusted, and for which numbers, is for the caller to ask of its path.
    """
    if signed.audience not in audiences:
        raise RequestRefused("a signed request for another service")
    if signed.method != method or signed.path != path:
        raise RequestRefused("a signed request for another method or path")
    if abs(now - signed.iat) > WINDOW_SECONDS:
        raise RequestRefused(
            f"a signed request of another time than the last {WINDOW_SECONDS} s",
            hint="is the clock right?",
        )
    if signed.body_sha256 != hashlib.sha256(body).digest():
        raise RequestRefused("a signed request with another body")


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value or len(value) > _MOST_TEXT:
        raise Malformed(f"{name} is not a text of 1 to {_MOST_TEXT} characters")
    if not value.isascii() or not value.isprintable():
        raise Malformed(f"{name} is not plain ASCII")
    return value
