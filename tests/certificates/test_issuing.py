"""The small authority issues what RFC 8226 asks for, and says what it cannot issue."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.certificates import issuing
from pbx_stir.errors import ConfigurationError
from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

NOW = 1_750_000_000.5
NUMBERS = TnAuthList(spcs=(), ranges=(("12125551200", 100),), numbers=())


def test_a_leaf_has_the_profile_of_rfc_8226() -> None:
    """P-256, digitalSignature alone, no CA, the number list there once and not critical."""
    root, root_key = issuing.new_root("Lab Root", NOW, 30)
    key = issuing.new_key()
    leaf = issuing.issue_leaf(root, root_key, key.public_key(), "Alice", NUMBERS, NOW, 7)
    leaf.verify_directly_issued_by(root)
    extensions = leaf.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    listed = extensions.get_extension_for_oid(OID_TN_AUTH_LIST)
    assert not listed.critical
    assert isinstance(listed.value, x509.UnrecognizedExtension)
    assert TnAuthList.parse(listed.value.value) == NUMBERS
    authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert authority.key_identifier == subject.digest


def test_constraints_are_put_in_as_they_are() -> None:
    """Claim constraints go into their extensions, octet by octet."""
    root, root_key = issuing.new_root("Lab Root", NOW, 30)
    public = issuing.new_key().public_key()
    leaf = issuing.issue_leaf(
        root, root_key, public, "Alice", NUMBERS, NOW, 7, b"\x30\x00", b"\x30\x01\x00"
    )
    values = {
        extension.oid.dotted_string: extension.value.value
        for extension in leaf.extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }
    assert values["1.3.6.1.5.5.7.1.27"] == b"\x30\x00"
    assert values["1.3.6.1.5.5.7.1.33"] == b"\x30\x01\x00"


def test_what_is_issued_ends_with_its_issuer() -> None:
    """Nothing outlives the authority above it, and all begin a little early for skewed clocks."""
    root, root_key = issuing.new_root("Lab Root", NOW, 30)
    ca_key = issuing.new_key()
    ca = issuing.issue_ca(
        root, root_key, ca_key.public_key(), "CA", NOW, 365, tn_auth_list=NUMBERS, path_length=None
    )
    assert ca.not_valid_after_utc == root.not_valid_after_utc
    assert ca.not_valid_before_utc.timestamp() == int(NOW) - issuing.BACKDATED_SECONDS
    ca.verify_directly_issued_by(root)
    assert ca.extensions.get_extension_for_oid(OID_TN_AUTH_LIST)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_impossible_wishes_are_configuration_errors() -> None:
    """A name, time or key that cannot be is said in words."""
    root, root_key = issuing.new_root("Lab Root", NOW, 30)
    for name, now, days in (
        ("", NOW, 1),
        ("x" * 65, NOW, 1),
        ("Lab", NOW, 1e12),
        ("Lab", NOW, -1),
        ("Lab", -1e11, 1),
        ("Lab", float("nan"), 1),
    ):
        with pytest.raises(ConfigurationError):
            issuing.new_root(name, now, days)
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(ConfigurationError):
        issuing.issue_leaf(root, root_key, other, "Alice", NUMBERS, NOW, 7)
