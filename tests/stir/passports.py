"""PASSporTs to read: right ones, and what else somebody might sign."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from pbx_stir.stir import jws, passport
from pbx_stir.stir.passport import Passport

KEY = ec.derive_private_key(4711, ec.SECP256R1())
X5U = "https://cert.example.org/passport.cer"
ORIGID = "123e4567-e89b-12d3-a456-426655440000"
CLAIMS: dict[str, Any] = {
    "orig": {"tn": "12155551212"},
    "dest": {"tn": ["12125551234"]},
    "iat": 1443208345,
}
SHAKEN = CLAIMS | {"attest": "A", "origid": ORIGID}


def made(header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Sign a base token; a claim or header member of ``...`` is left out."""
    head = {"typ": "passport", "x5u": X5U} | (header or {})
    body = CLAIMS | claims
    return jws.sign(
        {name: value for name, value in head.items() if value is not ...},
        {name: value for name, value in body.items() if value is not ...},
        KEY,
    )


def made_raw(payload: bytes, header: bytes | None = None) -> str:
    """Sign octets as they stand."""
    head = header or b'{"alg":"ES256","typ":"passport","x5u":"' + X5U.encode() + b'"}'
    unsigned = f"{jws.encode_segment(head)}.{jws.encode_segment(payload)}"
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(unsigned.encode(), KEY)
    return f"{unsigned}.{jws.encode_segment(signature)}"


def shaken() -> Passport:
    """Sign a shaken PASSporT."""
    return passport.sign(
        orig="12155551212",
        dest=["12125551234"],
        iat=1443208345,
        x5u=X5U,
        key=KEY,
        attest="A",
        origid=ORIGID,
    )


def base() -> Passport:
    """Sign a base PASSporT."""
    return passport.sign(
        orig="+12155551212", dest=["12125551234"], iat=1443208345, x5u=X5U, key=KEY, jti="j1"
    )
