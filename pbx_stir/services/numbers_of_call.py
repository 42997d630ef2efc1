"""The numbers of an inbound call, which a PASSporT must be about.

Takes a Call, gives what its caller ID and its called number may mean on the trunk that it came by;
or, where there is nothing that a PASSporT could be compared with, the call's Outcome.
"""

from __future__ import annotations

from typing import Final

from pbx_stir.errors import MalformedNumber
from pbx_stir.services.call import Call, Outcome, Reason
from pbx_stir.services.candidates import Numbers
from pbx_stir.services.trunk import Callers
from pbx_stir.services.unverified import unverified
from pbx_stir.stir import number
from pbx_stir.stir.sip_uri import sip_uri

_NOT_FIXED: Final = (
    "the trunk's endpoint has trust_id_inbound and trust_connected_line, or nobody can tell"
)


def numbers_of(call: Call, callers: Callers) -> Numbers | Outcome:
    """Give the numbers of ``call``, canonical; or its verdict, where it has none to compare."""
    trunk = callers.trunks.get(call.trunk)
    if trunk is None:
        return unverified(Reason.DISABLED, detail=f"no trunk {call.trunk!r} is configured")
    if number.is_anonymous(call.orig):
        return unverified(Reason.ANONYMOUS_CALLER)
    # a verdict on a number that the caller may change after it would be one on any number
    if not call.caller_id_fixed:
        return unverified(Reason.CALLER_ID_NOT_FIXED, detail=_NOT_FIXED)
    called: tuple[str, ...] = ()
    uri = sip_uri(call.dest)
    try:
        if not uri:
            called = number.called(call.dest, trunk.rules, trunk.aliases)
    except MalformedNumber as error:
        return unverified(Reason.DEST_MISMATCH, detail=str(error))
    try:
        calling = number.candidates(call.orig, trunk.rules)
    except MalformedNumber as error:
        return unverified(Reason.ORIG_MISMATCH, detail=str(error))
    return Numbers(calling, called, uri, trunk.rules.max_digits)
