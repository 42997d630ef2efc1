"""A storage token and the proof that goes with each store: their octets and their header.

Takes and gives values and text; pure, trusts nothing, knows no key but the one it signs with.
A **token** is the public half of a key pair K_temp (P-256), drawn for one call, and the CPS's blind
signature over it. A **proof** is K_temp's signature over one store. Both come in one header::

    Authorization: StorageToken epoch="…", key="…", randomizer="…", signature="…",
                                time="…", nonce="…", proof="…"

``epoch`` and ``time`` are decimal, the others base64url without padding. What is signed is always
one name of its purpose, a zero octet, and fields of fixed length, or with their length before them
in two octets: two different stores are never the same octets.
Source: RFC 8816 section 7.5, "Sign(K_temp, E(K_receiver, PASSporT))"; RFC 9110 section 11.4.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from pbx_stir.errors import MalformedToken
from pbx_stir.stir import jws
from pbx_stir.tokens import blind_rsa
from pbx_stir.tokens.epochs import KEY_BITS, LAST_EPOCH

SCHEME: Final = "StorageToken"
WINDOW_SECONDS: Final = 30
KEY_OCTETS: Final = 33
NONCE_OCTETS: Final = 16
SIGNATURE_OCTETS: Final = KEY_BITS // 8
MAX_HEADER_OCTETS: Final = 1_024
_LAST_TIME: Final = 2**53
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_TOKEN_PURPOSE: Final = b"pbx-stir storage token v1\x00"
_PROOF_PURPOSE: Final = b"pbx-stir storage proof v1\x00"
# RFC 9110 section 11.2: blanks may stand around "=", and a value be quoted or not
_VALUE: Final = r"[A-Za-z0-9_-]{1,512}"
_PARAMETER: Final = re.compile(
    rf'[ \t]*([A-Za-z]{{1,16}})[ \t]*=[ \t]*(?:"({_VALUE})"|({_VALUE}))[ \t]*'
)
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_OCTETS: Final = {
    "key": KEY_OCTETS,
    "randomizer": blind_rsa.RANDOMIZER_OCTETS,
    "signature": SIGNATURE_OCTETS,
    "nonce": NONCE_OCTETS,
    "proof": jws.SIGNATURE_OCTETS,
}
_NAMES: Final = frozenset(_OCTETS) | {"epoch", "time"}


@dataclass(frozen=True, slots=True)
class StorageToken:
    """A public key K_temp, a compressed point on P-256, and the CPS's signature over it.

    Not checked, but for the number of octets of each.
    """

    epoch: int
    key: bytes
    randomizer: bytes
    signature: bytes

    def prepared(self, audience: str) -> bytes:
        """Give what the signature is over, where the CPS ``audience`` made it."""
        return blind_rsa.prepare(message(audience, self.epoch, self.key), self.randomizer)


@dataclass(frozen=True, slots=True)
class Proof:
    """K_temp's signature r‖s over one store, its time in epoch seconds, and a nonce."""

    time: int
    nonce: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """The one request that a proof is for.

    ``host`` is the CPS's in lower case, without port and brackets; ``number`` the canonical digits
    of the collection; ``content_type`` the media type in lower case, without parameters; ``body``
    the octets as sent.
    """

    host: str
    method: str
    number: str
    content_type: str
    body: bytes


def message(audience: str, epoch: int, key: bytes) -> bytes:
    """Give what a token's signature says, before its randomizer: this key may store there then.

    ``audience`` is the issuer that the list of token keys names.
    """
    if len(key) != KEY_OCTETS:
        raise MalformedToken(f"a token's key of {len(key)} octets, not {KEY_OCTETS}")
    return _TOKEN_PURPOSE + _text(audience) + _integer(epoch) + key


def proof_input(store: Store, token: StorageToken, time: int, nonce: bytes) -> bytes:
    """Give the octets that a proof signs."""
    if len(nonce) != NONCE_OCTETS:
        raise MalformedToken(f"a nonce of {len(nonce)} octets, not {NONCE_OCTETS}")
    return b"".join(
        (
            _PROOF_PURPOSE,
            _text(store.host),
            _text(store.method),
            _text(store.number),
            _text(store.content_type),
            _integer(token.epoch),
            _integer(time),
            nonce,
            # a signature does not bind its key by itself: another key can be made that fits it
            token.key,
            hashlib.sha256(store.body).digest(),
        )
    )


