"""OCSP: what to ask a responder about one certificate, and what its answer says.

Takes certificates and octets, gives a request URL, or a parsed answer and its ``Said``. The request
carries no nonce, so that responders may give what they have at hand; how old an answer may be is
bound by its own times.

Source: RFC 6960; RFC 5019 for requests by GET, with the hash that every responder knows.
"""

from __future__ import annotations

import base64
import enum
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from pbx_stir.errors import CertificateUnavailable, MalformedCertificate
from pbx_stir.stir.issuer_signature import IssuerSignature
from pbx_stir.stir.profile import has_strong_signature, public_key
from pbx_stir.stir.revocation_list import CLOCK_SECONDS

MAX_OCTETS: Final = 65_536
MAX_CERTIFICATES: Final = 4
MAX_SINGLES: Final = 64
# RFC 6960 section 4.2.2.1: without nextUpdate "newer revocation information is available all the
# time"; ours is asked for in the background, so it has to last a little
UNDATED_SECONDS: Final = 3_600.0

_HASHES: Final = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)
# what may be critical on the certificate of who signs answers or lists and nothing else
UNDERSTOOD_ON_SIGNER: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.OCSP_NO_CHECK,
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_BROKEN: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
    # cryptography warns of odd certificates, and warnings may be made errors
    Warning,
)


class Said(enum.Enum):
    """What an answer says of a certificate; NOTHING also where it must not be believed."""

    GOOD = "good"
    REVOKED = "revoked"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Single:
    """What an answer says of one certificate, by the hashes that name it. Times: epoch seconds."""

    issuer_name_hash: bytes
    issuer_key_hash: bytes
    algorithm: hashes.HashAlgorithm
    serial_number: int
    status: ocsp.OCSPCertStatus
    this_update: float
    next_update: float


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """A successful answer, not yet known to be anybody's. ``next_update`` is that of its first."""

    signature: IssuerSignature
    singles: tuple[Single, ...]
    certificates: tuple[x509.Certificate, ...]
    next_update: float
    octets: int


def request_url(base: str, certificate: x509.Certificate, issuer: x509.Certificate) -> str:
    """Give the URL under the responder's ``base`` at which it is asked about ``certificate``.

    Raises ``MalformedCertificate`` where a request cannot be made of the certificates.
    """
    try:
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
        der = builder.build().public_bytes(Encoding.DER)
    except _BROKEN as error:
        raise MalformedCertificate(f"no OCSP request can be made: {error}") from error
    # RFC 6960 appendix A.1: "GET {url}/{url-encoding of base-64 encoding of the DER encoding"
    return f"{base.rstrip('/')}/{urllib.parse.quote(base64.b64encode(der), safe='')}"


def parse_answer(octets: bytes) -> OcspAnswer:
    """Parse a responder's answer and read all of it.

    Raises ``MalformedCertificate``, and ``CertificateUnavailable`` where the responder answered
    that it has no answer.
    """
    if len(octets) > MAX_OCTETS:
        raise MalformedCertificate(f"an OCSP answer of more than {MAX_OCTETS} octets")
    try:
        response = ocsp.load_der_ocsp_response(octets)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise CertificateUnavailable(f"OCSP answered {response.response_status.name.lower()}")
        if any(extension.critical for extension in response.extensions):
            raise MalformedCertificate("an OCSP answer with a critical extension")
        signature = IssuerSignature.over(
            response.tbs_response_bytes, response.signature, response.signature_algorithm_oid
        )
        certificates = tuple(response.certificates)
        singles = tuple(map(_single, response.responses))
        # cryptography shows the extensions of a single response only where it stands alone
        if len(singles) == 1 and any(each.critical for each in response.single_extensions):
            raise MalformedCertificate("an OCSP answer with a critical extension")
    except _BROKEN as error:
        raise MalformedCertificate(f"not an OCSP answer: {error}") from error
    if not 1 <= len(singles) <= MAX_SINGLES or len(certificates) > MAX_CERTIFICATES:
        raise MalformedCertificate("an OCSP answer with too many parts, or none")
    return OcspAnswer(signature, singles, certificates, singles[0].next_update, len(octets))


def said_of(
    answer: OcspAnswer, certificate: x509.Certificate, issuer: x509.Certificate, now: float
) -> Said:
    """Tell what the answer says at ``now`` of a certificate that ``issuer`` has issued.

    Only an answer that the issuer signed, or somebody with its certificate for just that.
    """
    try:
        found = [single for single in answer.singles if _is_of(single, certificate, issuer)]
        if not found or not any(map(answer.signature.is_by, _keys(answer, issuer, now))):
            return Said.NOTHING
    except _BROKEN:
        return Said.NOTHING
    said = Said.NOTHING
    for single in found:
        if now < single.this_update - CLOCK_SECONDS or int(now) > single.next_update:
            continue
        if single.status is ocsp.OCSPCertStatus.REVOKED:
            return Said.REVOKED
        if single.status is ocsp.OCSPCertStatus.GOOD:
            said = Said.GOOD
    return said


def _single(single: ocsp.OCSPSingleResponse) -> Single:
    """Read one single response whole."""
    this_update = single.this_update_utc.timestamp()
    until = single.next_update_utc
    return Single(
        issuer_name_hash=single.issuer_name_hash,
        issuer_key_hash=single.issuer_key_hash,
        algorithm=single.hash_algorithm,
        serial_number=single.serial_number,
        status=single.certificate_status,
        this_update=this_update,
        next_update=this_update + UNDATED_SECONDS if until is None else until.timestamp(),
    )


def _is_of(single: Single, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether a single response names this certificate of this issuer."""
    if single.serial_number != certificate.serial_number:
        return False
    if not isinstance(single.algorithm, _HASHES):
        return False
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.algorithm)
    asked = builder.build()
    return (single.issuer_name_hash, single.issuer_key_hash) == (
        asked.issuer_name_hash,
        asked.issuer_key_hash,
    )


def _keys(answer: OcspAnswer, issuer: x509.Certificate, now: float) -> Iterator[object]:
    """Give the keys that may sign answers for ``issuer``.

    RFC 6960 section 4.2.2.2: the issuer's own, or that of a certificate with id-kp-OCSPSigning
    which "MUST be issued directly by the CA that is identified in the request".
    """
    yield public_key(issuer)
    for certificate in answer.certificates:
        if _may_answer(certificate, issuer, now):
            yield public_key(certificate)


def _may_answer(certificate: x509.Certificate, issuer: x509.Certificate, now: float) -> bool:
    """Tell whether the issuer has made this certificate for answering OCSP requests.

    Whether it is revoked itself is not asked: such certificates are short-lived, or say by
    id-pkix-ocsp-nocheck that they need not be (RFC 6960 section 4.2.2.2.1 leaves it to us).
    """
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not (first.timestamp() <= now and int(now) <= last.timestamp()):
        return False
    may_answer = False
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in UNDERSTOOD_ON_SIGNER:
            return False
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage):
            may_answer = ExtendedKeyUsageOID.OCSP_SIGNING in value
        elif isinstance(value, x509.KeyUsage) and not value.digital_signature:
            return False
    if not may_answer or not has_strong_signature(certificate):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return False
    return True
