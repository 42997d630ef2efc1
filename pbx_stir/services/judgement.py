"""Steps 2 to 6 of RFC 8816 section 8.2, on one PASSporT.

Takes a parsed PASSporT with the certificates that came along, and the numbers of the call; gives a
``Judged`` or the ``Rejection`` of the first step that it failed. Cheap steps stand first: a
certificate is looked for only when the PASSporT would be of this call and of now, since a
stranger's x5u that we fetch tells its owner of the call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.errors import (
    CertificateUnavailable,
    MalformedCertificate,
    MalformedPassport,
)
from pbx_stir.services.call import Reason, Rejection
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.services.paths import KnownPaths
from pbx_stir.services.steps import (
    DIVERSIONS,
    REASONS,
    check_dest,
    check_iat,
    check_orig,
    check_ppt,
    furthest,
    reason_of,
)
from pbx_stir.stir import certificate, diversion, passport, rich_call_data
from pbx_stir.stir.certificate import Anchors, Path, SpcPolicy
from pbx_stir.stir.diversion import diverting_number
from pbx_stir.stir.passport import Passport
from pbx_stir.stir.rich_call_data import RichCallData

MOST_FETCHES: Final = 2
KNOWN: Final = 0
FOUND: Final = 1
FETCHED: Final = 2


@dataclass(frozen=True, slots=True)
class Judged:
    """A PASSporT that is valid and of this call: VERIFIED, ATTEST_B or ATTEST_C.

    ``diverted_by`` is who passed the call on last. ``name`` and ``call_reason`` are as signed, raw.
    ``paths`` are those of all who signed, the outermost one's first.
    """

    reason: Reason
    attest: str
    orig: str
    dest: str
    signer: str
    diverted_by: str = ""
    name: str = ""
    call_reason: str = ""
    paths: tuple[Path, ...] = ()


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


class RevocationSource(Protocol):
    """Knows which certificates are revoked."""

    def check(self, path: Path, now: float) -> None:
        """Refuse a path by what is in memory, without waiting; ``now`` is epoch seconds.

        Raises:
            CertificateRevoked, CertificateUnavailable
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
    """Judges one candidate at a time; keeps nothing but the paths that it has found."""

    def __init__(
        self,
        policy: VerificationPolicy,
        certificates: CertificateSource,
        revocation: RevocationSource | None = None,
    ) -> None:
        self._policy = policy
        self._certificates = certificates
        self._revocation = revocation
        self._paths = KnownPaths()

    def cost(self, candidate: Candidate) -> int:
        """How dear it is to judge: its path is KNOWN, to be FOUND, or FETCHED first."""
        if candidate.chain:
            known = self._paths.knows(candidate.chain, self._policy.anchors())
            return KNOWN if known else FOUND
        return FOUND if self._certificates.cached(candidate.passport.x5u) else FETCHED

    async def judge(
        self,
        candidate: Candidate,
        numbers: Numbers,
        now: float,
        give_up_at: float,
        fetches: Fetches,
    ) -> Judged | Rejection:
        """Carry out the steps; ``now`` in seconds since the epoch, ``give_up_at`` monotonic."""
        outermost = candidate.passport
        rejection = (
            check_ppt(candidate)
            or check_orig(outermost, numbers.calling)
            or check_dest(outermost, numbers)
            or check_iat(outermost, now)
        )
        if rejection is not None:
            return rejection
        try:
            said = rich_call_data.read(candidate.original)
        except MalformedPassport as error:
            return Rejection("parse", Reason.MALFORMED, error.message)
        # whoever passed the call on signs for his own number, and the caller for his
        paths: list[Path] = []
        for token in reversed(candidate.all):
            looked = await self._authority(token, candidate, now, give_up_at, fetches, numbers)
            if isinstance(looked, Rejection):
                return looked
            paths.append(looked)
        return self._judged(candidate, tuple(paths), numbers, said)

    async def _authority(
        self,
        token: Passport,
        candidate: Candidate,
        now: float,
        give_up_at: float,
        fetches: Fetches,
        numbers: Numbers,
    ) -> Path | Rejection:
        """Steps 4 and 6 for one PASSporT: the path of who signed it, or why it does not do.

        By the certificates inside, else by those that x5u names.
        """
        inside: Path | Rejection | None = None
        if candidate.chain:
            inside = self._among(token, candidate.chain, numbers, now)
            if not _may_be_cut_off(inside):
                if not _is_left_out(inside, token, candidate):
                    return inside
                inside = None
        try:
            chain = await self._chain(token, give_up_at, fetches)
        except tuple(kind for kind, _ in REASONS) as error:
            return inside or Rejection("certificate", reason_of(error), error.message)
        return self._among(token, chain, numbers, now)

    def _among(
        self, token: Passport, chain: Sequence[bytes], numbers: Numbers, now: float
    ) -> Path | Rejection:
        """The path from whichever of ``chain`` signed ``token`` and may.

        It is the first one nearly always; but a bundle may hold those of several signers, and in
        any order, and one key may have several certificates, of which one that does is enough.
        """
        looked = self._from_leaf(token, chain, numbers, now)
        if isinstance(looked, Path):
            return looked
        signers = _signers(token, chain)
        # what the first certificate says of a token counts where no other has signed it
        rejections = [looked] if not signers or chain[0] in signers else []
        for signer in signers:
            if signer != chain[0]:
                others = [der for der in chain if der != signer]
                looked = self._from_leaf(token, [signer, *others], numbers, now)
                if isinstance(looked, Path):
                    return looked
                rejections.append(looked)
        return furthest(rejections) or looked

    def _from_leaf(
        self, token: Passport, chain: Sequence[bytes], numbers: Numbers, now: float
    ) -> Path | Rejection:
        """The path from the first of ``chain``, where it may sign what ``token`` says and did."""
        step = "certificate"
        try:
            path = self._paths.find(chain, self._policy.anchors(), now)
            # 4: "(...) authority for the calling number"
            step = "coverage"
            number = token.orig
            if token.ppt in DIVERSIONS:
                number = diverting_number(token, max_digits=numbers.max_digits)
            if not self._covers(token, number, path):
                # only a list of numbers shows that somebody signed what he must not
                speaks = path.tn_auth_list.has_numbers
                detail = f"{number} is not of {path.signer}"
                return Rejection(step, Reason.NUMBER_NOT_COVERED, detail, conclusive=speaks)
            step = "constraints"
            path.check_claims(token.claims)
            # 6: the signature
            if not _has_signed(path.leaf, token):
                return Rejection("signature", Reason.BAD_SIGNATURE, f"under {path.signer}")
            # only now: else whoever has somebody's certificate, and not its key, would choose
            # which lists are fetched, and when
            step = "revocation"
            if self._revocation is not None:
                self._revocation.check(path, now)
        except tuple(kind for kind, _ in REASONS) as error:
            return Rejection(step, reason_of(error), error.message)
        return path

    def _covers(self, token: Passport, number: str, path: Path) -> bool:
        # what an SPC vouches for is the provider's attestation, or that it passed the call on: a
        # PASSporT without either needs a certificate for the number itself, or the table that
        # says whose it is
        if token.ppt == "shaken" or token.ppt in DIVERSIONS:
            return path.covers(number, self._policy.spc)
        return path.authorises(number, number, self._policy.spc)

    async def _chain(
        self, token: Passport, give_up_at: float, fetches: Fetches
    ) -> tuple[bytes, ...]:
        if not self._certificates.cached(token.x5u):
            if fetches.left < 1:
                raise CertificateUnavailable("this call has had its certificates fetched")
            fetches.left -= 1
        chain = await self._certificates.chain(token.x5u, give_up_at)
        return tuple(one.public_bytes(Encoding.DER) for one in chain)

    def _judged(
        self, candidate: Candidate, paths: tuple[Path, ...], numbers: Numbers, said: RichCallData
    ) -> Judged:
        original, outermost = candidate.original, candidate.passport
        reason = Reason.VERIFIED
        if original.ppt == "shaken" and original.attest not in self._policy.passed_attest:
            reason = {"B": Reason.ATTEST_B, "C": Reason.ATTEST_C}.get(
                original.attest, Reason.VERIFIED
            )
        dest = next((one for one in numbers.called if one in outermost.dest), "")
        diverted_by = ""
        if candidate.diverted is not None:
            last = candidate.diverted.diversions[-1]
            diverted_by = diverting_number(last, max_digits=numbers.max_digits)
        return Judged(
            reason,
            original.attest,
            original.orig,
            dest,
            paths[-1].signer,
            diverted_by=diverted_by,
            name=said.name,
            call_reason=said.reason,
            paths=paths,
        )


