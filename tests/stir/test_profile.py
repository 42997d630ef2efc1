"""What a leaf and an issuer have to be by themselves."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from pbx_stir.errors import CertificateUntrusted, MalformedCertificate
from pbx_stir.stir import profile
from pbx_stir.stir.constraints import (
    OID_ENHANCED_JWT_CLAIM_CONSTRAINTS,
    OID_JWT_CLAIM_CONSTRAINTS,
    ClaimConstraints,
)
from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
POLICIES = x509.CertificatePolicies(
    [x509.PolicyInformation(x509.ObjectIdentifier("2.16.840.1.114569.1.1.4"), None)]
)
CRL = x509.CRLDistributionPoints(
    [
        x509.DistributionPoint(
            [x509.UniformResourceIdentifier("https://crl.example.com/shaken.crl")],
            None,
            None,
            [x509.DirectoryName(x509.Name([]))],
        )
    ]
)
CONSTRAINTS = ClaimConstraints(must_include=("attest",))
PURPOSES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
NAMES = x509.NameConstraints([x509.DNSName("example.com")], None)


@pytest.fixture(scope="module")
def root(forge):
    """A root."""
    return forge.root()


def test_a_good_leaf_gives_its_list(forge, root) -> None:
    """A leaf of the profile passes, whatever else honest authorities put in."""
    listed = forge.numbers("12125551200")
    assert profile.check_leaf(forge.leaf(root).cert) == listed
    assert profile.check_leaf(forge.leaf(root, tn_critical=True).cert) == listed
    assert profile.check_leaf(forge.leaf(root, ca=None).cert) == listed
    extra = [(POLICIES, True), (CRL, True), (PURPOSES, True), (UNKNOWN, False)]
    assert profile.check_leaf(forge.leaf(root, extra=extra).cert) == listed
    both = forge.usage(digital_signature=True, content_commitment=True)
    assert profile.check_leaf(forge.leaf(root, usage_bits=both).cert) == listed
    assert profile.check_leaf(forge.leaf(root, "").cert) == listed


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ca": True}, "authority"),
        ({"ca": True, "path_length": 0}, "authority"),
        ({"usage_bits": None}, "digital signatures"),
        ({"usage_bits": "none"}, "digital signatures"),
        ({"usage_bits": "certificates"}, "no CA"),
        ({"key": ec.SECP384R1()}, "P-256"),
        ({"key": ec.SECP256K1()}, "P-256"),
        ({"key": "rsa"}, "P-256"),
        ({"key": "ed25519"}, "P-256"),
        ({"tn": None}, "no TN Authorization List"),
        ({"extra": [(UNKNOWN, True)]}, "1.2.3.4.5"),
        ({"extra": [(NAMES, True)]}, "2.5.29.30"),
        ({"extra": [(x509.PrecertPoison(), True)]}, "critical"),
        ({"extra": [(x509.InhibitAnyPolicy(0), True)]}, "critical"),
        ({"issuer_name": ""}, "no issuer"),
    ],
)
def test_wrong_leaves(forge, root, wrong, said) -> None:
    """Each rule of the profile refuses by itself, and says so."""
    bits = {
        "none": forge.usage(content_commitment=True),
        "certificates": forge.usage(digital_signature=True, key_cert_sign=True),
    }
    keys = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    wrong = dict(wrong)
    if wrong.get("usage_bits") in bits:
        wrong["usage_bits"] = bits[wrong["usage_bits"]]
    if "key" in wrong:
        wrong["key"] = keys[wrong["key"]]() if wrong["key"] in keys else forge.key(wrong["key"])
    with pytest.raises(CertificateUntrusted, match=said):
        profile.check_leaf(forge.leaf(root, **wrong).cert)


def test_list_by_reference_is_refused(forge, root) -> None:
    """A list that lies elsewhere is none, and the message says why."""
    access = x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                x509.ObjectIdentifier("1.3.6.1.5.5.7.48.14"),
                x509.UniformResourceIdentifier("https://list.example.com/1"),
            )
        ]
    )
    with pytest.raises(CertificateUntrusted, match="by reference"):
        profile.check_leaf(forge.leaf(root, tn=None, extra=[(access, False)]).cert)


@pytest.mark.parametrize("der", ["3000", "", "30098007160531323334 35".replace(" ", ""), "0500"])
def test_broken_lists_are_malformed(forge, root, der) -> None:
    """An empty, missing, IMPLICIT or foreign list makes the leaf malformed."""
    with pytest.raises(MalformedCertificate):
        profile.check_leaf(forge.leaf(root, tn=bytes.fromhex(der)).cert)


def test_an_extension_twice_is_malformed(forge, root) -> None:
    """Two TNAuthLists, or any extension twice, are refused (RFC 5280 section 4.2)."""
    twin = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.99")
    value = x509.UnrecognizedExtension(twin, forge.numbers("1").encode())
    leaf = forge.leaf(root, extra=[(value, False)])
    old, new = bytes.fromhex("06082b06010505070163"), bytes.fromhex("06082b0601050507011a")
    doubled = x509.load_der_x509_certificate(forge.resign(leaf.cert, old, new, root.key))
    doubled.verify_directly_issued_by(root.cert)
    for look in (profile.check_leaf, profile.is_authority, profile.tn_auth_list):
        with pytest.raises(MalformedCertificate, match="twice"):
            look(doubled)


def test_a_broken_known_extension_is_malformed(forge, root) -> None:
    """An extension that says what it is but is not refuses the certificate."""
    broken = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x01\x00")
    with pytest.raises(MalformedCertificate):
        profile.check_leaf(forge.leaf(root, extra=[(broken, False)]).cert)


def test_version_1_is_refused(forge, root) -> None:
    """What has no version 3 has no extensions to judge by."""
    plain = forge.make(root, "Plain")
    octets = plain.cert.tbs_certificate_bytes
    assert octets[4:9] == bytes.fromhex("a003020102") or octets[3:8] == bytes.fromhex("a003020102")
    second = forge.resign(
        plain.cert, bytes.fromhex("a003020102"), bytes.fromhex("a003020100"), root.key
    )
    with pytest.raises((CertificateUntrusted, ValueError)):
        profile.check_leaf(x509.load_der_x509_certificate(second))


def test_claim_constraints(forge, root) -> None:
    """Both extensions are read, critical or not; broken ones are malformed."""
    value = CONSTRAINTS.encode()
    for critical in (False, True):
        leaf = forge.leaf(
            root,
            extra=[
                (x509.UnrecognizedExtension(OID_JWT_CLAIM_CONSTRAINTS, value), critical),
                (x509.UnrecognizedExtension(OID_ENHANCED_JWT_CLAIM_CONSTRAINTS, value), critical),
            ],
        ).cert
        profile.check_leaf(leaf)
        assert profile.claim_constraints(leaf) == (CONSTRAINTS, CONSTRAINTS)
    assert profile.claim_constraints(root.cert) == ()
    broken = x509.UnrecognizedExtension(OID_JWT_CLAIM_CONSTRAINTS, b"\x30\x00")
    with pytest.raises(MalformedCertificate):
        profile.claim_constraints(forge.leaf(root, extra=[(broken, False)]).cert)


def test_good_issuers(forge, root) -> None:
    """Authorities as they are in the field: P-384, RSA, lists, policies, loose basicConstraints."""
    profile.check_issuer(root.cert, 0, anchor=True)
    for wrong in (
        {"key": forge.key(ec.SECP384R1())},
        {"key": rsa.generate_private_key(65537, 2048)},
        {"ca_critical": False},
        {"path_length": 1},
        {"tn": TnAuthList(spcs=("1234",)), "tn_critical": True},
        {"extra": [(POLICIES, True), (NAMES, False), (PURPOSES, False)]},
    ):
        profile.check_issuer(forge.ca(root, **wrong).cert, 1, anchor=False)
    profile.check_issuer(forge.root(usage_bits=None).cert, 5, anchor=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ca": False},
        {"ca": None},
        {"usage_bits": None},
        {"usage_bits": "crl"},
        {"path_length": 0},
        {"extra": [(UNKNOWN, True)]},
        {"extra": [(NAMES, True)]},
        {"extra": [(x509.PolicyConstraints(0, None), True)]},
        {"extra": [(x509.UnrecognizedExtension(OID_JWT_CLAIM_CONSTRAINTS, b""), True)]},
        {"key": ed25519.Ed25519PrivateKey.generate()},
        {"key": rsa.generate_private_key(65537, 1024)},
        {"key": ec.generate_private_key(ec.SECP224R1())},
        {"common_name": ""},
    ],
)
def test_wrong_issuers(forge, root, wrong) -> None:
    """No CA, no keyCertSign, too deep, not understood, weak or nameless: no issuer."""
    wrong = dict(wrong)
    if wrong.get("usage_bits") == "crl":
        wrong["usage_bits"] = forge.usage(crl_sign=True, digital_signature=True)
    issuer = forge.ca(root, wrong.pop("common_name", "CA"), **wrong)
    with pytest.raises(CertificateUntrusted):
        profile.check_issuer(issuer.cert, 1, anchor=False)


def test_signature_algorithms(forge, root) -> None:
    """SHA-2 of 256 bits and more; Ed25519 and SHA-1 are not for STIR."""
    assert profile.has_strong_signature(root.cert)
    large = forge.ca(root, key=forge.key(ec.SECP384R1()))
    assert profile.has_strong_signature(forge.leaf(large, digest=hashes.SHA384()).cert)
    assert not profile.has_strong_signature(forge.leaf(root, digest=hashes.SHA224()).cert)


def test_names(forge, root) -> None:
    """The common name, else the whole subject, no more than 64 characters."""
    assert profile.name_of(root.cert) == "Root"
    assert profile.name_of(forge.leaf(root, "").cert) == ""
    assert len(profile.name_of(forge.leaf(root, "x" * 64).cert)) == 64
    assert OID_TN_AUTH_LIST.dotted_string == "1.3.6.1.5.5.7.1.26"
