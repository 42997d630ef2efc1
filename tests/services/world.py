"""A small world for the services: an authority, a company that signs, and fakes of what they await.

Nothing here touches a network; time is a number that the tests choose.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pbx_stir.certificates import issuing
from pbx_stir.errors import CertificateUnavailable
from pbx_stir.services.authentication import Destination
from pbx_stir.services.call import Call, Direction, Mode, Reason
from pbx_stir.services.judgement import Judge, VerificationPolicy
from pbx_stir.services.placement_service import Answer, StoreResult
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.services.trunk import Callers, Trunk
from pbx_stir.services.used import UsedPassports
from pbx_stir.services.verification import VerificationService
from pbx_stir.stir import credential, passport, sealing
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberRules, NumberSet
from pbx_stir.stir.tnauthlist import TnAuthList

NOW = 1_800_000_000.0
CPS = "https://cps.example.net"
X5U = "https://certificates.example.com/a.pem"
ALICE = "12125551234"
BOB = "13105552000"

ROOT, ROOT_KEY = issuing.new_root("Root", NOW - 1000, 100)
OTHER_ROOT, OTHER_ROOT_KEY = issuing.new_root("Root", NOW - 1000, 100)
SPC = TnAuthList(spcs=("1234",))
RANGE = TnAuthList(ranges=(("12125551200", 100),))


def credential_for(
    tn_auth_list: TnAuthList = RANGE,
    *,
    now: float = NOW,
    days: float = 10,
    issuer: tuple[x509.Certificate, issuing.ec.EllipticCurvePrivateKey] = (ROOT, ROOT_KEY),
    ppt: str | None = None,
) -> Credential:
    """A credential with a fresh key."""
    key = issuing.new_key()
    leaf = issuing.issue_leaf(*issuer, key.public_key(), "Company A", tn_auth_list, now, days)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return credential.load(leaf.public_bytes(Encoding.PEM), pem, x5u=X5U, ppt=ppt)


def call(direction: Direction = Direction.INBOUND, **changes: object) -> Call:
    """A call from Alice to Bob."""
    one = Call(
        pbx="pbx",
        direction=direction,
        mode=Mode.ON,
        trunk="carrier",
        orig=ALICE,
        restricted=False,
        dest=BOB,
        originator=("PJSIP/alice",),
        came_in="",
        unique_id="1.1",
        linked_id="1.1",
        nonce="n1",
        budget_ms=2000,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


TRUNK = Trunk(
    "carrier",
    NumberRules(country_code="1"),
    NumberSet.parse(["12125551200-12125551299", "13105552000-13105552099"]),
)
CALLERS = Callers({"carrier": TRUNK})


@dataclass
class FakePlacement:
    """A CPS in a dict; ``down`` are the URLs that do not answer."""

    held: dict[str, list[bytes]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    clock_offset: float | None = None
    stored: list[tuple[str, str, bytes]] = field(default_factory=list)

    async def store(
        self, cps: Sequence[str], number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> Sequence[StoreResult]:
        results = []
        for one in cps:
            if one in self.down:
                results.append(StoreResult(one, Reason.CPS_UNAVAILABLE, "down"))
                continue
            self.held.setdefault(number, []).extend(blobs)
            self.stored += [(one, number, blob) for blob in blobs]
            results.append(StoreResult(one, Reason.STORED))
        return results

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        for cps, number in wanted:
            if cps in self.down:
                yield Answer(cps, number, reason=Reason.CPS_UNAVAILABLE, detail="down")
                continue
            blobs = tuple(self.held.get(number, []))
            yield Answer(cps, number, blobs, clock_offset=self.clock_offset)


@dataclass
class FakeDirectory:
    """Everybody's keys and CPSs, as given."""

    keys: tuple[bytes, ...]
    cps: tuple[str, ...] = (CPS,)
    reason: Reason | None = None

    async def destination(self, number: str, give_up_at: float) -> Destination:
        if self.reason is not None:
            return Destination(reason=self.reason)
        return Destination(self.cps, self.keys)

    def own_cps(self, number: str) -> tuple[str, ...]:
        return self.cps


@dataclass
class FakeOpener:
    """Opens with one key, at once."""

    key: sealing.X25519PrivateKey

    async def open_sealed(
        self, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> OpenedSet:
        opened = [sealing.open_sealed(blob, self.key, number) for blob in blobs]
        return OpenedSet(tuple(one for one in opened if one is not None))


@dataclass
class FakeCertificates:
    """x5u URLs and the chains behind them; remembers what was asked for."""

    chains: dict[str, tuple[x509.Certificate, ...]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def cached(self, x5u: str) -> bool:
        return x5u in self.chains and x5u in self.asked

    async def chain(self, x5u: str, give_up_at: float) -> tuple[x509.Certificate, ...]:
        self.asked.append(x5u)
        if x5u not in self.chains:
            raise CertificateUnavailable(f"no {x5u}")
        return self.chains[x5u]


class World:
    """Bob's verification service, and what stands around it."""

    def __init__(
        self,
        *,
        passed_attest: frozenset[str] = frozenset({"A"}),
        spc: SpcPolicy | None = None,
    ) -> None:
        self.key = sealing.new_private_key()
        self.public = sealing.public_octets(self.key)
        self.placement = FakePlacement()
        self.directory = FakeDirectory((self.public,))
        self.certificates = FakeCertificates()
        self.used = UsedPassports()
        self.monotonic = 0.0
        self.anchors = Anchors.of([ROOT])
        self.company = credential_for()
        policy = VerificationPolicy(
            lambda: self.anchors, spc or SpcPolicy(), passed_attest=passed_attest
        )
        self.service = VerificationService(
            callers=CALLERS,
            own_cps=self.directory,
            placement=self.placement,
            opener=FakeOpener(self.key),
            judge=Judge(policy, self.certificates),
            used=self.used,
            monotonic=lambda: self.monotonic,
        )

    def token(self, company: Credential | None = None, **changes: object) -> passport.Passport:
        """A PASSporT from Alice to Bob, now."""
        company = company or self.company
        fields: dict[str, object] = {
            "orig": ALICE,
            "dest": [BOB],
            "iat": int(NOW),
            "x5u": company.x5u,
            "key": company.key,
            "jti": "j",
        }
        return passport.sign(**(fields | changes))  # type: ignore[arg-type]

    def put(
        self,
        token: passport.Passport | str,
        company: Credential | None = None,
        *,
        number: str = BOB,
        chain: Sequence[bytes] | None = None,
    ) -> None:
        """Store it for Bob, sealed to his key, with the company's certificates inside."""
        text = token if isinstance(token, str) else token.token
        inside = (company or self.company).chain if chain is None else chain
        blob = sealing.seal(text, inside, self.public, number)
        self.placement.held.setdefault(number, []).append(blob)
