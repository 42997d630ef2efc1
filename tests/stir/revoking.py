"""An issuer of revocation lists and OCSP answers: right ones by default, wrong as a test asks."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from pbx_stir.stir.certificate import Anchors, Path, find_path
from tests.stir.conftest import DAY, NOW, Issued

HOUR = 3_600
URL = "http://crl.example.com/all.crl"
RESPONDER = "http://ocsp.example.com"
NO_REV_AVAIL = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.56"), b"\x05\x00")
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def moment(seconds: float) -> datetime.datetime:
    """Epoch seconds as X.509 wants them."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def directory(name: x509.Name) -> list[x509.GeneralName]:
    """A name as general names."""
    return [x509.DirectoryName(name)]


def uri(*urls: str) -> list[x509.GeneralName]:
    """URLs as general names."""
    return [x509.UniformResourceIdentifier(url) for url in urls]


def entry(
    serial: int,
    *,
    reason: x509.ReasonFlags | None = None,
    issuer: x509.Name | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.RevokedCertificate:
    """One revoked certificate."""
    builder = x509.RevokedCertificateBuilder(serial, moment(NOW - DAY))
    if reason is not None:
        builder = builder.add_extension(x509.CRLReason(reason), False)
    if issuer is not None:
        builder = builder.add_extension(x509.CertificateIssuer(directory(issuer)), True)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    return builder.build()


def point(**words: object) -> x509.IssuingDistributionPoint:
    """An issuing distribution point that says nothing but ``words``."""
    says: dict[str, object] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**(says | words))  # type: ignore[arg-type]


def crl(
    issuer: Issued,
    entries: Iterable[x509.RevokedCertificate | int] = (),
    *,
    this_update: float = NOW - HOUR,
    next_update: float = NOW + DAY,
    says: x509.IssuingDistributionPoint | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    key: object = None,
    digest: hashes.HashAlgorithm | None = None,
    encoding: Encoding = Encoding.DER,
) -> bytes:
    """A list, signed by ``issuer`` or with another ``key``."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.cert.subject)
        .last_update(moment(this_update))
        .next_update(moment(next_update))
        .add_extension(x509.CRLNumber(1), False)
    )
    if says is not None:
        builder = builder.add_extension(says, True)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    for one in entries:
        revoked = entry(one) if isinstance(one, int) else one
        builder = builder.add_revoked_certificate(revoked)
    signed = builder.sign(key or issuer.key, digest or hashes.SHA256())  # type: ignore[arg-type]
    return signed.public_bytes(encoding)


def at(
    *urls: str,
    crl_issuer: x509.Name | None = None,
    reasons: frozenset[x509.ReasonFlags] | None = None,
) -> tuple[x509.ExtensionType, bool]:
    """A distribution point as an extension of a certificate."""
    named = None if crl_issuer is None else directory(crl_issuer)
    one = x509.DistributionPoint(uri(*urls) or None, None, reasons, named)
    return x509.CRLDistributionPoints([one]), False


def asks(*urls: str) -> tuple[x509.ExtensionType, bool]:
    """OCSP responders as an extension of a certificate."""
    oid = AuthorityInformationAccessOID.OCSP
    access = [x509.AccessDescription(oid, one) for one in uri(*urls)]
    return x509.AuthorityInformationAccess(access), False


def answer(
    certificate: Issued,
    issuer: Issued,
    *,
    responder: Issued | None = None,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    this_update: float = NOW - HOUR,
    next_update: float | None = NOW + DAY,
    algorithm: hashes.HashAlgorithm | None = None,
    digest: hashes.HashAlgorithm | None = None,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """An OCSP answer about ``certificate``, signed by its issuer or by ``responder``."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    signer = responder or issuer
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=certificate.cert,
            issuer=issuer.cert,
            algorithm=algorithm or hashes.SHA1(),
            cert_status=status,
            this_update=moment(this_update),
            next_update=None if next_update is None else moment(next_update),
            revocation_time=moment(NOW - DAY) if revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, signer.cert)
    )
    if responder is not None:
        builder = builder.certificates([responder.cert])
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical)
    signed = builder.sign(signer.key, digest or hashes.SHA256())  # type: ignore[arg-type]
    return signed.public_bytes(Encoding.DER)


def path_of(*chain: Issued, anchors: Sequence[Issued] = (), now: float = NOW) -> Path:
    """The path from the first of ``chain``; its last is an anchor beside ``anchors``."""
    trusted = Anchors.of(one.cert for one in (chain[-1], *anchors))
    return find_path([one.cert for one in chain], trusted, now)
