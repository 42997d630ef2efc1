"""What it takes to sign and to verify one token, with the chain in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pbx_stir.certificates import anchors
from pbx_stir.services.candidates import Candidate, Numbers
from pbx_stir.services.judgement import Fetches, Judge, VerificationPolicy
from pbx_stir.stir import certificate, passport

X5U = "https://certificates.example.com/company.pem"


class _Cached:
    """A certificate source that has all it is asked for."""

    def __init__(self, chain: tuple[x509.Certificate, ...]) -> None:
        self._chain = chain

    def cached(self, x5u: str) -> bool:
        """Always."""
        return True

    async def chain(self, x5u: str, give_up_at: float) -> tuple[x509.Certificate, ...]:
        """The chain, as a cache gives it."""
        return self._chain


@dataclass(slots=True)
class Bench:
    """A key to sign with, and a judge that trusts its authority."""

    key: ec.EllipticCurvePrivateKey
    judge: Judge

    @classmethod
    def of(cls, folder: Path) -> Bench:
        """Read ``company.key``, ``company.pem`` and ``anchor.pem``."""
        key = load_pem_private_key((folder / "company.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        chain = certificate.parse_pem_chain((folder / "company.pem").read_bytes())
        trusted = anchors.load([str(folder / "anchor.pem")])
        return cls(key, Judge(VerificationPolicy(lambda: trusted), _Cached(chain)))

    async def check(self, header: str, orig: str, dest: str) -> str:
        """Judge one Identity header for one call: the word that the call would show."""
        candidate = Candidate(passport.parse_identity(header), (), in_band=True)
        numbers = Numbers((orig,), (dest,))
        give_up_at = time.monotonic() + 1
        looked = await self.judge.judge(candidate, numbers, time.time(), give_up_at, Fetches())
        return looked.reason.value
