"""Certificate requests: a public key that asks to be certified for numbers; its key stays at home.

Takes and gives PKCS #10 in PEM, with the TN Authorization List asked for among its requested
extensions. What is asked for binds nobody: an authority certifies what it has checked itself.
Source: RFC 2986, RFC 8226 section 9 (the list), RFC 9448 section 5 asks for it in the same place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pbx_stir.errors import ConfigurationError, MalformedCertificate
from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

MAX_OCTETS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """What somebody asks for: his name and numbers, unchecked, and the key that he has."""

    name: str
    asked: TnAuthList
    public_key: ec.EllipticCurvePublicKey


def new_request(name: str, asked: TnAuthList, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Make a request, in PEM. Raises ``ConfigurationError`` for a name X.509 does not allow."""
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        hint = "1 to 64 characters"
        raise ConfigurationError(f"no common name: {name[:80]!r}", hint=hint) from error
    wanted = x509.UnrecognizedExtension(OID_TN_AUTH_LIST, asked.encode())
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = builder.add_extension(wanted, critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM)


def parse_request(pem: bytes) -> CertificateRequest:
    """Read a request. Raises ``MalformedCertificate``: no PKCS #10 in PEM, not signed by its own
    key, a key that is not P-256, no common name, or no TN Authorization List."""
    if len(pem) > MAX_OCTETS:
        raise MalformedCertificate(f"a request of more than {MAX_OCTETS} octets")
    try:
        found = x509.load_pem_x509_csr(pem)
        key = found.public_key()
        holds = found.is_signature_valid
        names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        extensions = list(found.extensions)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise MalformedCertificate(f"not a certificate request in PEM: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise MalformedCertificate("the request's key is not P-256, the only kind that may sign")
    if not holds:
        raise MalformedCertificate("the request is not signed by its own key")
    name = str(names[0].value) if len(names) == 1 else ""
    if not name.strip() or not name.isprintable():
        raise MalformedCertificate("the request has no name that can be shown")
    for one in extensions:
        if one.oid == OID_TN_AUTH_LIST and isinstance(one.value, x509.UnrecognizedExtension):
            return CertificateRequest(name, TnAuthList.parse(one.value.value), key)
    raise MalformedCertificate("the request asks for no numbers")
