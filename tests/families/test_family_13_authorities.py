"""Family 13: who may issue, with which key, under which extensions (RFC 5280, RFC 8226)."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST
from tests.families.hostile import FORGE, Court, Judging, token

USAGE = FORGE.usage
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
NAMES = x509.NameConstraints([x509.DirectoryName(x509.Name([]))], None)
POLICY = x509.PolicyConstraints(0, None)
PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
RSA_1024 = rsa.generate_private_key(65537, 1024)
RSA_2048 = rsa.generate_private_key(65537, 2048)

AUTHORITIES: dict[str, dict[str, Any]] = {
    "cA false": {"ca": False},
    "no basicConstraints": {"ca": None},
    "no keyCertSign": {"usage_bits": USAGE(crl_sign=True)},
    "digitalSignature only": {"usage_bits": USAGE(digital_signature=True)},
    "unknown critical extension": {"extra": [(UNKNOWN, True)]},
    "critical name constraints": {"extra": [(NAMES, True)]},
    "critical policy constraints": {"extra": [(POLICY, True)]},
    "an RSA key of 1,024 bits": {"key": RSA_1024},
    "P-224": {"key": ec.derive_private_key(7, ec.SECP224R1())},
    "secp256k1": {"key": ec.derive_private_key(7, ec.SECP256K1())},
}


@pytest.mark.parametrize("name", AUTHORITIES)
@pytest.mark.parametrize("place", ["intermediate", "root"])
def test_family_13_authorities_wrong(court: Court, judging: Judging, name: str, place: str) -> None:
    """No authority, or not one whose words we understand: below an anchor and as one."""
    if place == "root":
        root = FORGE.root(**AUTHORITIES[name])
        text = court.signed(FORGE.leaf(root))
        judging.refuses("certificate-untrusted", text, trust=[root])
    else:
        ca = FORGE.ca(court.root, **AUTHORITIES[name])
        judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(ca), ca))


def test_family_13_authorities_without_usage(court: Court, judging: Judging) -> None:
    """An intermediate must say what its key is for; a root that was configured need not."""
    ca = FORGE.ca(court.root, usage_bits=None)
    judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(ca), ca))
    root = FORGE.root(usage_bits=None)
    judging.passes(court.signed(FORGE.leaf(root)), trust=[root])


LEAVES: dict[str, dict[str, Any]] = {
    "cA true": {"ca": True},
    "cA true with keyCertSign": {
        "ca": True,
        "usage_bits": USAGE(digital_signature=True, key_cert_sign=True),
    },
    "no keyUsage": {"usage_bits": None},
    "no digitalSignature": {"usage_bits": USAGE(key_agreement=True)},
    "contentCommitment only": {"usage_bits": USAGE(content_commitment=True)},
    "keyCertSign without cA": {"usage_bits": USAGE(digital_signature=True, key_cert_sign=True)},
    "unknown critical extension": {"extra": [(UNKNOWN, True)]},
    "critical name constraints": {"extra": [(NAMES, True)]},
    "signed with SHA-1": {"digest": "sha1"},
    "signed with SHA-224": {"digest": hashes.SHA224()},
}


@pytest.mark.parametrize("name", LEAVES)
def test_family_13_authorities_wrong_leaf(court: Court, judging: Judging, name: str) -> None:
    """A leaf signs PASSporTs, and nothing else, by its own words."""
    wrong = dict(LEAVES[name])
    if wrong.get("digest") == "sha1":
        # the library makes none any more: the algorithm's name is changed, and signed again
        leaf = FORGE.leaf(court.ca)
        der = FORGE.resign(
            leaf.cert,
            bytes.fromhex("06082a8648ce3d040302"),
            bytes.fromhex("06082a8648ce3d040301"),
            court.ca.key,
        )
        text = token(leaf.key, header={"x5u": court.chain(pem(der), court.ca)})  # type: ignore[arg-type]
    else:
        text = court.signed(FORGE.leaf(court.ca, **wrong), court.ca)
    judging.refuses("certificate-untrusted", text)


def pem(der: bytes) -> bytes:
    """DER as PEM."""
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


def test_family_13_authorities_path_length(court: Court, judging: Judging) -> None:
    """pathLenConstraint counts the authorities between, self-issued ones not among them."""
    short = FORGE.ca(court.root, "Short", path_length=0)
    judging.passes(court.signed(FORGE.leaf(short), short))
    delegate = FORGE.ca(short, "Delegate")
    judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(delegate), delegate, short))
    rolled = FORGE.ca(short, "Short")
    judging.passes(court.signed(FORGE.leaf(rolled), rolled, short))
    one = FORGE.ca(court.root, "One", path_length=1)
    two = FORGE.ca(one, "Two")
    three = FORGE.ca(two, "Three")
    judging.passes(court.signed(FORGE.leaf(two), two, one))
    judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(three), three, two, one))
    # the same below a root that limits it
    root = FORGE.root(path_length=0)
    judging.passes(court.signed(FORGE.leaf(root)), trust=[root])
    below = FORGE.ca(root, "Below")
    judging.refuses("certificate-untrusted", court.signed(FORGE.leaf(below), below), trust=[root])


def test_family_13_authorities_deep(court: Court, judging: Judging) -> None:
    """Seven authorities under each other still make a path that fits a chain."""
    line = [court.root]
    for at in range(6):
        line.append(FORGE.ca(line[-1], f"Level {at}"))
    judging.passes(court.signed(FORGE.leaf(line[-1]), *reversed(line[1:])))


def test_family_13_authorities_algorithm_inside_and_outside(court: Court, judging: Judging) -> None:
    """What is named outside the signed octets is what is named inside."""
    leaf = FORGE.leaf(court.ca)
    inside, outside = (bytes.fromhex("06082a8648ce3d0403" + end) for end in ("02", "03"))
    at = leaf.der.rindex(inside)
    der = leaf.der[:at] + outside + leaf.der[at + len(outside) :]
    text = token(leaf.key, header={"x5u": court.chain(pem(der), court.ca)})  # type: ignore[arg-type]
    judging.refuses("certificate-untrusted", text)


def test_family_13_authorities_extension_twice(court: Court, judging: Judging) -> None:
    """RFC 5280 section 4.2: no extension stands twice, TN Authorization Lists least of all."""
    near = x509.ObjectIdentifier(OID_TN_AUTH_LIST.dotted_string[:-2] + "28")
    second = x509.UnrecognizedExtension(near, FORGE.numbers("19995550000").encode())
    leaf = FORGE.leaf(court.ca, extra=[(second, False)])
    judging.passes(court.signed(leaf, court.ca))
    old = bytes.fromhex("06082b0601050507011c")
    der = FORGE.resign(leaf.cert, old, old[:-1] + b"\x1a", court.ca.key)
    text = token(leaf.key, header={"x5u": court.chain(pem(der), court.ca)})  # type: ignore[arg-type]
    judging.refuses("certificate-untrusted", text)


@pytest.mark.parametrize(
    "authority",
    [
        {},
        {"path_length": 3},
        {"ca_critical": False},
        {"key": ec.derive_private_key(9, ec.SECP384R1())},
        {"key": ec.derive_private_key(9, ec.SECP521R1())},
        {"key": RSA_2048},
        {"extra": [(UNKNOWN, False), (PURPOSE, True)]},
        {"usage_bits": USAGE(key_cert_sign=True, digital_signature=True)},
    ],
)
def test_family_13_authorities_honest(
    court: Court, judging: Judging, authority: dict[str, Any]
) -> None:
    """What real authorities have: larger keys, RSA, other purposes, uncritical extras."""
    ca = FORGE.ca(court.root, **authority)
    judging.passes(court.signed(FORGE.leaf(ca), ca))
    judging.passes(court.signed(FORGE.leaf(ca, digest=hashes.SHA384()), ca))


@pytest.mark.parametrize(
    "leaf",
    [
        {"ca": None},
        {"tn_critical": True},
        {"extra": [(UNKNOWN, False)]},
        {"extra": [(PURPOSE, True)]},
        {"usage_bits": USAGE(digital_signature=True, content_commitment=True)},
        {"common_name": ""},
    ],
)
def test_family_13_authorities_honest_leaf(
    court: Court, judging: Judging, leaf: dict[str, Any]
) -> None:
    """What real leaves have."""
    judging.passes(court.signed(FORGE.leaf(court.ca, **leaf), court.ca))
