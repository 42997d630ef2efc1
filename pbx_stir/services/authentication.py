"""The authentication service: RFC 8816 section 8.1.

Takes an outbound Call, gives an Outcome with a Status. Awaits a Directory and a CallPlacement that
it is given; knows no PBX, no HTTP and no clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pbx_stir.errors import MalformedNumber, TooLarge
from pbx_stir.services.call import Call, Outcome, Reason, Rejection, Status
from pbx_stir.services.placement_service import BarePlacement, CallPlacement, StoreResult
from pbx_stir.services.trunk import Callers, Trunk
from pbx_stir.stir import number, passport, sealing
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.number import NumberSet


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a number's CPSs are and which keys it has: raw X25519 public keys, 32 octets each.

    ``reason`` is None, or why there are none: NO_CPS, NO_KEY, BAD_RECORD or CPS_UNAVAILABLE.
    ``sealed`` is False only where the configuration says that PASSporTs go there as they are; then
    there are no keys.
    """

    cps: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()
    reason: Reason | None = None
    detail: str = ""
    sealed: bool = True

    def __post_init__(self) -> None:
        if not self.sealed and self.keys:
            raise ValueError("what is sealed to a key is not stored as it is")


class Directory(Protocol):
    """Finds the CPSs and keys of a number (RFC 8816 section 10)."""

    async def destination(self, number: str, give_up_at: float) -> Destination:
        """Answer by ``give_up_at`` (time.monotonic()); never raises."""
        ...


@dataclass(frozen=True, slots=True)
class NeverSigned:
    """Numbers that are neither signed nor looked up, as dialled or canonical."""

    emergency: frozenset[str] = number.DEFAULT_EMERGENCY
    excluded: NumberSet = field(default_factory=NumberSet)


