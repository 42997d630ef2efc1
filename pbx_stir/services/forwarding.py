"""Forwarding: a call that was verified leaves for another number, and says so (RFC 8946).

Takes what the call brought along and a credential of the number that passes it on; gives a
``div-o`` PASSporT that holds the caller's own one whole, for the new target's CPS (RFC 8816 section
6.2: "a retargeting storer SHOULD use the "div-o" PASSporT type"), and ``div`` beside it for
Identity headers. Nothing is signed for the caller: what says who calls is what he has signed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pbx_stir.errors import BrokenDiversion, Malformed
from pbx_stir.services.brought import Brought, Carried
from pbx_stir.services.call import Reason
from pbx_stir.services.parcel import Parcel, Unsigned
from pbx_stir.stir import diversion, passport
from pbx_stir.stir.credential import Credential
from pbx_stir.stir.diversion import Diverted
from pbx_stir.stir.passport import FRESHNESS_SECONDS, Passport


@dataclass(frozen=True, slots=True)
class Forward:
    """A call that may be passed on: what it brought, the number of ours that does, its credential.

    ``original`` has all that it brought; ``dest`` is the new target.
    """

    original: Carried
    number: str
    dest: str
    credential: Credential


def plan(
    brought: Brought,
    orig: str,
    dest: str,
    now: float,
    credential_of: Callable[[str], Credential],
) -> Forward:
    """Whether a call from ``orig`` that brought this may be passed on to ``dest``, and by whom.

    ``credential_of`` gives what signs for a number of ours, and raises Unsigned for any other one.
    Raises Unsigned: CALLER_NOT_ALLOWED, STALE, BROKEN_DIVERSION (it would go round, or on for
    ever), NOT_AUTHORITATIVE, CREDENTIAL_EXPIRED.
    """
    original = brought.verified
    if original is None:
        raise Unsigned(
            Reason.CALLER_NOT_ALLOWED, f"the call came in by trunk {brought.came_in!r}, unverified"
        )
    before = original.candidate.passport
    if before.orig != orig:
        raise Unsigned(Reason.CALLER_NOT_ALLOWED, "it leaves with another caller ID than it had")
    age = now - before.iat
    if age > FRESHNESS_SECONDS:
        raise Unsigned(Reason.STALE, f"what it came with is {age:.0f} s old")
    # who passes it on is whom it was signed to and who was called: not whatever we have besides
    numbers = [one for one in brought.called if one in before.dest]
    if not numbers:
        raise Unsigned(Reason.CALLER_NOT_ALLOWED, "no number of ours was called")
    number, credential = _ours(numbers, credential_of)
    _check_round(original, number, dest)
    return Forward(original, number, dest, credential)


def _ours(numbers: list[str], credential_of: Callable[[str], Credential]) -> tuple[str, Credential]:
    """The first of the called numbers that we can sign for."""
    first: Unsigned | None = None
    for number in numbers:
        try:
            return number, credential_of(number)
        except Unsigned as why:
            first = first or why
    assert first is not None
    raise first


def _check_round(original: Carried, number: str, dest: str) -> None:
    """Find loops before anything is signed. A call may be passed on five times."""
    diverted = original.candidate.diverted
    diversions = () if diverted is None else diverted.diversions
    if len(diversions) >= diversion.MOST_DIVERSIONS:
        raise Unsigned(
            Reason.BROKEN_DIVERSION, f"passed on {diversion.MOST_DIVERSIONS} times before"
        )
    before = [diversion.diverting_number(one, max_digits=32) for one in diversions]
    if dest in {number, *before}:
        raise Unsigned(Reason.BROKEN_DIVERSION, f"{dest} has passed this call on before")
    if number in before:
        raise Unsigned(Reason.BROKEN_DIVERSION, f"{number} passes this call on a second time")


def sign(forward: Forward, now: float, *, in_band: bool, most: int) -> Parcel:
    """Sign that the call is passed on, at ``now`` (seconds since the epoch).

    Where what it brought stands side by side, so does what is stored: nobody but its signer could
    put a ``div`` into another one. ``in_band``: it leaves by SIP, with up to ``most`` Identity
    headers; where they do not hold all, one that holds the others goes along.
    Raises Unsigned (BROKEN_DIVERSION).
    """
    original, credential = forward.original, forward.credential
    certificates = tuple(dict.fromkeys((*credential.chain, *original.certificates)))
    if original.is_nested:
        div_o = _diversion(forward, now, nested=True)
        stored: tuple[tuple[Passport, tuple[bytes, ...]], ...] = ((div_o, certificates),)
    else:
        # each has its own signer's beside it, as far as they fit
        div = _diversion(forward, now, nested=False)
        stored = (
            *((one, original.certificates) for one in original.tokens),
            (div, credential.chain),
        )
    carried: tuple[Passport, ...] = ()
    if in_band:
        carried = _headers(forward, stored, now, most)
    return Parcel(
        Reason.FORWARDED,
        stored,
        carried,
        attest=original.candidate.original.attest,
        signer=credential.signer,
        diverted_by=forward.number,
    )


def _headers(
    forward: Forward,
    stored: tuple[tuple[Passport, tuple[bytes, ...]], ...],
    now: float,
    most: int,
) -> tuple[Passport, ...]:
    """``div`` beside what it diverts (RFC 8946 section 4), ``div-o`` around a ``div-o``."""
    tokens = tuple(token for token, _ in stored)
    has_room = len(forward.original.candidate.all) + 1 <= most
    is_plain = forward.original.candidate.diverted is None
    if is_plain and has_room:
        return (*forward.original.tokens, _diversion(forward, now, nested=False))
    return tokens if len(tokens) <= most else ()


def _diversion(forward: Forward, now: float, *, nested: bool) -> Passport:
    """One PASSporT of ours that the call is passed on. Source: RFC 8946 sections 4 and 5."""
    before = forward.original.candidate.passport
    extra: dict[str, object] = {"div": {"tn": forward.number}}
    if nested:
        extra["opt"] = before.token
    credential = forward.credential
    try:
        made = passport.sign(
            orig=before.orig,
            dest=[forward.dest],
            iat=int(now),
            x5u=credential.x5u,
            key=credential.key,
            ppt=diversion.DIV_O if nested else diversion.DIV,
            extra=extra,
        )
        # what we send must be what we would accept
        diversion.check(Diverted(before, (made,)), max_digits=32)
    except (BrokenDiversion, Malformed) as error:
        raise Unsigned(Reason.BROKEN_DIVERSION, error.message) from error
    return made
