"""Family 11: a chain from the cache is judged as a fetched one is, every time."""

from __future__ import annotations

from pbx_stir.certificates.cache import SHORTEST_SECONDS, STALE_SECONDS, CertificateCache
from pbx_stir.certificates.fetch import Fetched
from pbx_stir.errors import CertificateRevoked, CertificateUnavailable, PbxStirError
from pbx_stir.services.call import Reason, Rejection
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.services.judgement import Fetches, Judge, Judged, VerificationPolicy
from pbx_stir.stir import passport
from pbx_stir.stir.certificate import Anchors, Path
from pbx_stir.stir.x5u import CheckedUrl, EgressRule, check_url
from tests.families.hostile import ALICE, BOB, FORGE, NOW, X5U, token
from tests.stir.conftest import Issued

OTHER = "https://other.example.com/alice.pem"


class Web:
    """URLs and what they answer; counts."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.error: PbxStirError | None = None

    def check(self, url: str) -> CheckedUrl:
        """As the fetcher does."""
        return check_url(url, EgressRule())

    async def fetch(self, url: str) -> Fetched:
        """Answer, kept as briefly as can be."""
        self.asked.append(url)
        if self.error is not None:
            raise self.error
        return Fetched(self.bodies[url], 0.0)


class Revocation:
    """Says what it is told."""

    def __init__(self) -> None:
        self.revoked: set[int] = set()

    def check(self, path: Path, now: float) -> None:
        """As the watch does."""
        if path.leaf.serial_number in self.revoked:
            raise CertificateRevoked("revoked")


class Bench:
    """A judge with a cache before a web."""

    def __init__(self) -> None:
        self.web, self.revocation = Web(), Revocation()
        self.clock = 1_000.0
        self.root = FORGE.root()
        self.ca = FORGE.ca(self.root)
        self.alice = FORGE.leaf(self.ca, not_after=NOW + 30)
        self.serve(self.alice, self.ca)
        self.anchors = Anchors.of([self.root.cert])
        self.cache = CertificateCache(self.web, clock=lambda: self.clock)
        policy = VerificationPolicy(lambda: self.anchors)
        self.judge = Judge(policy, self.cache, self.revocation)

    def serve(self, *certificates: Issued, url: str = X5U) -> None:
        """Have a URL answer so."""
        self.web.bodies[url] = b"".join(one.pem for one in certificates)

    async def __call__(self, at: float = NOW, x5u: str = X5U, key: object = None) -> Reason:
        """The reason of a token of Alice's."""
        made = token(
            key or self.alice.key,  # type: ignore[arg-type]
            header={"x5u": x5u},
            claims={"iat": int(at)},
        )
        candidate = Candidate(passport.parse(made), (), in_band=True)
        numbers = Numbers((ALICE,), (BOB,))
        found = await self.judge.judge(candidate, numbers, at, self.clock + 5, Fetches())
        assert isinstance(found, Judged | Rejection)
        return found.reason


async def test_family_11_cache_hit_is_as_the_miss() -> None:
    """The whole chain is kept, intermediates among it."""
    bench = Bench()
    assert [await bench() for _ in range(3)] == [Reason.VERIFIED] * 3
    assert bench.web.asked == [X5U]


async def test_family_11_cache_hit_of_what_was_refused() -> None:
    """What did not do does not do from memory."""
    bench = Bench()
    bench.serve(bench.alice)
    assert [await bench() for _ in range(2)] == [Reason.CERTIFICATE_UNTRUSTED] * 2
    assert bench.web.asked == [X5U]
    bench.serve(url=OTHER)
    assert [await bench(x5u=OTHER) for _ in range(2)] == [Reason.CERTIFICATE_UNTRUSTED] * 2
    assert await bench(key=FORGE.key()) is Reason.CERTIFICATE_UNTRUSTED


async def test_family_11_cache_then_expired() -> None:
    """The leaf expires while it is in memory, a path that was found among it."""
    bench = Bench()
    assert await bench(NOW) is Reason.VERIFIED
    assert await bench(NOW + 30) is Reason.VERIFIED
    assert await bench(NOW + 31) is Reason.CERTIFICATE_EXPIRED
    assert await bench(NOW + 29) is Reason.VERIFIED
    assert bench.web.asked == [X5U]


async def test_family_11_cache_then_revoked() -> None:
    """Revocation is asked for each call."""
    bench = Bench()
    assert await bench() is Reason.VERIFIED
    bench.revocation.revoked.add(bench.alice.cert.serial_number)
    assert await bench() is Reason.REVOKED
    bench.revocation.revoked.clear()
    assert await bench() is Reason.VERIFIED


async def test_family_11_cache_then_trusted_no_more() -> None:
    """Anchors that were taken away count at once, for what is in memory too."""
    bench = Bench()
    assert await bench() is Reason.VERIFIED
    bench.anchors = Anchors.of([FORGE.root().cert])
    assert await bench() is Reason.CERTIFICATE_UNTRUSTED
    bench.anchors = Anchors.of([bench.root.cert, FORGE.root("Other").cert])
    assert await bench() is Reason.VERIFIED


async def test_family_11_cache_while_the_server_fails() -> None:
    """The old chain serves for a while, then there is none; a failure is remembered briefly."""
    bench = Bench()
    assert await bench() is Reason.VERIFIED
    bench.web.error = CertificateUnavailable("down")
    bench.clock += SHORTEST_SECONDS + 1
    assert await bench() is Reason.VERIFIED
    bench.clock += STALE_SECONDS
    assert await bench() is Reason.CERTIFICATE_UNAVAILABLE
    asked = len(bench.web.asked)
    assert await bench() is Reason.CERTIFICATE_UNAVAILABLE
    assert len(bench.web.asked) == asked


async def test_family_11_cache_of_two_urls_with_one_leaf() -> None:
    """Each URL has its own entry: a chain that lacks something there is not mended from here."""
    bench = Bench()
    bench.serve(bench.alice, url=OTHER)
    assert await bench(x5u=X5U) is Reason.VERIFIED
    assert await bench(x5u=OTHER) is Reason.CERTIFICATE_UNTRUSTED
    assert await bench(x5u=X5U) is Reason.VERIFIED
    bench.serve(bench.alice, bench.ca, url=OTHER)
    bench.clock += SHORTEST_SECONDS + STALE_SECONDS + 1
    assert await bench(x5u=OTHER) is Reason.VERIFIED


async def test_family_11_cache_of_another_key() -> None:
    """A hit never vouches for who signed: the signature is checked each time."""
    bench = Bench()
    assert await bench() is Reason.VERIFIED
    assert await bench(key=FORGE.key()) is Reason.BAD_SIGNATURE
    assert await bench() is Reason.VERIFIED
