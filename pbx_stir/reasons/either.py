"""Reasons of calls of both directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pbx_stir.reasons.explanation import Explanation
from pbx_stir.services.call import Reason

_CHECK: Final = "pbx-stir check"

EITHER: Final[Mapping[Reason, Explanation]] = {
    Reason.ANONYMOUS_CALLER: Explanation(
        "the caller withholds the number",
        "The caller ID is withheld: nothing is stored, nothing looked up, so that nobody learns "
        "who calls.",
    ),
    Reason.CPS_UNAVAILABLE: Explanation(
        "the call placement service did not answer in time",
        "No call placement service answered in time: the call went on without it.",
        "`pbx-stir check` tries each one. See the detail for what failed: name, connection, "
        "certificate or time.",
        (
            "The CPS, or the network to it, is down.",
            "outgoing.tls_ca does not know the authority of the CPS's TLS certificate.",
            "A firewall or a proxy lets nothing through.",
        ),
        (_CHECK,),
    ),
    Reason.CPS_REFUSED: Explanation(
        "the call placement service said no",
        "The call placement service answered, and said no.",
        "See the detail for its answer. It may want a token, a signed request of a holder, or "
        "fewer requests.",
        (
            "It does not trust the certificate that we sign requests with, or our clock is wrong.",
            "Too many requests come from this address.",
            "It is full, or being restarted.",
        ),
        (_CHECK,),
    ),
    Reason.TIMEOUT: Explanation(
        "the answer did not come within the time a call is held",
        "There was no answer within the budget, and the call went on without one.",
        "If it happens often, see which part takes long: the times of each CPS stand in the call's "
        "line. The budget of a trunk is STIR_BUDGET_.",
        (
            "A CPS or a certificate's server is slow.",
            "The service was killed or hung in that moment.",
            "The machine is too busy.",
        ),
        (_CHECK, "systemctl status pbx-stir"),
    ),
    Reason.LISTENER_DOWN: Explanation(
        "pbx-stir was not running",
        "No listener was known to be alive: the call was not held. Said by the dialplan; such a "
        "call has no line in the call log.",
        "See whether the service runs and reaches the PBX: `pbx-stir check`.",
        (
            "The service is stopped, or is being restarted.",
            "It cannot log in at the PBX: secret, address list, or port.",
            "On Asterisk: the manager user is not pbx-stir, and STIR_AMI_USER does not say so.",
        ),
        (_CHECK, "systemctl status pbx-stir"),
    ),
    Reason.DISABLED: Explanation(
        "this trunk is not served",
        "The trunk is switched off, or the configuration has none of its name.",
        "To switch it on, set STIR_IN_ or STIR_OUT_ of the trunk to monitor or on, and give it a "
        "[[trunk]] of the name that the dialplan has.",
        (),
        (_CHECK,),
    ),
    Reason.EXCLUDED: Explanation(
        "a number that is never looked at",
        "A number that is never announced, looked up or signed.",
        "Nothing, unless the number is in STIR_EXCLUDED or numbers.excluded by mistake.",
        ("STIR_EXCLUDED or numbers.excluded names it.", "It has three digits or fewer."),
    ),
    Reason.EMERGENCY: Explanation(
        "an emergency call, or soon after one",
        "An emergency call, or an inbound call within 30 minutes after one: such calls are never "
        "held and never treated.",
    ),
    Reason.INTERNAL_ERROR: Explanation(
        "a fault of pbx-stir's own",
        "A fault of pbx-stir's own, or a module that the PBX lacks. The call went on.",
        "Look in the service's log at this time, and in the PBX's console; please report it.",
        (
            "On Asterisk: a module that the routines need is not loaded.",
            "state_dir cannot be written, or its disk is full.",
            "Inbound, seconds after the machine was started: what was used before is not known.",
        ),
        (_CHECK, "journalctl -u pbx-stir"),
    ),
}
