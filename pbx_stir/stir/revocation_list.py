"""Certificate revocation lists as they arrive, indexed so that one certificate is found at once.

Takes octets, in DER or PEM, gives ``RevocationList`` values. It judges what a list says of itself:
that it is complete, current at a time, and understood. Who signed it, and for which certificates it
speaks, is ``revocation``'s to say.

Delta lists are refused: we fetch complete ones. A list with an unknown critical extension, of its
own or in one of its entries, is refused whole.

Source: RFC 5280 sections 5 and 6.3.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from pbx_stir.errors import MalformedCertificate
from pbx_stir.stir.chain import parse_chain
from pbx_stir.stir.issuer_signature import IssuerSignature

MAX_OCTETS: Final = 4 << 20
MAX_LISTS: Final = 16
# a clock that lags behind the issuer's by this much still takes what was issued just now
CLOCK_SECONDS: Final = 300.0

_PEM_LIST: Final = b"X509 CRL"
_PEM_CERTIFICATE: Final = b"CERTIFICATE"
_BLANKS: Final = b" \t\r\n\v\f"

# RFC 5280 section 5.2: "If a CRL contains a critical extension that the application cannot process,
# then the application MUST NOT use that CRL to determine the status of certificates."
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
    }
)
_UNDERSTOOD_IN_ENTRY: Final = frozenset(
    {
        CRLEntryExtensionOID.CRL_REASON,
        CRLEntryExtensionOID.INVALIDITY_DATE,
        CRLEntryExtensionOID.CERTIFICATE_ISSUER,
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


@dataclass(frozen=True, slots=True)
class Entry:
    """That a certificate is on the list. ``on_hold``: it may be taken off again."""

    on_hold: bool = False


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A complete list, not yet known to be anybody's.

    ``entries`` are by the name of the certificate's issuer and its serial number. ``this_update``
    and ``next_update`` are epoch seconds, ``octets`` its size. ``point`` is its issuing
    distribution point. ``certificates`` came in the same file, with nobody's word for them.
    """

    signature: IssuerSignature
    issuer: x509.Name
    this_update: float
    next_update: float
    point: x509.IssuingDistributionPoint | None
    entries: Mapping[x509.Name, Mapping[int, Entry]]
    octets: int
    certificates: tuple[x509.Certificate, ...] = ()

    @property
    def is_indirect(self) -> bool:
        """Whether it may list certificates of others than its issuer."""
        return self.point is not None and self.point.indirect_crl

    def entry(self, certificate: x509.Certificate) -> Entry | None:
        """Give the entry of ``certificate``, None where it is not listed."""
        return self.entries.get(certificate.issuer, {}).get(certificate.serial_number)

    def has_begun(self, now: float) -> bool:
        """Whether it had been issued at ``now``."""
        return now >= self.this_update - CLOCK_SECONDS

    def is_over(self, now: float) -> bool:
        """Whether a newer one ought to be out at ``now``."""
        return int(now) > self.next_update


def parse_lists(octets: bytes) -> tuple[RevocationList, ...]:
    """Parse one list in DER, or a PEM file of lists and of certificates of their issuers.

    Raises ``MalformedCertificate``: too large, no list, or one that is not complete and understood.
    """
    if len(octets) > MAX_OCTETS:
        raise MalformedCertificate(f"a revocation list of more than {MAX_OCTETS} octets")
    if octets[:1] == b"\x30":
        return (_parse(octets, ()),)
    ders = list(_pem_blocks(octets, _PEM_LIST))
    if not 1 <= len(ders) <= MAX_LISTS:
        raise MalformedCertificate(f"{len(ders)} revocation lists, not 1 to {MAX_LISTS}")
    beside = list(_pem_blocks(octets, _PEM_CERTIFICATE))
    certificates = parse_chain(beside) if beside else ()
    return tuple(_parse(der, certificates) for der in ders)


