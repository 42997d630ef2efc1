"""A lab authority, and companies with credentials from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from cryptography.hazmat.primitives import serialization

from pbx_stir.certificates import issuing
from pbx_stir.directory.resolver import Resolver
from pbx_stir.directory.routes import Route, Routes, Served
from pbx_stir.stir import credential, sealing
from pbx_stir.stir.certificate import Anchors, SpcPolicy
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.record import EncryptionKey, Record, sign_record
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.directory.resolving import ONE, TWO, Clock, Cps, Make

NOW = 1_750_000_000.0
NUMBER = "12125551234"


class Lab:
    """One authority at ``now``."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.root, self._key = issuing.new_root("Lab Root", now, 30)
        self.anchors = Anchors.of([self.root])

    def credential(
        self,
        name: str = "Alice",
        *,
        ranges: tuple[tuple[str, int], ...] = (("12125551200", 100),),
        spcs: tuple[str, ...] = (),
        days: float = 7,
    ) -> Credential:
        """Certify somebody."""
        key = issuing.new_key()
        listed = TnAuthList(spcs=spcs, ranges=() if spcs else ranges)
        leaf = issuing.issue_leaf(
            self.root, self._key, key.public_key(), name, listed, self.now, days
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return credential.load(
            leaf.public_bytes(serialization.Encoding.PEM),
            pem,
            x5u="https://cert.example.com/a.pem",
        )

    def record(
        self,
        signer: Credential,
        *keys: bytes,
        serial: int = 1,
        numbers: tuple[str, ...] = ("12125551200-12125551299",),
        cps: tuple[str, ...] = ("https://cps.example.net",),
        seconds: int = 86_400,
        at: float | None = None,
    ) -> str:
        """Sign a record; without keys it is a tombstone."""
        iat = int(self.now if at is None else at)
        record = Record(
            numbers=numbers,
            cps=cps,
            keys=tuple(EncryptionKey(key) for key in keys),
            serial=serial,
            iat=iat,
            exp=iat + seconds,
            revoked=not keys,
        )
        return sign_record(record, signer)


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The authority."""
    return Lab()


@pytest.fixture(scope="session")
def alice(lab: Lab) -> Credential:
    """A company with a hundred numbers."""
    return lab.credential()


@pytest.fixture
def new_key() -> Callable[[], bytes]:
    """Draws public keys."""
    return lambda: sealing.public_octets(sealing.new_private_key())


@pytest.fixture
def clock() -> Clock:
    """The clocks."""
    return Clock()


@pytest.fixture
def cps(clock: Clock) -> Cps:
    """The CPSs."""
    made = Cps()
    made.clock = clock
    return made


@pytest.fixture
def make(lab: Lab, clock: Clock, cps: Cps) -> Make:
    """Makes resolvers with these routes; random times are the latest possible."""

    def make(*routes: Route, served: Sequence[Served] = (), records: Cps = cps) -> Resolver:
        return Resolver(
            routes=Routes(routes or [Route("1212", (ONE, TWO))], served),
            records=records,
            anchors=lambda: lab.anchors,
            spc_policy=SpcPolicy(),
            epoch=clock.epoch,
            monotonic=clock.monotonic,
            draw=lambda low, high: high,
        )

    return make