class _Unsigned(Exception):
    """Ends the steps: the call goes on unsigned, for this reason."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail


# what a call that was not stored says, by how bad it is: errors are ours or the CPS's to mend
_SKIPPED = frozenset(
    {
        Reason.ANONYMOUS_CALLER,
        Reason.INVALID_NUMBER,
        Reason.NOT_AUTHORITATIVE,
        Reason.CALLER_NOT_ALLOWED,
        Reason.NO_CPS,
        Reason.NO_KEY,
        Reason.EXCLUDED,
        Reason.EMERGENCY,
        Reason.DISABLED,
    }
)


class AuthenticationService:
    """Signs, seals and stores (RFC 8816 section 8.1)."""

    def __init__(
        self,
        *,
        callers: Callers,
        credentials: Sequence[Credential],
        directory: Directory,
        placement: CallPlacement,
        never: NeverSigned,
        new_uuid: Callable[[], str],
        bare: BarePlacement | None = None,
    ) -> None:
        """``new_uuid`` gives a fresh UUID in text form for each PASSporT's origid or jti; ``bare``
        stores unsealed ones, None nowhere."""
        self._callers = callers
        self._credentials = credentials
        self._directory = directory
        self._placement = placement
        self._never = never
        self._new_uuid = new_uuid
        self._bare = bare

    async def authenticate(self, call: Call, now: float, give_up_at: float) -> Outcome:
        """Carry out the steps of RFC 8816 section 8.1 for ``call``; returns by ``give_up_at``."""
        orig = dest = attest = ""
        try:
            trunk = self._trunk(call)
            dest = self._dest(call, trunk)
            orig = self._orig(call, trunk)
            # 1: "The AS MUST ensure that the certificate (...) covers the originating number"
            credential = self._credential(trunk, orig, now)
            # 2: and that the caller is authorised to claim it
            self._check_caller(call, trunk, orig)
            # 3: discover the CPSs and every key of the called number
            destination = await self._directory.destination(dest, give_up_at)
            if destination.reason is not None:
                raise _Unsigned(destination.reason, destination.detail)
            # 4: sign, encrypt one copy a key, and store at each CPS before the call is placed
            token = self._sign(credential, trunk, orig, dest, now)
            attest = token.attest
            results = await self._store(token.token, credential, destination, dest, give_up_at)
        except _Unsigned as why:
            status = Status.SKIPPED if why.reason in _SKIPPED else Status.ERROR
            return Outcome(why.reason, status, orig=orig, dest=dest, detail=why.detail)
        return _stored(results, orig, dest, attest, credential)

    def _trunk(self, call: Call) -> Trunk:
        trunk = self._callers.trunks.get(call.trunk)
        if trunk is None:
            raise _Unsigned(Reason.NOT_AUTHORITATIVE, f"no trunk {call.trunk!r} is configured")
        return trunk

    def _dest(self, call: Call, trunk: Trunk) -> str:
        if number.is_emergency(call.dest, self._never.emergency):
            raise _Unsigned(Reason.EMERGENCY)
        try:
            dest = number.outbound(call.dest, trunk.rules)
        except MalformedNumber as error:
            raise _Unsigned(Reason.INVALID_NUMBER, str(error)) from error
        if dest in self._never.excluded:
            raise _Unsigned(Reason.EXCLUDED)
        return dest

    def _orig(self, call: Call, trunk: Trunk) -> str:
        # a caller who hides his number from the called party must not be named to its CPS either
        if call.restricted or (number.is_anonymous(call.orig) and not trunk.presents):
            raise _Unsigned(Reason.ANONYMOUS_CALLER)
        if trunk.presents:
            return trunk.presents
        try:
            return number.outbound(call.orig, trunk.rules)
        except MalformedNumber as error:
            raise _Unsigned(Reason.INVALID_NUMBER, str(error)) from error

    def _credential(self, trunk: Trunk, orig: str, now: float) -> Credential:
        expired = False
        for credential in self._credentials:
            # an SPC names a provider, not numbers: it signs for those that the trunk is given
            by_number = credential.tn_auth_list.has_numbers
            if not (credential.covers(orig) if by_number else orig in trunk.numbers):
                continue
            if credential.valid_at(now):
                return credential
            expired = True
        if expired:
            raise _Unsigned(Reason.CREDENTIAL_EXPIRED)
        raise _Unsigned(Reason.NOT_AUTHORITATIVE, "no credential covers the caller ID")

    def _check_caller(self, call: Call, trunk: Trunk, orig: str) -> None:
        # a stranger who calls a forwarding extension with our own number as caller ID would
        # otherwise leave with our signature under it
        if call.came_in:
            detail = f"the call came in by trunk {call.came_in!r}"
            raise _Unsigned(Reason.CALLER_NOT_ALLOWED, detail)
        if not self._callers.may_claim(call.originator, trunk, orig):
            raise _Unsigned(Reason.CALLER_NOT_ALLOWED, "not one of the originator's numbers")

    def _sign(
        self, credential: Credential, trunk: Trunk, orig: str, dest: str, now: float
    ) -> passport.Passport:
        shaken = credential.ppt == "shaken"
        fresh = self._new_uuid()
        return passport.sign(
            orig=orig,
            dest=[dest],
            iat=int(now),
            x5u=credential.x5u,
            key=credential.key,
            attest=trunk.attest if shaken else "",
            origid=fresh if shaken else "",
            jti="" if shaken else fresh,
        )

    async def _store(
        self,
        token: str,
        credential: Credential,
        destination: Destination,
        dest: str,
        give_up_at: float,
    ) -> Sequence[StoreResult]:
        """Sealed to each key; as it is only where the configuration says so (RFC 9888 section 5).

        A missing key never leads to the second.
        """
        if destination.sealed:
            blobs = self._seal(token, credential, destination.keys, dest)
            return await self._placement.store(destination.cps, dest, blobs, give_up_at)
        if self._bare is None:
            raise _Unsigned(Reason.NO_KEY, "nothing is stored unsealed here")
        return await self._bare.store_bare(destination.cps, dest, token, give_up_at)

    def _seal(
        self, token: str, credential: Credential, keys: Sequence[bytes], dest: str
    ) -> list[bytes]:
        try:
            return [sealing.seal(token, credential.chain, key, dest) for key in keys]
        except TooLarge as error:
            raise _Unsigned(Reason.TOO_LARGE, str(error)) from error


def _stored(
    results: Sequence[StoreResult], orig: str, dest: str, attest: str, credential: Credential
) -> Outcome:
    """One CPS that took every copy is enough: the called party asks all of its CPSs."""
    failures = [result for result in results if result.reason is not Reason.STORED]
    rejections = tuple(Rejection(result.cps, result.reason, result.detail) for result in failures)
    if len(failures) < len(results):
        reason, status = Reason.STORED, Status.STORED
    else:
        reason = failures[0].reason if failures else Reason.NO_CPS
        status = Status.ERROR
    return Outcome(
        reason,
        status,
        attest=attest if status is Status.STORED else "",
        orig=orig,
        dest=dest,
        signer=credential.signer if status is Status.STORED else "",
        rejections=rejections,
    )
