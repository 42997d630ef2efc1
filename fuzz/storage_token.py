"""Storage tokens: their header, lists of keys, and what is asked for and given to obtain some."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from pbx_stir.errors import MalformedToken
from pbx_stir.tokens import epochs, exchange, storage_token
from pbx_stir.tokens.storage_token import Proof, StorageToken

_TOKEN = StorageToken(20_833, b"\x02" * 33, bytes(32), bytes(256))
_PROOF = Proof(1_800_000_000, bytes(16), bytes(64))
_KEYS = [
    epochs.EpochKey(epoch, rsa.generate_private_key(65_537, 2048).public_key())
    for epoch in (20_833, 20_834)
]
_BATCH = exchange.BlindedBatch(20_833, (bytes(256), b"\xff" * 256))
# the first octet says what the others are
SEEDS = (
    b"\x00" + storage_token.format_authorization(_TOKEN, _PROOF).encode(),
    b"\x01" + epochs.format_key_list("cps.example.net", _KEYS),
    b"\x02" + exchange.format_request(_BATCH),
    b"\x03" + exchange.format_signatures(_BATCH.blinded),
    b"\x04" + exchange.format_nonce("n" * 43),
)


def one(octets: bytes) -> None:
    """Read it; what is read can be written, and is read the same again."""
    kind, rest = (octets[0] if octets else 0) % 5, octets[1:]
    try:
        if kind == 0:
            _header(rest)
        elif kind == 1:
            _key_list(rest)
        elif kind == 2:
            batch = exchange.parse_request(rest)
            assert 1 <= len(batch.blinded) <= exchange.MOST_IN_A_REQUEST
            assert exchange.parse_request(exchange.format_request(batch)) == batch
        elif kind == 3:
            assert [len(each) for each in exchange.parse_signatures(rest, 2)] == [256, 256]
        else:
            nonce = exchange.parse_nonce(rest)
            assert exchange.parse_nonce(exchange.format_nonce(nonce)) == nonce
    except MalformedToken:
        pass


def _header(octets: bytes) -> None:
    read = storage_token.parse_authorization(octets.decode("latin-1"))
    assert storage_token.parse_authorization(storage_token.format_authorization(*read)) == read
    token, proof = read
    sizes = (token.key, token.randomizer, token.signature, proof.nonce, proof.signature)
    assert [len(each) for each in sizes] == [33, 32, 256, 16, 64]


def _key_list(octets: bytes) -> None:
    read = epochs.parse_key_list(octets)
    assert 1 <= len(read.keys) <= epochs.MOST_KEYS
    assert all(key.public.key_size == epochs.KEY_BITS for key in read.keys)
    again = epochs.parse_key_list(epochs.format_key_list(read.issuer, read.keys))
    assert [key.epoch for key in again.keys] == [key.epoch for key in read.keys]
