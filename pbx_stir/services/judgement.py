"""Steps 2 to 6 of RFC 8816 section 8.2, on one PASSporT.

Takes a parsed PASSporT with the certificates that came along, and the numbers of the call; gives a
``Judged`` or the ``Rejection`` of the first step that it failed. Cheap steps stand first: a
certificate is looked for only when the PASSporT would be of this call and of now, since a
stranger's x5u that we fetch tells its owner of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pbx_stir.errors import (
    CertificateExpired,
    CertificateRevoked,
    CertificateUnavailable,
    CertificateUntrusted,
    ConstraintViolated,
    MalformedCertificate,
    PbxStirError,
    UrlRefused,
)
from pbx_stir.services.call import Reason, Rejection
from pbx_stir.stir import certificate, passport
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy
from pbx_stir.stir.number import MAX_DIGITS
from pbx_stir.stir.sip_uri import sip_uri

SUPPORTED_PPT: Final = frozenset({"", "shaken"})
MOST_FETCHES: Final = 2

_REASONS: Final[tuple[tuple[type[PbxStirError], Reason], ...]] = (
    (UrlRefused, Reason.X5U_REFUSED),
    (CertificateUnavailable, Reason.CERTIFICATE_UNAVAILABLE),
    (CertificateExpired, Reason.CERTIFICATE_EXPIRED),
    (CertificateRevoked, Reason.REVOKED),
    (CertificateUntrusted, Reason.CERTIFICATE_UNTRUSTED),
    (ConstraintViolated, Reason.CONSTRAINT_VIOLATED),
    (MalformedCertificate, Reason.CERTIFICATE_UNTRUSTED),
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
    "iat",
    "certificate",
    "coverage",
    "constraints",
    "signature",
    "attestation",
    "single use",
)


@dataclass(frozen=True, slots=True)
class Numbers:
    """The canonical numbers of a call: what its caller ID and its called number may mean.

    ``called_uri`` is what was called where that is a URI without a number; ``called`` is then
    empty. ``max_digits`` is the length of the longest number that the trunk knows.
    """

    calling: tuple[str, ...]
    called: tuple[str, ...]
    called_uri: str = ""
    max_digits: int = MAX_DIGITS

    @property
    def shown(self) -> tuple[str, str]:
        """The one calling and called number that people and PBXs are shown."""
        return self.calling[0], self.called[0] if self.called else ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A PASSporT that may be this call's, with the DER certificates that came along.

    ``in_band``: the call itself carried it.
    """

    passport: passport.Passport
    chain: tuple[bytes, ...]
    in_band: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """A PASSporT that is valid and of this call: VERIFIED, ATTEST_B or ATTEST_C."""

    reason: Reason
    attest: str
    orig: str
    dest: str
    signer: str


class CertificateSource(Protocol):
    """Gets the certificates behind an x5u."""

    def cached(self, x5u: str) -> bool:
        """Whether ``chain`` answers from memory, so that nobody learns of the call."""
        ...

    async def chain(self, x5u: str, give_up_at: float) -> tuple[x509.Certificate, ...]:
        """Return the chain as served.

        Raises:
            UrlRefused, CertificateUnavailable, MalformedCertificate
        """
        ...


@dataclass(frozen=True, slots=True)
class VerificationPolicy:
    """What a verdict may rest on.

    ``anchors`` gives the trust anchors in force now. ``passed_attest`` are the attestations with
    which a shaken PASSporT passes.
    """

    anchors: Callable[[], Anchors]
    spc: SpcPolicy = field(default_factory=SpcPolicy)
    passed_attest: frozenset[str] = frozenset({"A"})


@dataclass(slots=True)
class Fetches:
    """How many certificates may still be fetched for one call."""

    left: int = MOST_FETCHES