def prove(
    private: ec.EllipticCurvePrivateKey,
    token: StorageToken,
    store: Store,
    *,
    now: float,
    nonce: bytes,
) -> Proof:
    """Sign one store with the private half of the token's key; ``nonce`` is 16 random octets."""
    time = int(now)
    der = private.sign(proof_input(store, token, time, nonce), _ECDSA)
    r, s = utils.decode_dss_signature(der)
    return Proof(time, nonce, r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def proof_holds(
    public: ec.EllipticCurvePublicKey, token: StorageToken, proof: Proof, store: Store
) -> bool:
    """Tell whether the token's key made the proof for this store; ``public`` is ``token.key``."""
    if len(proof.signature) != jws.SIGNATURE_OCTETS:
        return False
    # straight to the library: this is the dearest step of every store
    der = utils.encode_dss_signature(*jws.scalars(proof.signature))
    try:
        public.verify(der, proof_input(store, token, proof.time, proof.nonce), _ECDSA)
    except InvalidSignature:
        return False
    return True


def key_octets(public: ec.EllipticCurvePublicKey) -> bytes:
    """Give a key as a token has it: a compressed point (SEC 1 section 2.3.3), 33 octets."""
    return public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )


def load_key(octets: bytes) -> ec.EllipticCurvePublicKey:
    """Read a token's key. Raises ``MalformedToken`` for what is no point on P-256."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
    except ValueError:
        raise MalformedToken("a token's key is not a point on P-256") from None


def format_authorization(token: StorageToken, proof: Proof) -> str:
    """Write the value of ``Authorization``."""
    parameters = {
        "epoch": str(token.epoch),
        "key": jws.encode_segment(token.key),
        "randomizer": jws.encode_segment(token.randomizer),
        "signature": jws.encode_segment(token.signature),
        "time": str(proof.time),
        "nonce": jws.encode_segment(proof.nonce),
        "proof": jws.encode_segment(proof.signature),
    }
    return f"{SCHEME} " + ", ".join(f'{name}="{text}"' for name, text in parameters.items())


def parse_authorization(value: str) -> tuple[StorageToken, Proof]:
    """Read the value of ``Authorization``: each parameter once, none besides, in any order.

    Raises ``MalformedToken``, also for numbers or octets in another form than the one that is
    written, or another number of octets.
    """
    if len(value) > MAX_HEADER_OCTETS:
        raise MalformedToken(f"authorization over {MAX_HEADER_OCTETS} octets")
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != SCHEME.lower():
        raise MalformedToken(f"authorization is not of scheme {SCHEME}")
    found: dict[str, str] = {}
    for text in rest.split(","):
        match = _PARAMETER.fullmatch(text)
        if match is None:
            raise MalformedToken("a parameter of the token is not a name and a value")
        name = match[1].lower()
        if name in found:
            raise MalformedToken("a parameter of the token stands twice")
        found[name] = match[2] or match[3]
    if found.keys() != _NAMES:
        raise MalformedToken("the token has not the parameters that it must have")
    octets = {name: _decoded(name, found[name], count) for name, count in _OCTETS.items()}
    epoch = _decimal("epoch", found["epoch"], LAST_EPOCH)
    token = StorageToken(epoch, octets["key"], octets["randomizer"], octets["signature"])
    time = _decimal("time", found["time"], _LAST_TIME)
    return token, Proof(time, octets["nonce"], octets["proof"])


def _decoded(name: str, text: str, count: int) -> bytes:
    """Decode what ``_VALUE`` has matched, in the one form that ``count`` octets have."""
    standard = text.encode("ascii").translate(_FROM_URL)
    if len(standard) != -(-count * 4 // 3):
        raise MalformedToken(f"the token's {name} has not {count} octets")
    padding = b"=" * (-len(standard) % 4)
    octets = binascii.a2b_base64(standard + padding)
    if binascii.b2a_base64(octets, newline=False) != standard + padding:
        raise MalformedToken(f"the token's {name} ends in bits that are not zero")
    return octets


def _decimal(name: str, text: str, last: int) -> int:
    if not _DECIMAL.fullmatch(text) or int(text) > last:
        raise MalformedToken(f"the token's {name} is not a decimal number in range")
    return int(text)


def _text(text: str) -> bytes:
    """A text and, before it, its length in two octets."""
    octets = text.encode("utf-8")
    if len(octets) > 0xFFFF:
        raise MalformedToken("a text too long to be signed")
    return len(octets).to_bytes(2, "big") + octets


def _integer(number: int) -> bytes:
    """A number in eight octets, the most significant first."""
    if not 0 <= number < 2**64:
        raise MalformedToken("a number out of the range that can be signed")
    return number.to_bytes(8, "big")
