"""PBXs that calls come in at and leave again, for the tests of gateways and forwarding.

One CPS and one directory for all; each PBX has a verification and an authentication service that
share what calls bring along.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace

from pbx_stir.services.authentication import AuthenticationService, Destination, NeverSigned
from pbx_stir.services.brought import BroughtCalls
from pbx_stir.services.call import Call, Direction, Outcome, Reason
from pbx_stir.services.judgement import Judge, VerificationPolicy
from pbx_stir.services.placement import Already
from pbx_stir.services.placement_service import Answer
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.services.trunk import Callers, Trunk
from pbx_stir.services.used import UsedPassports
from pbx_stir.services.verification import VerificationService
from pbx_stir.stir import passport, sealing
from pbx_stir.stir.certificate import Anchors
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberRules, NumberSet
from pbx_stir.stir.passport import Passport
from pbx_stir.stir.sealing import Opened
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.services.world import CPS, NOW, ROOT, FakeCertificates, FakePlacement, call

_ids = itertools.count(1)


@dataclass
class Directory:
    """Everybody's public keys, by number."""

    keys: dict[str, tuple[bytes, ...]] = field(default_factory=dict)

    async def destination(self, number: str, give_up_at: float) -> Destination:
        if number not in self.keys:
            return Destination(reason=Reason.NO_CPS)
        return Destination((CPS,), self.keys[number])

    def own_cps(self, number: str) -> tuple[str, ...]:
        return (CPS,)


class Placement(FakePlacement):
    """The one CPS; ``mute``: it answers no retrieval."""

    mute = False

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        async for answer in super().retrieve(wanted, give_up_at, wait_until):
            if not self.mute:
                yield answer
                continue
            yield Answer(answer.cps, answer.number, reason=Reason.CPS_UNAVAILABLE)


@dataclass
class Keyring:
    """Opens what is sealed to the numbers that it has keys for."""

    keys: dict[str, sealing.X25519PrivateKey] = field(default_factory=dict)

    async def open_sealed(
        self, number: str, blobs: Sequence[bytes], give_up_at: float
    ) -> OpenedSet:
        found: list[Opened] = []
        for blob in blobs if number in self.keys else ():
            opened = sealing.open_sealed(blob, self.keys[number], number)
            if opened is not None:
                found.append(opened)
        return OpenedSet(tuple(found))


class Exchange:
    """What all PBXs of a test have in common."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.placement = Placement()
        self.certificates = FakeCertificates()


class Pbx:
    """A PBX with numbers of its own; ``in_band`` is a SIP trunk, ``carrier`` carries numbers."""

    def __init__(
        self,
        exchange: Exchange,
        numbers: Sequence[str],
        *credentials: Credential,
        holds: Sequence[str] | None = None,
    ) -> None:
        self.exchange = exchange
        self.keyring = Keyring()
        for number in numbers if holds is None else holds:
            key = sealing.new_private_key()
            self.keyring.keys[number] = key
            exchange.directory.keys[number] = (sealing.public_octets(key),)
        rules = NumberRules(country_code="1")
        own = NumberSet.parse(numbers)
        trunks = {
            "carrier": Trunk("carrier", rules, own),
            "sip": Trunk("sip", rules, own, in_band=True),
        }
        self.callers = Callers(trunks)
        self.brought = BroughtCalls()
        self.used = UsedPassports()
        ids = (f"00000000-0000-4000-8000-{number:012d}" for number in itertools.count())
        self.authentication = AuthenticationService(
            callers=self.callers,
            credentials=credentials,
            directory=exchange.directory,
            placement=exchange.placement,
            never=NeverSigned(),
            new_uuid=lambda: next(ids),
            brought=self.brought,
            already=Already(self, exchange.placement, self.keyring, lambda: 0.0),
        )
        policy = VerificationPolicy(lambda: Anchors.of([ROOT]))
        self.verification = VerificationService(
            callers=self.callers,
            own_cps=exchange.directory,
            placement=exchange.placement,
            opener=self.keyring,
            judge=Judge(policy, exchange.certificates),
            used=self.used,
            monotonic=lambda: 0.0,
            brought=self.brought,
        )

    def own_cps(self, number: str) -> tuple[str, ...]:
        """Where others store for the numbers that this PBX has keys for."""
        return (CPS,) if number in self.keyring.keys else ()

    async def comes_in(self, now: float = NOW, **changes: object) -> tuple[Call, Outcome]:
        """A call comes in; the call, to leave again, and its verdict."""
        number = next(_ids)
        ids = {"unique_id": f"{number}.1", "linked_id": f"{number}.1", "nonce": f"n{number}"}
        one = call(
            Direction.INBOUND, **({"came_in": changes.get("trunk", "carrier")} | ids | changes)
        )
        return one, await self.verification.verify(one, f"id{number}", now, 10.0)

    async def leaves(self, one: Call, dest: str, now: float = NOW, **changes: object) -> Outcome:
        """A leg of a call that came in leaves by a trunk, the usual one that carries numbers."""
        fields: dict[str, object] = {
            "direction": Direction.OUTBOUND,
            "dest": dest,
            "trunk": "carrier",
            "identity": (),
        }
        # the mark that the call got when it came in, inherited by its legs
        fields["came_in_id"] = one.unique_id
        leg = replace(one, **(fields | changes))  # type: ignore[arg-type]
        return await self.authentication.authenticate(leg, now, 10.0)

    async def calls(
        self, orig: str, dest: str, now: float = NOW, trunk: str = "carrier"
    ) -> Outcome:
        """A phone of this PBX calls."""
        one = call(Direction.OUTBOUND, orig=orig, dest=dest, trunk=trunk)
        return await self.authentication.authenticate(one, now, 10.0)

    def opened(self, number: str) -> list[tuple[Passport, tuple[bytes, ...]]]:
        """What is stored for ``number`` and opens with our key: PASSporTs and certificates."""
        found = []
        for blob in self.exchange.placement.held.get(number, []):
            opened = sealing.open_sealed(blob, self.keyring.keys[number], number)
            if opened is not None:
                found.append((passport.parse(opened.passport), opened.chain))
        return found


def one_number(number: str) -> TnAuthList:
    """The list of a certificate for one number."""
    return TnAuthList(numbers=(number,))
