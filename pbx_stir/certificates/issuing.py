"""A small STIR certificate authority: for a laboratory, a demonstration, or a closed network.

Takes keys, names, number lists and the time; gives X.509 certificates in the profile of RFC 8226:
P-256 with ecdsa-with-SHA256, critical basicConstraints and keyUsage, subject and authority key
identifiers, the TN Authorization List not critical. And lists of what is revoked. It writes no
files, keeps no register of what it issued, and does not check that anybody has a right to a number:
that is the operator's part.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbx_stir.errors import ConfigurationError
from pbx_stir.stir.tnauthlist import OID_TN_AUTH_LIST, TnAuthList

# Certificates begin a little before they are made, for the clocks of those who check them.
BACKDATED_SECONDS = 300

_OID_JWT_CLAIM_CONSTRAINTS = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.27")
_OID_ENHANCED_JWT_CLAIM_CONSTRAINTS = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.33")


def new_key() -> ec.EllipticCurvePrivateKey:
    """Draw a P-256 key, the only kind that RFC 8226 certificates of callers have (ES256)."""
    return ec.generate_private_key(ec.SECP256R1())


def new_root(
    common_name: str, now: float, days: float
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make a self-signed root and its key, valid for ``days`` from ``now`` (epoch seconds).

    Raises ``ConfigurationError`` for a name that X.509 does not allow or an impossible time.
    """
    key = new_key()
    subject = _name(common_name)
    builder = _builder(subject, subject, key.public_key(), _period(now, days))
    builder = _as_ca(builder, key.public_key(), key.public_key(), path_length=None)
    return builder.sign(key, hashes.SHA256()), key


def issue_ca(
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    public_key: ec.EllipticCurvePublicKey,
    common_name: str,
    now: float,
    days: float,
    *,
    tn_auth_list: TnAuthList | None = None,
    path_length: int | None = 0,
) -> x509.Certificate:
    """Certify a subordinate authority.

    With ``tn_auth_list`` it may only delegate within that list (RFC 9060 section 4.1); without, the
    list of what it issues stands alone. ``path_length`` is how many authorities may stand below it,
    None for any number. It ends with its issuer at the latest.

    Raises ``ConfigurationError`` as ``new_root`` does.
    """
    period = _period(now, days, issuer)
    builder = _builder(_name(common_name), issuer.subject, public_key, period)
    builder = _as_ca(builder, public_key, issuer_key.public_key(), path_length)
    if tn_auth_list is not None:
        builder = _with(builder, OID_TN_AUTH_LIST, tn_auth_list.encode())
    return builder.sign(issuer_key, hashes.SHA256())


def issue_leaf(
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    public_key: ec.EllipticCurvePublicKey,
    common_name: str,
    tn_auth_list: TnAuthList,
    now: float,
    days: float,
    claim_constraints: bytes | None = None,
    enhanced_claim_constraints: bytes | None = None,
) -> x509.Certificate:
    """Certify who may sign PASSporTs for the numbers or providers of ``tn_auth_list``.

    The constraints are DER values of JWTClaimConstraints (RFC 8226 section 8) and of
    EnhancedJWTClaimConstraints (RFC 9118 section 4), put in as they are.

    Raises ``ConfigurationError`` as ``new_root`` does, and for a key that is not P-256.
    """
    if not isinstance(public_key.curve, ec.SECP256R1):
        raise ConfigurationError(
            f"{common_name}: the key is on curve {public_key.curve.name}",
            hint="PASSporTs are signed with ES256: make a P-256 key",
        )
    period = _period(now, days, issuer)
    builder = _builder(_name(common_name), issuer.subject, public_key, period)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = _with_usage(builder, digital_signature=True, certificates=False)
    builder = _with_identifiers(builder, public_key, issuer_key.public_key())
    builder = _with(builder, OID_TN_AUTH_LIST, tn_auth_list.encode())
    if claim_constraints is not None:
        builder = _with(builder, _OID_JWT_CLAIM_CONSTRAINTS, claim_constraints)
    if enhanced_claim_constraints is not None:
        builder = _with(builder, _OID_ENHANCED_JWT_CLAIM_CONSTRAINTS, enhanced_claim_constraints)
    return builder.sign(issuer_key, hashes.SHA256())


