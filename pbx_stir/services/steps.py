"""The cheap steps of RFC 8816 section 8.2, and what the failure of each step means.

Takes a candidate and the call's numbers, gives a Rejection or None; ranks rejections by how far
their PASSporT came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pbx_stir.errors import (
    CertificateExpired,
    CertificateRevoked,
    CertificateUnavailable,
    CertificateUntrusted,
    ConstraintViolated,
    MalformedCertificate,
    MalformedPassport,
    PbxStirError,
    UrlRefused,
)
from pbx_stir.services.call import Reason, Rejection
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.stir import diversion, passport, rich_call_data
from pbx_stir.stir.passport import Passport
from pbx_stir.stir.sip_uri import sip_uri

SUPPORTED_PPT: Final = frozenset({"", "shaken", rich_call_data.RCD})
DIVERSIONS: Final = frozenset({diversion.DIV, diversion.DIV_O})

REASONS: Final[tuple[tuple[type[PbxStirError], Reason], ...]] = (
    (UrlRefused, Reason.X5U_REFUSED),
    (CertificateUnavailable, Reason.CERTIFICATE_UNAVAILABLE),
    (CertificateExpired, Reason.CERTIFICATE_EXPIRED),
    (CertificateRevoked, Reason.REVOKED),
    (CertificateUntrusted, Reason.CERTIFICATE_UNTRUSTED),
    (ConstraintViolated, Reason.CONSTRAINT_VIOLATED),
    (MalformedCertificate, Reason.CERTIFICATE_UNTRUSTED),
    (MalformedPassport, Reason.MALFORMED),
)

# how far a PASSporT came, for the one reason that a call shows
_STEPS: Final = (
    "retrieve",
    "open",
    "identity",
    "parse",
    "judge",
    "ppt",
    "orig",
    "dest",
    # beyond dest, which the caller's own PASSporT of a call that was passed on never passes
    "diversion",
    "iat",
    "certificate",
    "coverage",
    "constraints",
    "signature",
    "revocation",
    "attestation",
    "single use",
)


def check_ppt(candidate: Candidate) -> Rejection | None:
    """Step 2: a kind of PASSporT that we understand, and whole."""
    # RFC 8225 section 8.2: a PASSporT with an extension that is not supported is not relied upon
    ppt = candidate.original.ppt
    if ppt in SUPPORTED_PPT:
        return None
    if ppt in DIVERSIONS:
        return Rejection("diversion", Reason.BROKEN_DIVERSION, "without what it diverts")
    return Rejection("ppt", Reason.UNSUPPORTED_PPT, ppt)


def check_orig(token: Passport, calling: Sequence[str]) -> Rejection | None:
    """Step 3: signed for the calling number."""
    if token.orig in calling:
        return None
    return Rejection("orig", Reason.ORIG_MISMATCH, f"signed for {token.orig or token.orig_uri}")


def check_dest(token: Passport, numbers: Numbers) -> Rejection | None:
    """Signed for a call to the called number (RFC 8224 section 6.2.1), which 8816 leaves out."""
    if any(one in token.dest for one in numbers.called):
        return None
    if numbers.called_uri and numbers.called_uri in map(sip_uri, token.dest_uri):
        return None
    signed = ", ".join([*token.dest, *token.dest_uri][:4])
    return Rejection("dest", Reason.DEST_MISMATCH, f"signed to {signed}")


def check_iat(token: Passport, now: float) -> Rejection | None:
    """Step 5: fresh, both limits inclusive."""
    age = now - token.iat
    if age > passport.FRESHNESS_SECONDS:
        return Rejection("iat", Reason.STALE, f"{age:.0f} s old")
    if age < -passport.FUTURE_TOLERANCE_SECONDS:
        return Rejection("iat", Reason.FUTURE_IAT, f"{-age:.0f} s ahead")
    return None


def reason_of(error: PbxStirError) -> Reason:
    """The word for what went wrong at a certificate."""
    return next(reason for kind, reason in REASONS if isinstance(error, kind))


# what an Identity header that the call itself carried must show to be called a failure; all else
# is made by SBCs, forwarding, clocks and foreign roots on honest calls
_FAILURES: Final = frozenset(
    {
        Reason.BAD_SIGNATURE,
        Reason.REVOKED,
        Reason.NUMBER_NOT_COVERED,
        Reason.CONSTRAINT_VIOLATED,
    }
)


def is_failure(rejection: Rejection) -> bool:
    """Whether a rejected PASSporT shows that somebody signed what they must not."""
    return rejection.conclusive and rejection.reason in _FAILURES


def furthest(rejections: Sequence[Rejection]) -> Rejection | None:
    """The rejection of the PASSporT that came furthest; of several, the first one."""
    return max(rejections, key=_rank, default=None)


def _rank(rejection: Rejection) -> int:
    # behind "retrieve" stands the URL of a CPS, as its administrator has written it
    step = "retrieve" if rejection.step.startswith("retrieve ") else rejection.step
    return _STEPS.index(step)
