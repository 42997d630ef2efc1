"""Whether a certificate on a path is revoked, by the lists and answers that are at hand.

Takes a path that holds, revocation lists and OCSP answers, whom the administrator trusts and the
time; gives a ``Finding``: good, revoked or unknown. It fetches nothing, and it does not know what
unknown means for a call.

* Every certificate of the path but its anchor must be good for the path to be good. One that is
  revoked makes the path revoked.
* A list counts where its signer may sign lists (cRLSign), is valid now and is: the certificate's
  issuer; somebody of the same name below the path's anchor, whose certificate came with the list;
  or one that the administrator named for lists. An indirect list (SHAKEN, ATIS-1000080: one list of
  the policy administrator for all authorities) counts where a distribution point of the certificate
  names its issuer in cRLIssuer; its signer may also be any anchor of that name.
* RFC 5280 section 6.3.3 (f) wants the list's signer under the anchor of the certificate. We take
  others that the administrator named, since SHAKEN's policy administrator has a root of its own.
* A list that is over says of nobody that he is good. A revocation on it still counts, unless it
  was on hold: RFC 5280 section 3.3 lets no entry go before the certificate itself has ended.
* A list for some reasons only (onlySomeReasons, or a distribution point with reasons) shows
  revocation, and never that a certificate is good.
* A certificate that needs none is good where nobody revokes it: it says noRevAvail (RFC 9608) and
  names no place to ask, or it is valid for at most seven days in all, as long as a list may be.

Source: RFC 5280 sections 5 and 6.3, RFC 6960, RFC 9608.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import AuthorityInformationAccessOID

from pbx_stir.errors import Malformed, MalformedCertificate, Refused
from pbx_stir.stir.certificate import Anchors, Path
from pbx_stir.stir.ocsp import UNDERSTOOD_ON_SIGNER, OcspAnswer, Said, request_url, said_of
from pbx_stir.stir.profile import (
    check_issuer,
    has_strong_signature,
    is_authority,
    name_of,
    public_key,
)
from pbx_stir.stir.revocation_list import RevocationList

SHORT_LIVED_SECONDS: Final = 7 * 86_400
MOST_PLACES: Final = 4
_MOST_STEPS: Final = 8
_OID_NO_REV_AVAIL: Final = x509.ObjectIdentifier("2.5.29.56")
_BROKEN: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    # cryptography warns of odd certificates, and warnings may be made errors
    Warning,
)


class Status(enum.Enum):
    """What is known of a certificate or a path."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A status, and in words why (not for GOOD)."""

    status: Status
    detail: str = ""


