"""Certificates as they arrive: a PEM file behind an x5u, or DER beside a sealed PASSporT.

Takes octets, gives parsed certificates with the leaf first. It does not judge them: whether they
make a path, and whether anybody trusts it, is ``certificate``'s to say.
Source: RFC 7468 (PEM), RFC 5280 (DER), RFC 7515 section 4.1.5.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from pbx_stir.errors import MalformedCertificate
from pbx_stir.stir.profile import is_authority, tn_auth_list

MAX_CERTIFICATES: Final = 8
MAX_CHAIN_OCTETS: Final = 65_536

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_PRIVATE_KEY: Final = b"PRIVATE KEY-----"
_BLANKS: Final = b" \t\r\n\v\f"


def parse_chain(ders: Sequence[bytes]) -> tuple[x509.Certificate, ...]:
    """Parse DER certificates and keep their order: the first is the one that signed.

    Raises ``MalformedCertificate``: none, too many, too large together, or one that is not X.509.
    """
    unique = tuple(dict.fromkeys(ders))
    if not unique:
        raise MalformedCertificate("no certificate")
    _check_size(len(unique), sum(map(len, unique)))
    return tuple(_load(der) for der in unique)


def parse_pem_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Parse a PEM file in any order, with text, a root or certificates of others in it.

    The leaf comes first: the first that is no authority and has a TNAuthList, else the first that
    is no authority, else the first. The others keep their order. Blocks that are not certificates
    and certificates that cannot be read are left out: many files of providers carry some.

    Raises ``MalformedCertificate`` where none is left, where there are too many or too much, and
    where a private key is in the file: who publishes that has lost the key.
    """
    if len(pem) > MAX_CHAIN_OCTETS:
        raise MalformedCertificate(f"a certificate file of more than {MAX_CHAIN_OCTETS} octets")
    if _PRIVATE_KEY in pem:
        raise MalformedCertificate("a certificate file with a private key in it")
    ders = tuple(dict.fromkeys(_pem_blocks(pem)))
    _check_size(len(ders), len(pem))
    certificates = [certificate for der in ders if (certificate := _load_or_none(der)) is not None]
    if not certificates:
        raise MalformedCertificate("a certificate file without a readable certificate")
    leaf = min(certificates, key=_leaf_rank)
    return (leaf, *(certificate for certificate in certificates if certificate is not leaf))


def check_readable(certificate: x509.Certificate) -> None:
    """Read what cryptography reads late, so that nothing breaks later.

    Raises ``MalformedCertificate``.
    """
    try:
        _ = (
            certificate.version,
            certificate.subject,
            certificate.issuer,
            certificate.not_valid_before_utc,
            certificate.not_valid_after_utc,
        )
    except (ValueError, TypeError, OverflowError, Warning) as error:
        raise MalformedCertificate(f"not an x.509 certificate: {error}") from error


def _check_size(count: int, octets: int) -> None:
    """Bound the work that a stranger's chain can make."""
    if count > MAX_CERTIFICATES:
        raise MalformedCertificate(f"a chain of {count} certificates, over {MAX_CERTIFICATES}")
    if octets > MAX_CHAIN_OCTETS:
        raise MalformedCertificate(f"a chain of {octets} octets, over {MAX_CHAIN_OCTETS}")


def _load(der: bytes) -> x509.Certificate:
    """Parse one certificate, whole; ``MalformedCertificate`` else."""
    try:
        certificate = x509.load_der_x509_certificate(der)
    # Warning: cryptography warns of odd serial numbers, and warnings may be made errors.
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, Warning) as error:
        raise MalformedCertificate(f"not an x.509 certificate: {error}") from error
    check_readable(certificate)
    return certificate


def _load_or_none(der: bytes) -> x509.Certificate | None:
    """Parse one certificate, None where it cannot be read."""
    try:
        return _load(der)
    except MalformedCertificate:
        return None


def _pem_blocks(pem: bytes) -> Iterator[bytes]:
    """Give the octets of each CERTIFICATE block whose base64 is sound, in one pass."""
    at = 0
    while (begin := pem.find(_BEGIN, at)) >= 0:
        end = pem.find(_END, begin)
        if end < 0:
            return
        text = pem[begin + len(_BEGIN) : end].translate(None, _BLANKS)
        try:
            yield base64.b64decode(text, validate=True)
        except binascii.Error:
            pass
        at = end + len(_END)


def _leaf_rank(certificate: x509.Certificate) -> int:
    """Tell how likely this is the leaf of a file; smaller is likelier."""
    try:
        if is_authority(certificate):
            return 2
        return 0 if tn_auth_list(certificate) is not None else 1
    except MalformedCertificate:
        return 1