class Judge:
    """Judges one PASSporT at a time; keeps nothing but the paths it has found."""

    def __init__(self, policy: VerificationPolicy, certificates: CertificateSource) -> None:
        self._policy = policy
        self._certificates = certificates

    def needs_fetch(self, candidate: Candidate) -> bool:
        """Whether its certificates are neither inside it nor in memory."""
        return not candidate.chain and not self._certificates.cached(candidate.passport.x5u)

    async def judge(
        self,
        candidate: Candidate,
        numbers: Numbers,
        now: float,
        give_up_at: float,
        fetches: Fetches,
    ) -> Judged | Rejection:
        """Carry out the steps; ``now`` in seconds since the epoch, ``give_up_at`` monotonic."""
        token = candidate.passport
        rejection = (
            _check_ppt(token)
            or _check_orig(token, numbers.calling)
            or _check_dest(token, numbers)
            or _check_iat(token, now)
        )
        if rejection is not None:
            return rejection
        step = "certificate"
        try:
            path = await self._path(candidate, now, give_up_at, fetches)
            # 4: "(...) authority for the calling number"
            step = "coverage"
            if not self._covers(token, path):
                return self._not_covered(token, path)
            step = "constraints"
            path.check_claims(token.claims)
        except tuple(kind for kind, _ in _REASONS) as error:
            return Rejection(step, _reason_of(error), error.message)
        # 6: the signature
        key = path.leaf.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not passport.signature_holds(
            token, key
        ):
            return Rejection("signature", Reason.BAD_SIGNATURE, f"under {path.signer}")
        return self._judged(token, path, numbers)

    async def _path(
        self, candidate: Candidate, now: float, give_up_at: float, fetches: Fetches
    ) -> Path:
        """The path of the certificates inside, else of those that x5u names."""
        anchors = self._policy.anchors()
        if not candidate.chain:
            chain = await self._chain(candidate, give_up_at, fetches)
            return certificate.find_path(chain, anchors, now)
        try:
            return certificate.find_path(certificate.parse_chain(candidate.chain), anchors, now)
        except CertificateUntrusted as untrusted:
            # a chain may be cut off where it did not fit beside the PASSporT
            try:
                chain = await self._chain(candidate, give_up_at, fetches)
            except PbxStirError:
                raise untrusted from None
            return certificate.find_path(chain, anchors, now)

    async def _chain(
        self, candidate: Candidate, give_up_at: float, fetches: Fetches
    ) -> tuple[x509.Certificate, ...]:
        x5u = candidate.passport.x5u
        if not self._certificates.cached(x5u):
            if fetches.left < 1:
                raise CertificateUnavailable("this call has had its certificates fetched")
            fetches.left -= 1
        return await self._certificates.chain(x5u, give_up_at)

    def _covers(self, token: passport.Passport, path: Path) -> bool:
        # what an SPC vouches for is the provider's attestation: a PASSporT without one needs a
        # certificate for the number itself, or the table that says whose it is
        if token.ppt == "shaken":
            return path.covers(token.orig, self._policy.spc)
        return path.authorises(token.orig, token.orig, self._policy.spc)

    def _not_covered(self, token: passport.Passport, path: Path) -> Rejection:
        detail = f"{token.orig} is not of {path.signer}"
        # only a list of numbers shows that somebody signed what he must not
        speaks = path.tn_auth_list.has_numbers
        return Rejection("coverage", Reason.NUMBER_NOT_COVERED, detail, conclusive=speaks)

    def _judged(self, token: passport.Passport, path: Path, numbers: Numbers) -> Judged:
        reason = Reason.VERIFIED
        if token.ppt == "shaken" and token.attest not in self._policy.passed_attest:
            reason = {"B": Reason.ATTEST_B, "C": Reason.ATTEST_C}.get(token.attest, Reason.VERIFIED)
        dest = next((one for one in numbers.called if one in token.dest), "")
        return Judged(reason, token.attest, token.orig, dest, path.signer)


def _check_ppt(token: passport.Passport) -> Rejection | None:
    # RFC 8225 section 8.2: a PASSporT with an extension that is not supported is not relied upon
    if token.ppt in SUPPORTED_PPT:
        return None
    return Rejection("ppt", Reason.UNSUPPORTED_PPT, token.ppt)


def _check_orig(token: passport.Passport, calling: Sequence[str]) -> Rejection | None:
    if token.orig in calling:
        return None
    return Rejection("orig", Reason.ORIG_MISMATCH, f"signed for {token.orig or token.orig_uri}")


def _check_dest(token: passport.Passport, numbers: Numbers) -> Rejection | None:
    if any(one in token.dest for one in numbers.called):
        return None
    if numbers.called_uri and numbers.called_uri in map(sip_uri, token.dest_uri):
        return None
    signed = ", ".join([*token.dest, *token.dest_uri][:4])
    return Rejection("dest", Reason.DEST_MISMATCH, f"signed to {signed}")


def _check_iat(token: passport.Passport, now: float) -> Rejection | None:
    age = now - token.iat
    if age > passport.FRESHNESS_SECONDS:
        return Rejection("iat", Reason.STALE, f"{age:.0f} s old")
    if age < -passport.FUTURE_TOLERANCE_SECONDS:
        return Rejection("iat", Reason.FUTURE_IAT, f"{-age:.0f} s ahead")
    return None


def _reason_of(error: PbxStirError) -> Reason:
    return next(reason for kind, reason in _REASONS if isinstance(error, kind))


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
    step = rejection.step.partition(" http")[0]
    return _STEPS.index(step)
