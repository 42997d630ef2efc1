"""What one certificate has to be by itself: RFC 8226's profile of a leaf, RFC 5280's of an issuer.

Takes a parsed certificate; gives what its extensions say, or says what is wrong with it. It knows
no other certificate and no time.

Where RFC 5280 asks something of the issuing authority but not of who relies on it, we follow path
validation (section 6.1): basicConstraints need not be critical, key identifiers need not be there.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, NameOID

from pbx_stir.errors import CertificateUntrusted, MalformedCertificate
from pbx_stir.stir.constraints import (
    OID_ENHANCED_JWT_CLAIM_CONSTRAINTS,
    OID_JWT_CLAIM_CONSTRAINTS,
    ClaimConstraints,
)
from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

MIN_RSA_BITS: Final = 2048
MAX_NAME: Final = 64
_OID_TN_LIST_BY_REFERENCE: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.14")
_SIGNATURE_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_ISSUER_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

# RFC 5280 section 4.2: "must reject the certificate if it encounters a critical extension it does
# not recognize or (...) contains information that it cannot process". We process these, or they
# cannot change our answer: names that we do not use, policies that nobody restricts to (the
# extensions which do restrict, nameConstraints among them, are not here and so refused), key
# purposes (RFC 8226 asks for none), and where to find revocation lists.
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.CRL_DISTRIBUTION_POINTS,
        OID_TN_AUTH_LIST,
    }
)
_UNDERSTOOD_ON_LEAF: Final = _UNDERSTOOD | {
    OID_JWT_CLAIM_CONSTRAINTS,
    OID_ENHANCED_JWT_CLAIM_CONSTRAINTS,
}


def name_of(certificate: x509.Certificate) -> str:
    """Give a certificate's common name, else its whole subject; raw, as its issuer wrote it.

    No more than the 64 characters that RFC 5280 allows: a stranger's name lands in our messages.
    """
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else certificate.subject.rfc4514_string()
    return name[:MAX_NAME]


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether it says cA TRUE. Raises ``MalformedCertificate`` for broken extensions."""
    constraints = _basic_constraints(certificate)
    return constraints is not None and constraints.ca


def tn_auth_list(certificate: x509.Certificate) -> TnAuthList | None:
    """Give the TN Authorization List, None where it has none. Raises ``MalformedCertificate``."""
    der = _extension_octets(certificate, OID_TN_AUTH_LIST)
    return None if der is None else TnAuthList.parse(der)


def claim_constraints(certificate: x509.Certificate) -> tuple[ClaimConstraints, ...]:
    """Give RFC 8226's and RFC 9118's constraints; where both are there, both have to hold.

    Raises ``MalformedCertificate``.
    """
    found = []
    for oid, enhanced in (
        (OID_JWT_CLAIM_CONSTRAINTS, False),
        (OID_ENHANCED_JWT_CLAIM_CONSTRAINTS, True),
    ):
        der = _extension_octets(certificate, oid)
        if der is not None:
            found.append(ClaimConstraints.parse(der, enhanced=enhanced))
    return tuple(found)


def check_leaf(certificate: x509.Certificate) -> TnAuthList:
    """Check that it may sign PASSporTs by its own words; give its list. Validity is not looked at.

    Raises ``CertificateUntrusted`` for a broken rule, ``MalformedCertificate`` for broken octets.
    Source: RFC 8226 sections 4 to 9, RFC 8225 section 8.1 (ES256 is the one algorithm).
    """
    _check_form(certificate, _UNDERSTOOD_ON_LEAF)
    if not is_p256(certificate):
        raise CertificateUntrusted(f"the key of {name_of(certificate)!r} is not P-256")
    if is_authority(certificate):
        raise CertificateUntrusted(f"{name_of(certificate)!r} is an authority, not a leaf")
    usage = _key_usage(certificate)
    if usage is None or not usage.digital_signature:
        raise CertificateUntrusted(f"{name_of(certificate)!r} is not for digital signatures")
    if usage.key_cert_sign:
        # RFC 5280 section 4.2.1.9: "If the cA boolean is not asserted, then the keyCertSign bit
        # in the key usage extension MUST NOT be asserted"
        raise CertificateUntrusted(f"{name_of(certificate)!r} signs certificates but is no CA")
    listed = tn_auth_list(certificate)
    if listed is not None:
        return listed
    if _lists_by_reference(certificate):
        raise CertificateUntrusted(
            f"{name_of(certificate)!r} has its TN Authorization List by reference only",
            hint="what a list elsewhere says today is not what its issuer signed",
        )
    raise CertificateUntrusted(f"{name_of(certificate)!r} has no TN Authorization List")