class Kind(enum.Enum):
    """What is to be had at a place."""

    LIST = "list"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a certificate says that its revocation is to be learnt. ``url`` is not checked."""

    kind: Kind
    url: str


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose lists count: the anchors of PASSporTs, and signers named for lists alone."""

    anchors: Anchors
    signers: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is at hand to judge by."""

    lists: Sequence[RevocationList] = field(default=())
    answers: Sequence[OcspAnswer] = field(default=())


class _Scope(enum.Enum):
    """How much of what may be said of a certificate a list says."""

    OUTSIDE = 0
    PART = 1
    WHOLE = 2


def assess(path: Path, evidence: Evidence, trust: Trust, now: float) -> Finding:
    """Judge every certificate of the path but its anchor; ``now`` in seconds since the epoch.

    Never raises: what cannot be read says nothing.
    """
    unknown = None
    for index in range(len(path.certificates) - 1):
        finding = _assess_one(index, path, evidence, trust, now)
        if finding.status is Status.REVOKED:
            return finding
        if finding.status is Status.UNKNOWN:
            unknown = unknown or finding
    return unknown or Finding(Status.GOOD)


def places(path: Path) -> tuple[Place, ...]:
    """Give where the certificates of the path say that their revocation is to be learnt.

    An OCSP responder is named only for a certificate without a list at http or https: asking one
    tells of the very certificate that was met, fetching a list does not.
    """
    found: dict[Place, None] = {}
    for certificate, issuer in zip(path.certificates, path.certificates[1:], strict=False):
        try:
            urls = dict.fromkeys(_list_urls(certificate))
            if urls:
                found.update((Place(Kind.LIST, url), None) for url in list(urls)[:MOST_PLACES])
                continue
            for base in list(dict.fromkeys(_responders(certificate)))[:MOST_PLACES]:
                found[Place(Kind.ANSWER, request_url(base, certificate, issuer))] = None
        except (*_BROKEN, MalformedCertificate):
            continue
    return tuple(found)


def is_authentic(listed: RevocationList, path: Path, trust: Trust, now: float) -> bool:
    """Tell whether the list is signed by somebody who may say whether the path is revoked."""
    return any(
        _signer(listed, index, path, trust, now) is not None
        for index in range(len(path.certificates) - 1)
    )


def _assess_one(index: int, path: Path, evidence: Evidence, trust: Trust, now: float) -> Finding:
    """Judge one certificate of the path by all that is at hand."""
    certificate, issuer = path.certificates[index], path.certificates[index + 1]
    name = repr(name_of(certificate))
    good, why = False, ""
    for listed in evidence.lists:
        try:
            finding = _by_list(listed, index, path, trust, now)
        except (*_BROKEN, MalformedCertificate):
            continue
        if finding.status is Status.REVOKED:
            return finding
        good = good or finding.status is Status.GOOD
        why = why or finding.detail
    for answer in evidence.answers:
        said = said_of(answer, certificate, issuer, now)
        if said is Said.REVOKED:
            return Finding(Status.REVOKED, f"{name} is revoked, its responder says")
        good = good or said is Said.GOOD
    if good or _needs_none(certificate):
        return Finding(Status.GOOD)
    return Finding(Status.UNKNOWN, why or f"nothing is known of the revocation of {name}")


def _by_list(listed: RevocationList, index: int, path: Path, trust: Trust, now: float) -> Finding:
    """Judge one certificate by one list. UNKNOWN without detail: the list is none of its."""
    certificate = path.certificates[index]
    if not listed.has_begun(now):
        return Finding(Status.UNKNOWN)
    scope = _scope(listed, certificate)
    entry = listed.entry(certificate)
    if scope is _Scope.OUTSIDE and entry is None:
        return Finding(Status.UNKNOWN)
    signer = _signer(listed, index, path, trust, now)
    name, by = name_of(certificate), _shown(listed.issuer)
    if signer is None:
        return Finding(Status.UNKNOWN, f"the list of {by} is not signed by whom it should be")
    is_over = listed.is_over(now)
    # whoever the administrator named for lists is believed beyond what the certificate says
    counts = scope is not _Scope.OUTSIDE or signer in trust.signers
    if entry is not None and counts and not (is_over and entry.on_hold):
        return Finding(Status.REVOKED, f"{name!r} is revoked, says the list of {by}")
    if is_over:
        return Finding(Status.UNKNOWN, f"the list of {by} is over")
    return Finding(Status.GOOD if scope is _Scope.WHOLE else Status.UNKNOWN)


def _scope(listed: RevocationList, certificate: x509.Certificate) -> _Scope:
    """Tell how far the list speaks for the certificate (RFC 5280 section 6.3.3 (b) to (d))."""
    point = listed.point
    whole = True
    if point is not None:
        if point.only_contains_attribute_certs or point.relative_name is not None:
            return _Scope.OUTSIDE
        authority = is_authority(certificate)
        if (point.only_contains_user_certs and authority) or (
            point.only_contains_ca_certs and not authority
        ):
            return _Scope.OUTSIDE
        whole = point.only_some_reasons is None
    names = set(point.full_name or ()) if point is not None else set()
    is_own = listed.issuer == certificate.issuer
    if is_own and (not names or x509.DirectoryName(certificate.issuer) in names):
        # RFC 5280 section 6.3.3, last paragraph: lists of the certificate's issuer that no
        # distribution point names
        return _Scope.WHOLE if whole else _Scope.PART
    best = _Scope.OUTSIDE
    for one in _points(certificate):
        if one.crl_issuer is None:
            speaks = is_own
        else:
            speaks = listed.is_indirect and x509.DirectoryName(listed.issuer) in one.crl_issuer
        named = set(one.full_name or one.crl_issuer or ())
        if not speaks or (names and not names & named):
            continue
        if whole and one.reasons is None:
            return _Scope.WHOLE
        best = _Scope.PART
    return best


def _signer(
    listed: RevocationList, index: int, path: Path, trust: Trust, now: float
) -> x509.Certificate | None:
    """Find who signed the list and may say whether one certificate of the path is revoked."""
    for signer in _signers(listed, index, path, trust):
        try:
            usage = _key_usage(signer)
            # RFC 5280 section 6.3.3 (f): "If a key usage extension is present in the CRL issuer's
            # certificate, verify that the cRLSign bit is set"; those whom nobody chose must have it
            chosen = signer in trust.signers or signer in trust.anchors
            may = usage.crl_sign if usage is not None else chosen
            if may and _is_valid(signer, now) and listed.signature.is_by(public_key(signer)):
                named = signer in path.certificates[1:] or chosen
                if named or _leads_to_anchor(signer, listed, path, now):
                    return signer
        except _BROKEN:
            continue
    return None


def _signers(
    listed: RevocationList, index: int, path: Path, trust: Trust
) -> Iterator[x509.Certificate]:
    """Give who may have signed the list: all have the name of its issuer."""
    known = [*trust.signers, *listed.certificates]
    if listed.issuer == path.certificates[index].issuer:
        # another anchor of that name may be another company's
        yield path.certificates[index + 1]
    else:
        known = [*path.certificates[1:], *trust.anchors.named(listed.issuer), *known]
    for certificate in known:
        if certificate.subject == listed.issuer:
            yield certificate


def _leads_to_anchor(
    signer: x509.Certificate, listed: RevocationList, path: Path, now: float
) -> bool:
    """Tell whether certificates beside the list lead from its signer to the path's anchor.

    A plain climb, without trying every way: such a chain has one or two steps.
    """
    anchor = path.certificates[-1]
    above = (*path.certificates[1:], *listed.certificates)
    current = signer
    if any(one.critical and one.oid not in UNDERSTOOD_ON_SIGNER for one in signer.extensions):
        return False
    for below in range(_MOST_STEPS):
        if not _is_valid(current, now):
            return False
        if current == anchor:
            return True
        issuer = next((one for one in above if _issued(one, current, below, anchor)), None)
        if issuer is None or issuer == current:
            return False
        current = issuer
    return False


def _issued(
    issuer: x509.Certificate, certificate: x509.Certificate, below: int, anchor: x509.Certificate
) -> bool:
    """Tell whether the issuer made the certificate, and was allowed to."""
    if issuer.subject != certificate.issuer or not has_strong_signature(certificate):
        return False
    try:
        check_issuer(issuer, below, anchor=issuer == anchor)
        certificate.verify_directly_issued_by(issuer)
    except (*_BROKEN, InvalidSignature, Malformed, Refused):
        return False
    return True


def _needs_none(certificate: x509.Certificate) -> bool:
    """Tell whether the certificate may be relied on though nobody can say if it is revoked."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if (ends - begins).total_seconds() <= SHORT_LIVED_SECONDS:
        return True
    try:
        if not any(one.oid == _OID_NO_REV_AVAIL for one in certificate.extensions):
            return False
        # RFC 9608 section 3: it MUST NOT stand beside cA TRUE, a distribution point or an OCSP
        # responder; where it does, we go by these
        asks = bool(_points(certificate)) or any(True for _ in _responders(certificate))
        return not (asks or is_authority(certificate))
    except (*_BROKEN, MalformedCertificate):
        return False


def _points(certificate: x509.Certificate) -> list[x509.DistributionPoint]:
    """Give the certificate's distribution points."""
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.CRLDistributionPoints):
            return list(extension.value)
    return []


def _list_urls(certificate: x509.Certificate) -> Iterator[str]:
    """Give the http and https URLs of the certificate's lists."""
    for point in _points(certificate):
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier) and _is_web(name.value):
                yield name.value


def _responders(certificate: x509.Certificate) -> Iterator[str]:
    """Give the http and https URLs of the certificate's OCSP responders."""
    for extension in certificate.extensions:
        if not isinstance(extension.value, x509.AuthorityInformationAccess):
            continue
        for access in extension.value:
            place = access.access_location
            if (
                access.access_method == AuthorityInformationAccessOID.OCSP
                and isinstance(place, x509.UniformResourceIdentifier)
                and _is_web(place.value)
            ):
                yield place.value


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.KeyUsage):
            return extension.value
    return None


def _is_valid(certificate: x509.Certificate, now: float) -> bool:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return first.timestamp() <= now and int(now) <= last.timestamp()


def _shown(name: x509.Name) -> str:
    """Give a list's issuer as a message may show it: quoted and cut."""
    return repr(name.rfc4514_string()[:80])
