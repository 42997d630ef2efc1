"""Honest keys, certificates and tokens that the targets start from; made anew at each start."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pbx_stir.certificates import issuing
from pbx_stir.stir import credential, passport
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.tnauthlist import TnAuthList

NOW: Final = 1_800_000_000
ALICE: Final = "12125551234"
BOB: Final = "13105552000"
CAROL: Final = "14155553000"
X5U: Final = "https://certificates.example.com/alice.pem"
KEY: Final = ec.derive_private_key(4711, ec.SECP256R1())

ROOT, ROOT_KEY = issuing.new_root("Root", NOW - 1_000, 100)
CA_KEY: Final = issuing.new_key()
CA: Final = issuing.issue_ca(ROOT, ROOT_KEY, CA_KEY.public_key(), "CA", NOW - 500, 90)
LISTED: Final = TnAuthList(spcs=("1234",), ranges=(("12125551200", 100),), numbers=(BOB,))
LEAF: Final = issuing.issue_leaf(CA, CA_KEY, KEY.public_key(), "Alice", LISTED, NOW, 30)
ANCHORS: Final = Anchors.of([ROOT])
PEM: Final = b"".join(one.public_bytes(Encoding.PEM) for one in (LEAF, CA))
DERS: Final = tuple(one.public_bytes(Encoding.DER) for one in (LEAF, CA))
CREDENTIAL: Final = credential.load(
    PEM, KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), x5u=X5U
)

BASE: Final = passport.sign(orig=ALICE, dest=[BOB], iat=NOW, x5u=X5U, key=KEY, jti="j")
SHAKEN: Final = passport.sign(
    orig=ALICE, dest=[BOB], iat=NOW, x5u=X5U, key=KEY, attest="A", origid="o"
)
RICH: Final = passport.sign(
    orig=ALICE,
    dest=[BOB],
    iat=NOW,
    x5u=X5U,
    key=KEY,
    ppt="rcd",
    extra={"rcd": {"nam": "Alice", "jcd": ["vcard", []]}, "rcdi": {"/jcd": "sha256-AA=="}},
)
DIVERTED: Final = passport.sign(
    orig=ALICE,
    dest=[CAROL],
    iat=NOW,
    x5u=X5U,
    key=KEY,
    ppt="div-o",
    extra={"div": {"tn": BOB}, "opt": BASE.token},
)
TOKENS: Final = (BASE, SHAKEN, RICH, DIVERTED)