def _signers(token: Passport, chain: Sequence[bytes]) -> list[bytes]:
    """Those of ``chain`` whose key has signed ``token``; none where it cannot be read."""
    try:
        parsed = certificate.parse_chain(chain)
    except MalformedCertificate:
        return []
    return [one.public_bytes(Encoding.DER) for one in parsed if _has_signed(one, token)]


def _may_be_cut_off(looked: Path | Rejection) -> bool:
    """Whether a chain may lack what did not fit beside the PASSporT."""
    return isinstance(looked, Rejection) and looked.reason is Reason.CERTIFICATE_UNTRUSTED


def _is_left_out(looked: Path | Rejection, token: Passport, candidate: Candidate) -> bool:
    """Whether of several signers' certificates those of ``token``'s signer may not have fitted."""
    return (
        isinstance(looked, Rejection)
        and candidate.diverted is not None
        and not _signers(token, candidate.chain)
    )


def _has_signed(one: x509.Certificate, token: Passport) -> bool:
    try:
        key = one.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
    return isinstance(key, ec.EllipticCurvePublicKey) and passport.signature_holds(token, key)


def use_of(candidate: Candidate, judged: Judged) -> tuple[str, float]:
    """Under which key a PASSporT is used once, and until when that must be remembered.

    A diverted one is its original, used for the number that the call was sent on to: whoever passes
    calls on could make any number of PASSporTs around one original.
    """
    key = passport.used_key(candidate.original)
    hops = 0
    if candidate.diverted is not None:
        key = hashlib.sha256(key + judged.dest.encode()).digest()
        hops = diversion.MOST_DIVERSIONS
    seconds = passport.FRESHNESS_SECONDS * (1 + hops) + passport.FUTURE_TOLERANCE_SECONDS + 1
    return key.hex(), float(candidate.original.iat + seconds)
