"""docs/tokens.md: its worked example is recomputed, step by step, as its text says."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from pbx_stir.stir import jws
from pbx_stir.tokens import blind_rsa, epochs, storage_token
from pbx_stir.tokens.raw_rsa import RawSigner
from pbx_stir.tokens.storage_token import Proof, StorageToken, Store

PAGE = Path(__file__).resolve().parents[2] / "docs/tokens.md"
TEXTS = {"issuer", "host", "number", "body", "authorization"}


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """The example, its octets decoded."""
    [block] = re.findall(r"^```json\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return {
        name: value if name in TEXTS or isinstance(value, int) else jws.decode_segment(value)
        for name, value in json.loads(block).items()
    }


def integer(octets: bytes) -> int:
    """Octets as a number, the most significant first."""
    return int.from_bytes(octets, "big")


def private_key(example: dict[str, Any]) -> rsa.RSAPrivateKey:
    """The epoch's key from its primes."""
    p, q = integer(example["rsa_p"]), integer(example["rsa_q"])
    d = pow(65_537, -1, (p - 1) * (q - 1))
    crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    public = rsa.RSAPublicNumbers(65_537, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key()


def test_the_message_is_the_documented_table(example: dict[str, Any]) -> None:
    """Put together by hand from the page's rows, it is what the code makes."""
    private = ec.derive_private_key(integer(example["k_temp_private"]), ec.SECP256R1())
    assert storage_token.key_octets(private.public_key()) == example["key"]
    issuer = example["issuer"].encode()
    by_hand = (
        b"pbx-stir storage token v1\0"
        + len(issuer).to_bytes(2, "big")
        + issuer
        + example["epoch"].to_bytes(8, "big")
        + example["key"]
    )
    assert by_hand == example["message"]
    made = storage_token.message(example["issuer"], example["epoch"], example["key"])
    assert made == example["message"]


def test_the_token_is_the_documented_one(example: dict[str, Any]) -> None:
    """Blinded message, blind signature and signature come out as they stand there."""
    private = private_key(example)
    public = private.public_key()
    assert epochs.public_octets(public) == example["public_key"]
    prepared = blind_rsa.prepare(example["message"], example["randomizer"])
    r = integer(example["r"])
    blinded = blind_rsa.blind(public, prepared, salt=example["salt"], r=r)
    assert blinded.blinded == example["blinded"]
    blind_signature = RawSigner(private).sign(example["blinded"])
    assert blind_signature == example["blind_signature"]
    signature = blind_rsa.finalize(public, prepared, blind_signature, blinded.inverse)
    assert signature == example["signature"]


def test_the_proof_is_the_documented_table(example: dict[str, Any]) -> None:
    """Put together by hand from the page's rows, it is what the code makes and signs."""
    texts = (example["host"], "POST", example["number"], "application/passport")
    by_hand = b"pbx-stir storage proof v1\0"
    for text in texts:
        by_hand += len(text).to_bytes(2, "big") + text.encode()
    by_hand += example["epoch"].to_bytes(8, "big") + example["time"].to_bytes(8, "big")
    by_hand += example["nonce"] + example["key"]
    by_hand += hashlib.sha256(example["body"].encode()).digest()
    assert by_hand == example["proof_input"]
    private = ec.derive_private_key(integer(example["k_temp_private"]), ec.SECP256R1())
    der = private.sign(by_hand, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = utils.decode_dss_signature(der)
    assert r.to_bytes(32, "big") + s.to_bytes(32, "big") == example["proof"]


def test_the_header_is_the_documented_one(example: dict[str, Any]) -> None:
    """It is what the code writes, and what it reads holds."""
    token = StorageToken(
        example["epoch"], example["key"], example["randomizer"], example["signature"]
    )
    proof = Proof(example["time"], example["nonce"], example["proof"])
    assert storage_token.format_authorization(token, proof) == example["authorization"]
    assert storage_token.parse_authorization(example["authorization"]) == (token, proof)
    store = Store(example["host"], "POST", example["number"], "application/passport", b"body")
    public = storage_token.load_key(token.key)
    assert storage_token.proof_holds(public, token, proof, store)
    prepared = token.prepared(example["issuer"])
    assert blind_rsa.holds(private_key(example).public_key(), prepared, token.signature)


def test_the_limits_are_the_documented_ones() -> None:
    """Figures of the page are those of the code."""
    from pbx_stir.tokens import checker, exchange, issuer, key_files, ledger

    page = " ".join(PAGE.read_text().split())
    for words in (
        f"1 to {exchange.MOST_IN_A_REQUEST} blinded messages",
        f"Over {exchange.MAX_REQUEST_OCTETS:,} octets",
        f"at most {epochs.MOST_KEYS} keys and {epochs.MAX_LIST_OCTETS:,} octets",
        f"within {issuer.NONCE_SECONDS} seconds",
        f"| {issuer.TOKENS_PER_LEAF:,} | `cps.tokens_per_leaf`",
        f"| {issuer.TOKENS_PER_ISSUER:,} | `cps.tokens_per_issuer`",
        f"| {issuer.TOKENS_PER_SPC:,} | `cps.tokens_per_spc`",
        f"A token makes {checker.STORES_PER_TOKEN} stores",
        f"at most {storage_token.WINDOW_SECONDS} s from the CPS's clock",
        f"At most {issuer.MOST_WAITING} batches wait",
        f"the day from `n * {epochs.EPOCH_SECONDS}`",
    ):
        assert words in page
    assert key_files.GRACE_SECONDS == 120
    assert ledger.MOST_HELD == 2_000_000