def new_revocation_list(
    issuer: x509.Certificate,
    issuer_key: ec.EllipticCurvePrivateKey,
    revoked: Mapping[int, float],
    now: float,
) -> x509.CertificateRevocationList:
    """List what is revoked: serial numbers, and when that was (epoch seconds).

    It ends with its issuer: whoever has it goes by it until he gets a newer one.
    """
    key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(datetime.fromtimestamp(int(now), UTC))
        .next_update(issuer.not_valid_after_utc)
        .add_extension(key_id, critical=False)
        .add_extension(x509.CRLNumber(int(now)), critical=False)
    )
    for serial, at in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial)
        dated = entry.revocation_date(datetime.fromtimestamp(int(at), UTC))
        builder = builder.add_revoked_certificate(dated.build())
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    """Make a distinguished name of one common name."""
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    except ValueError as error:
        raise ConfigurationError(
            f"no common name for a certificate: {common_name[:80]!r}",
            hint="1 to 64 characters",
        ) from error


def _period(
    now: float, days: float, issuer: x509.Certificate | None = None
) -> tuple[datetime, datetime]:
    """Give the first and the last moment of validity, in whole seconds as X.509 has them."""
    try:
        moment = datetime.fromtimestamp(int(now), UTC)
        first = moment - timedelta(seconds=BACKDATED_SECONDS)
        last = (moment + timedelta(days=days)).replace(microsecond=0)
    except (OverflowError, ValueError, OSError) as error:
        raise ConfigurationError(f"no certificate can be valid for {days} days") from error
    if issuer is not None:
        last = min(last, issuer.not_valid_after_utc)
    if last <= first:
        raise ConfigurationError(f"a certificate of {days} days would end before it begins")
    return first, last


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    period: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    """Begin a certificate with a serial number of 127 random bits."""
    try:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(secrets.randbits(127) | 1)
            .not_valid_before(period[0])
            .not_valid_after(period[1])
        )
    except ValueError as error:
        raise ConfigurationError(f"no certificate can be valid from {period[0]}") from error


def _as_ca(
    builder: x509.CertificateBuilder,
    public_key: ec.EllipticCurvePublicKey,
    issuer_public_key: ec.EllipticCurvePublicKey,
    path_length: int | None,
) -> x509.CertificateBuilder:
    """Add what makes an authority of it (RFC 5280 section 4.2.1.9, critical)."""
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), True)
    builder = _with_usage(builder, digital_signature=False, certificates=True)
    return _with_identifiers(builder, public_key, issuer_public_key)


def _with_usage(
    builder: x509.CertificateBuilder, *, digital_signature: bool, certificates: bool
) -> x509.CertificateBuilder:
    """Add a critical keyUsage: to sign PASSporTs, or to sign certificates and their revocation."""
    usage = x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )
    return builder.add_extension(usage, critical=True)


def _with_identifiers(
    builder: x509.CertificateBuilder,
    public_key: ec.EllipticCurvePublicKey,
    issuer_public_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    """Add the subject's and the authority's key identifier (RFC 5280 section 4.2.1.2, method 1)."""
    subject = x509.SubjectKeyIdentifier.from_public_key(public_key)
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public_key)
    return builder.add_extension(subject, False).add_extension(authority, False)


def _with(
    builder: x509.CertificateBuilder, oid: x509.ObjectIdentifier, der: bytes
) -> x509.CertificateBuilder:
    """Add an extension that cryptography has no class for, not critical."""
    return builder.add_extension(x509.UnrecognizedExtension(oid, der), critical=False)
