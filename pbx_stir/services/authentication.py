"""The authentication service: RFC 8816 section 8.1.

Takes an outbound Call, gives an Outcome with a Status. Awaits a Directory and a CallPlacement that
it is given; knows no PBX, no HTTP and no clock of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pbx_stir.errors import MalformedNumber, MalformedPassport, TooLarge
from pbx_stir.services import forwarding, placement, treatment
from pbx_stir.services.brought import BroughtCalls
from pbx_stir.services.call import Asked, Call, Mode, Outcome, Reason, Rejection, Status
from pbx_stir.services.outside import Outside
from pbx_stir.services.parcel import Parcel, Unsigned
from pbx_stir.services.placement_service import BarePlacement, CallPlacement, StoreResult
from pbx_stir.services.trunk import Callers, Shown, Trunk
from pbx_stir.stir import number, passport, rich_call_data, sealing
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


# what a call that was not stored says, by how bad it is: errors are ours or the CPS's to mend
_SKIPPED = frozenset(
    {
        Reason.ANONYMOUS_CALLER,
        Reason.INVALID_NUMBER,
        Reason.NOT_AUTHORITATIVE,
        Reason.CALLER_NOT_ALLOWED,
        Reason.STALE,
        Reason.BROKEN_DIVERSION,
        Reason.NO_CPS,
        Reason.NO_KEY,
        Reason.EXCLUDED,
        Reason.EMERGENCY,
        Reason.DISABLED,
    }
)


@dataclass(frozen=True, slots=True)
class _Making:
    """A parcel that may be made.

    ``in_band``: the call itself carries it too. ``stores`` is False where nothing is for a CPS.
    """

    parcel: Callable[[], Parcel]
    in_band: bool
    stores: bool = True


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
        brought: BroughtCalls | None = None,
        already: placement.Already | None = None,
        outside: Outside | None = None,
    ) -> None:
        """``new_uuid`` gives a fresh UUID in text form for each PASSporT's origid or jti; ``bare``
        stores unsealed ones, None nowhere; ``brought`` knows what calls that came in have brought
        along, None: they all leave unsigned. ``already`` knows what need not be placed again,
        ``outside`` from which endpoints calls have come in."""
        self._callers = callers
        self._credentials = credentials
        self._directory = directory
        self._placement = placement
        self._never = never
        self._new_uuid = new_uuid
        self._bare = bare
        self._brought = BroughtCalls() if brought is None else brought
        self._already = already
        self._outside = Outside() if outside is None else outside

    async def authenticate(self, call: Call, now: float, give_up_at: float) -> Outcome:
        """Carry out the steps of RFC 8816 section 8.1 for ``call``; returns by ``give_up_at``."""
        orig = dest = ""
        try:
            trunk = self._trunk(call)
            dest = self._dest(call, trunk)
            orig = self._orig(call, trunk)
            # 1: "The AS MUST ensure that the certificate (...) covers the originating number"
            # 2: and that the caller is authorised to claim it
            make = self._entitled(call, trunk, orig, dest, now)
            # 3: discover the CPSs and every key of the called number
            destination = await self._destination(make, dest, give_up_at)
            # 4: sign, encrypt one copy a key, and store at each CPS before the call is placed
            parcel = make.parcel()
            if parcel.reason is Reason.PASSED_ON and self._already is not None:
                parcel = await self._already.without(parcel, dest, give_up_at)
            headers = _headers(parcel) if make.in_band else ()
            results = await self._store(make, parcel, destination, dest, give_up_at)
        except Unsigned as why:
            status = Status.SKIPPED if why.reason in _SKIPPED else Status.ERROR
            return Outcome(why.reason, status, orig=orig, dest=dest, detail=why.detail)
        return _sent(parcel, results, headers, orig, dest)

    def _trunk(self, call: Call) -> Trunk:
        trunk = self._callers.trunks.get(call.trunk)
        if trunk is None:
            raise Unsigned(Reason.NOT_AUTHORITATIVE, f"no trunk {call.trunk!r} is configured")
        return trunk

    def _dest(self, call: Call, trunk: Trunk) -> str:
        if number.is_emergency(call.dest, self._never.emergency):
            raise Unsigned(Reason.EMERGENCY)
        try:
            dest = number.outbound(call.dest, trunk.rules)
        except MalformedNumber as error:
            raise Unsigned(Reason.INVALID_NUMBER, str(error)) from error
        if dest in self._never.excluded:
            raise Unsigned(Reason.EXCLUDED)
        return dest

    def _orig(self, call: Call, trunk: Trunk) -> str:
        # a caller who hides his number from the called party must not be named to its CPS either
        if call.restricted or (number.is_anonymous(call.orig) and not trunk.presents):
            raise Unsigned(Reason.ANONYMOUS_CALLER)
        if trunk.presents:
            return trunk.presents
        try:
            return number.outbound(call.orig, trunk.rules)
        except MalformedNumber as error:
            raise Unsigned(Reason.INVALID_NUMBER, str(error)) from error

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
            raise Unsigned(Reason.CREDENTIAL_EXPIRED)
        raise Unsigned(Reason.NOT_AUTHORITATIVE, f"no credential covers {orig}")

    def _entitled(self, call: Call, trunk: Trunk, orig: str, dest: str, now: float) -> _Making:
        """Who may sign for the call, or what it may take along.

        What came in by a trunk is never signed for as ours: a stranger who calls a forwarding
        extension with our own number as caller ID would else leave with our signature under it.
        """
        # a call that is only watched is given nothing to carry, nor is a leg that cannot
        most = call.headers
        in_band = trunk.in_band and call.mode is Mode.ON and most > 0
        brought = self._brought.of(call, now) if call.came_in else None
        if brought is not None:
            through = placement.through(brought, orig, dest, now, in_band=in_band, most=most)
            if through is not None:
                return _Making(lambda: through, in_band, stores=bool(through.stored))
            forward = forwarding.plan(
                brought, orig, dest, now, lambda number: self._credential(trunk, number, now)
            )
            return _Making(
                lambda: forwarding.sign(forward, now, in_band=in_band, most=most), in_band
            )
        credential = self._credential(trunk, orig, now)
        self._check_inside(call)
        if not self._callers.may_claim(call.originator, trunk, orig):
            raise Unsigned(Reason.CALLER_NOT_ALLOWED, "not one of the originator's numbers")
        shown = self._callers.shown(call.originator, orig)
        return _Making(lambda: self._sign(credential, trunk, shown, orig, dest, now), in_band)

    def _check_inside(self, call: Call) -> None:
        """Refuse what came in from outside. Raises Unsigned (CALLER_NOT_ALLOWED)."""
        if call.came_in:
            detail = f"the call came in by trunk {call.came_in!r}"
            raise Unsigned(Reason.CALLER_NOT_ALLOWED, detail)
        trunk = self._outside.trunk_of(call, self._callers)
        if trunk:
            detail = f"placed by {call.placed_by!r}, which is trunk {trunk!r}: from outside"
            raise Unsigned(Reason.CALLER_NOT_ALLOWED, detail)
        if call.is_orphan:
            detail = "the channel that placed it has gone: nobody knows whether it is from outside"
            raise Unsigned(Reason.CALLER_NOT_ALLOWED, detail)

    def _sign(
        self,
        credential: Credential,
        trunk: Trunk,
        shown: Shown,
        orig: str,
        dest: str,
        now: float,
    ) -> Parcel:
        shaken = credential.ppt == "shaken"
        fresh = self._new_uuid()
        said = credential.allowed(rich_call_data.claims(shown.name, shown.reason))
        token = passport.sign(
            orig=orig,
            dest=[dest],
            iat=int(now),
            x5u=credential.x5u,
            key=credential.key,
            attest=trunk.attest if shaken else "",
            origid=fresh if shaken else "",
            jti="" if shaken else fresh,
            ppt=rich_call_data.RCD if rich_call_data.RCD in said and not shaken else "",
            extra=said,
        )
        return Parcel(
            Reason.STORED,
            ((token, credential.chain),),
            (token,),
            attest=token.attest,
            signer=credential.signer,
        )

    async def _destination(self, make: _Making, dest: str, give_up_at: float) -> Destination:
        """Where to store it; a call that carries it itself also goes on where nobody is known."""
        if not make.stores:
            return Destination()
        destination = await self._directory.destination(dest, give_up_at)
        if destination.reason is not None and not make.in_band:
            raise Unsigned(destination.reason, destination.detail)
        return destination

    async def _store(
        self,
        make: _Making,
        parcel: Parcel,
        destination: Destination,
        dest: str,
        give_up_at: float,
    ) -> Sequence[StoreResult]:
        """Sealed to each key; as it is only where the configuration says so (RFC 9888 section 5).

        A missing key never leads to the second.
        """
        if destination.reason is not None:
            return [StoreResult("", destination.reason, destination.detail)]
        if not parcel.stored:
            return []
        if destination.sealed:
            try:
                blobs = _sealed(parcel, destination.keys, dest)
            except TooLarge as error:
                if not make.in_band:
                    raise Unsigned(Reason.TOO_LARGE, str(error)) from error
                return [StoreResult("", Reason.TOO_LARGE, str(error))]
            return await self._placement.store(destination.cps, dest, blobs, give_up_at)
        if self._bare is None:
            raise Unsigned(Reason.NO_KEY, "nothing is stored unsealed here")
        results: list[StoreResult] = []
        for token, _ in parcel.stored:
            stored = await self._bare.store_bare(destination.cps, dest, token.token, give_up_at)
            results += stored
        return _of_all(results)


def _sealed(parcel: Parcel, keys: Sequence[bytes], dest: str) -> list[bytes]:
    """One copy of each PASSporT for each key. Raises TooLarge."""
    return [
        sealing.seal(token.token, chain, key, dest)
        for token, chain in parcel.stored
        for key in keys
    ]


def _of_all(results: Sequence[StoreResult]) -> list[StoreResult]:
    """One result a CPS, where each was given several PASSporTs: STORED if it took all of them."""
    found: dict[str, StoreResult] = {}
    for one in results:
        known = found.get(one.cps)
        if known is None or known.reason is Reason.STORED:
            found[one.cps] = one
    return list(found.values())


def _headers(parcel: Parcel) -> tuple[str, ...]:
    """The values of the Identity headers; none where one of them cannot be handed over."""
    try:
        values = tuple(passport.identity_header(token) for token in parcel.carried)
    except MalformedPassport:
        return ()
    return values if all(map(treatment.encoded, values)) else ()


def _sent(
    parcel: Parcel,
    results: Sequence[StoreResult],
    headers: tuple[str, ...],
    orig: str,
    dest: str,
) -> Outcome:
    """One CPS that took every copy is enough: the called party asks all of its CPSs."""
    failures = [result for result in results if result.reason is not Reason.STORED]
    rejections = tuple(
        Rejection(result.cps or "store", result.reason, result.detail) for result in failures
    )
    asked = tuple(
        Asked(one.cps, dest, reason=None if one.reason is Reason.STORED else one.reason)
        for one in results
        if one.cps
    )
    reason, detail = parcel.reason, ""
    if len(failures) < len(results):
        status = Status.STORED
    elif headers:
        status = Status.IN_BAND
        reason = Reason.IN_BAND if reason is Reason.STORED else reason
    elif results or reason is not Reason.PASSED_ON:
        reason = failures[0].reason if failures else Reason.NO_CPS
        status = Status.SKIPPED if reason in _SKIPPED else Status.ERROR
    else:
        status, detail = Status.SKIPPED, "it is at the called number's CPS already"
        if parcel.carried:
            detail = "it fits no Identity header that can be handed over"
    is_sent = status in {Status.STORED, Status.IN_BAND}
    return Outcome(
        reason,
        status,
        attest=parcel.attest if is_sent else "",
        orig=orig,
        dest=dest,
        signer=parcel.signer if is_sent else "",
        rejections=rejections,
        diverted_by=parcel.diverted_by if is_sent else "",
        detail=detail,
        identity=headers,
        asked=asked,
    )