def check_issuer(certificate: x509.Certificate, below: int, *, anchor: bool) -> None:
    """Check that it may issue certificates with ``below`` authorities between it and the leaf.

    Self-issued certificates do not count in ``below`` (RFC 5280 section 6.1.4 (l)). An anchor may
    lack keyUsage, as many self-made roots do; another issuer may not (RFC 5280 section 4.2.1.3:
    "Conforming CAs MUST include this extension").

    Raises as ``check_leaf`` does.
    """
    _check_form(certificate, _UNDERSTOOD)
    name = name_of(certificate)
    if not certificate.subject.rdns:
        raise CertificateUntrusted("an issuer without a name")
    constraints = _basic_constraints(certificate)
    if constraints is None or not constraints.ca:
        raise CertificateUntrusted(f"the issuer {name!r} is not an authority")
    usage = _key_usage(certificate)
    if usage is None and not anchor:
        raise CertificateUntrusted(f"the issuer {name!r} does not say what its key is for")
    if usage is not None and not usage.key_cert_sign:
        raise CertificateUntrusted(f"the issuer {name!r} may not sign certificates")
    if constraints.path_length is not None and below > constraints.path_length:
        raise CertificateUntrusted(f"too many authorities below {name!r}")
    key = public_key(certificate)
    if isinstance(key, rsa.RSAPublicKey):
        strong = key.key_size >= MIN_RSA_BITS
    else:
        strong = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
            key.curve, _ISSUER_CURVES
        )
    if not strong:
        raise CertificateUntrusted(f"the key of the issuer {name!r} is of an unsuitable kind")


def has_strong_signature(certificate: x509.Certificate) -> bool:
    """Tell whether the signature on it is over SHA-256, SHA-384 or SHA-512."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return False
    return algorithm is not None and algorithm.name in _SIGNATURE_HASHES


def public_key(certificate: x509.Certificate) -> object:
    """Give its public key, None where it cannot be read or is of a kind we do not know."""
    try:
        return certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def is_p256(certificate: x509.Certificate) -> bool:
    """Tell whether its key can be one of ES256 (RFC 7518 section 3.4)."""
    key = public_key(certificate)
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def _check_form(
    certificate: x509.Certificate, understood: frozenset[x509.ObjectIdentifier]
) -> None:
    """Check what holds for every certificate of a path: version, issuer, critical extensions."""
    if certificate.version is not x509.Version.v3:
        raise CertificateUntrusted(f"{name_of(certificate)!r} is not of x.509 version 3")
    if not certificate.issuer.rdns:
        raise CertificateUntrusted(f"{name_of(certificate)!r} names no issuer")
    for extension in _extensions(certificate):
        if extension.critical and extension.oid not in understood:
            raise CertificateUntrusted(
                f"{name_of(certificate)!r} has the critical extension "
                f"{extension.oid.dotted_string}, which is not understood"
            )


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    """Read all extensions; ``MalformedCertificate`` where one is broken or there twice."""
    try:
        return certificate.extensions
    except x509.DuplicateExtension as error:
        raise MalformedCertificate(
            f"{name_of(certificate)!r} has the extension {error.oid.dotted_string} twice"
        ) from error
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType, Warning) as error:
        raise MalformedCertificate(
            f"{name_of(certificate)!r} has a broken extension: {error}"
        ) from error


def _basic_constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    """Read basicConstraints, None where it is absent."""
    for extension in _extensions(certificate):
        if isinstance(extension.value, x509.BasicConstraints):
            return extension.value
    return None


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """Read keyUsage, None where it is absent."""
    for extension in _extensions(certificate):
        if isinstance(extension.value, x509.KeyUsage):
            return extension.value
    return None


def _extension_octets(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes | None:
    """Give the DER value of an extension that cryptography has no class for, None if absent."""
    for extension in _extensions(certificate):
        if extension.oid == oid and isinstance(extension.value, x509.UnrecognizedExtension):
            return extension.value.value
    return None


def _lists_by_reference(certificate: x509.Certificate) -> bool:
    """Tell whether it points to a list elsewhere (RFC 8226 section 10)."""
    return any(
        access.access_method == _OID_TN_LIST_BY_REFERENCE
        for extension in _extensions(certificate)
        if isinstance(extension.value, x509.AuthorityInformationAccess)
        for access in extension.value
    )