def _parse(der: bytes, certificates: tuple[x509.Certificate, ...]) -> RevocationList:
    """Parse one list and read all of it, since cryptography reads most of it late."""
    try:
        signed = x509.load_der_x509_crl(der)
        point = _check_extensions(signed)
        if signed.next_update_utc is None:
            # RFC 5280 section 5.1.2.5: "Conforming CRL issuers MUST include the nextUpdate field"
            raise MalformedCertificate("a revocation list that does not say when it is over")
        return RevocationList(
            signature=IssuerSignature.over(
                signed.tbs_certlist_bytes, signed.signature, signed.signature_algorithm_oid
            ),
            issuer=signed.issuer,
            this_update=signed.last_update_utc.timestamp(),
            next_update=signed.next_update_utc.timestamp(),
            point=point,
            entries=_entries(signed, indirect=point is not None and point.indirect_crl),
            octets=len(der),
            certificates=certificates,
        )
    except _BROKEN as error:
        raise MalformedCertificate(f"not a revocation list: {error}") from error


def _check_extensions(
    signed: x509.CertificateRevocationList,
) -> x509.IssuingDistributionPoint | None:
    """Refuse what we cannot process; give the issuing distribution point."""
    found = None
    for extension in signed.extensions:
        if extension.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            raise MalformedCertificate("a delta revocation list, where a complete one is wanted")
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise MalformedCertificate(
                "a revocation list with the critical extension "
                f"{extension.oid.dotted_string}, which is not understood"
            )
        if isinstance(extension.value, x509.IssuingDistributionPoint):
            found = extension.value
    return found


def _entries(
    signed: x509.CertificateRevocationList, *, indirect: bool
) -> dict[x509.Name, dict[int, Entry]]:
    """Index the entries by issuer and serial number."""
    held, gone = Entry(on_hold=True), Entry()
    # one name a list is the rule: only where it changes is another index looked up
    issuer = signed.issuer
    index: dict[x509.Name, dict[int, Entry]] = {issuer: {}}
    current = index[issuer]
    for revoked in signed:
        reason = None
        for extension in revoked.extensions:
            if extension.critical and extension.oid not in _UNDERSTOOD_IN_ENTRY:
                raise MalformedCertificate(
                    "a revocation list with the critical entry extension "
                    f"{extension.oid.dotted_string}, which is not understood"
                )
            if isinstance(extension.value, x509.CRLReason):
                reason = extension.value.reason
            elif isinstance(extension.value, x509.CertificateIssuer):
                if not indirect:
                    raise MalformedCertificate("a direct revocation list that lists others'")
                # RFC 5280 section 5.3.3: "If this extension is not present on subsequent entries
                # in an indirect CRL, the certificate issuer for the entry is the same as that for
                # the preceding entry."
                current = index.setdefault(_directory_name(extension.value), {})
        if reason is x509.ReasonFlags.remove_from_crl:
            # RFC 5280 section 6.3.3 (k): it is as good as not listed
            current.pop(revoked.serial_number, None)
            continue
        on_hold = reason is x509.ReasonFlags.certificate_hold
        current[revoked.serial_number] = held if on_hold else gone
    return index


def _directory_name(issuer: x509.CertificateIssuer) -> x509.Name:
    """Give the one distinguished name of a certificate's issuer."""
    names = issuer.get_values_for_type(x509.DirectoryName)
    if len(names) != 1:
        raise MalformedCertificate("a revocation list with an entry of no or of several issuers")
    return names[0]


def _pem_blocks(pem: bytes, label: bytes) -> Iterator[bytes]:
    """Give the octets of each block of that label, in one pass.

    Raises ``MalformedCertificate`` for one that is not base64: a list must not be left out.
    """
    begin_line, end_line = b"-----BEGIN %s-----" % label, b"-----END %s-----" % label
    at = 0
    while (begin := pem.find(begin_line, at)) >= 0:
        end = pem.find(end_line, begin)
        if end < 0:
            raise MalformedCertificate("a PEM block without an end")
        text = pem[begin + len(begin_line) : end].translate(None, _BLANKS)
        try:
            yield base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise MalformedCertificate("a PEM block that is not base64") from error
        at = end + len(end_line)
