"""Gateways: a call that came in with a PASSporT and leaves for the same number.

Takes what the call brought along, gives it on unchanged: to be sealed and stored where the trunk
carries numbers only (RFC 8816 sections 5.4 and 8.3), in Identity headers where it is SIP (section
5.3). Nothing of ours is signed, and no credential is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from pbx_stir.services.brought import Brought, Carried
from pbx_stir.services.call import Reason
from pbx_stir.services.parcel import Parcel
from pbx_stir.services.placement_service import BareAnswer, OwnCps, Retrieval
from pbx_stir.services.sealed_opener import SealedOpener
from pbx_stir.services.steps import check_iat
from pbx_stir.stir.passport import Passport


class Already:
    """What is stored for the numbers that this gateway serves, and may therefore ask for.

    RFC 8816 section 5.4: "the gateway might first check the CPS to see if a PASSporT object had
    already been provisioned for this call, and only provision a PASSporT if none is present". What
    is stored for others' numbers it could not open, and does not ask for.
    """

    def __init__(
        self,
        own_cps: OwnCps,
        retrieval: Retrieval,
        opener: SealedOpener,
        monotonic: Callable[[], float],
    ) -> None:
        self._own_cps = own_cps
        self._monotonic = monotonic
        self._retrieval = retrieval
        self._opener = opener

    async def without(self, parcel: Parcel, number: str, give_up_at: float) -> Parcel:
        """``parcel`` without what is stored for ``number``, as far as that is known in time.

        Half of the time there is: the other half is for storing the rest.
        """
        give_up_at = (self._monotonic() + give_up_at) / 2
        wanted = [(cps, number) for cps in self._own_cps.own_cps(number)]
        held: set[str] = set()
        if not wanted:
            return parcel
        async with aclosing(self._retrieval.retrieve(wanted, give_up_at)) as answers:
            async for answer in answers:
                if isinstance(answer, BareAnswer):
                    held.update(answer.passports)
                    continue
                found = await self._opener.open_sealed(number, answer.blobs, give_up_at)
                held.update(one.passport for one in found.opened)
        missing = tuple(one for one in parcel.stored if one[0].token not in held)
        return replace(parcel, stored=missing)


def through(
    brought: Brought, orig: str, dest: str, now: float, *, in_band: bool, most: int
) -> Parcel | None:
    """What goes on with a call from ``orig`` to ``dest``, None where nothing fits it.

    ``in_band``: it leaves by SIP, with up to ``most`` Identity headers. What lay at the called
    number's CPS is there already and is not stored again. The form is full: PASSporTs in compact
    form are not even parsed.
    """
    # a gateway is for the number that was called; for another one the call is forwarded
    if dest not in brought.called:
        return None
    fitting = [one for one in _all(brought) if _fits(one, orig, dest, now)]
    if not fitting:
        return None
    # what nobody has looked at attests nothing
    is_verified = fitting[0] is brought.verified
    attest = fitting[0].candidate.original.attest if is_verified else ""
    if in_band:
        return Parcel(Reason.PASSED_ON, carried=_headers(fitting, most), attest=attest)
    # each by itself: who opens several of one call puts a chain together again
    stored = {
        token: one.certificates for one in fitting if one.candidate.in_band for token in one.tokens
    }
    return Parcel(Reason.PASSED_ON, stored=tuple(stored.items()), attest=attest)


def _all(brought: Brought) -> Iterator[Carried]:
    """What was verified comes first."""
    if brought.verified is not None:
        yield brought.verified
    yield from (one for one in brought.identities if one != brought.verified)


def _fits(one: Carried, orig: str, dest: str, now: float) -> bool:
    outermost = one.candidate.passport
    return outermost.orig == orig and dest in outermost.dest and not check_iat(outermost, now)


def _headers(fitting: Sequence[Carried], most: int) -> tuple[Passport, ...]:
    """The PASSporTs of as many as there is room for; a chain goes whole or not at all."""
    found: dict[Passport, None] = {}
    for one in fitting:
        together = found | dict.fromkeys(one.tokens)
        if len(together) <= most:
            found = together
    return tuple(found)
