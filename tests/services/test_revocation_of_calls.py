"""A revoked certificate signs no call, from the moment that it is known."""

from __future__ import annotations

from pbx_stir.certificates import issuing
from pbx_stir.errors import CertificateRevoked, CertificateUnavailable, PbxStirError
from pbx_stir.services.call import Reason, Rejection
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.services.judgement import Fetches, Judge, Judged, VerificationPolicy
from pbx_stir.services.steps import is_failure
from pbx_stir.stir.certificate import Path
from tests.services.world import ALICE, BOB, NOW, World


class Known:
    """Raises what it is told to, and counts."""

    def __init__(self) -> None:
        self.error: PbxStirError | None = None
        self.asked: list[tuple[str, float]] = []

    def check(self, path: Path, now: float) -> None:
        """As certificates.revocation.RevocationWatch."""
        self.asked.append((path.signer, now))
        if self.error is not None:
            raise self.error


class Court:
    """A judge of Bob's with what it knows of revocation."""

    def __init__(self) -> None:
        self.world = World()
        self.known = Known()
        policy = VerificationPolicy(lambda: self.world.anchors)
        self.judge = Judge(policy, self.world.certificates, self.known)

    async def __call__(self, **changes: object) -> Judged | Rejection:
        """Judge a token of Alice's to Bob."""
        token = self.world.token(**changes)  # type: ignore[arg-type]
        candidate = Candidate(token, self.world.company.chain, in_band=True)
        numbers = Numbers((ALICE,), (BOB,))
        return await self.judge.judge(candidate, numbers, NOW, 10.0, Fetches())


async def test_family_11_a_known_path_that_is_revoked_later() -> None:
    """Whatever is remembered of a path, whether it is revoked is asked for every call."""
    court = Court()
    assert isinstance(await court(), Judged)
    court.known.error = CertificateRevoked("'Company A' is revoked")
    assert await court() == Rejection("revocation", Reason.REVOKED, "'Company A' is revoked")
    court.known.error = None
    assert isinstance(await court(), Judged)
    assert court.known.asked == [("Company A", NOW)] * 3


async def test_family_16_revoked_is_a_failure_and_unknown_is_none() -> None:
    """An Identity header by a revoked certificate fails; one of which nothing is known does not."""
    court = Court()
    for error, reason, fails in (
        (CertificateRevoked("gone"), Reason.REVOKED, True),
        (CertificateUnavailable("unknown"), Reason.CERTIFICATE_UNAVAILABLE, False),
    ):
        court.known.error = error
        rejection = await court()
        assert isinstance(rejection, Rejection)
        assert (rejection.reason, is_failure(rejection)) == (reason, fails)


async def test_who_has_not_the_key_has_nothing_asked() -> None:
    """A stranger with somebody's certificate does not choose which lists are fetched, and when."""
    court = Court()
    rejection = await court(key=issuing.new_key())
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.BAD_SIGNATURE
    assert court.known.asked == []
