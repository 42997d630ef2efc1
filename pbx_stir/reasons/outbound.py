"""Reasons of calls that go out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pbx_stir.reasons.explanation import Explanation
from pbx_stir.services.call import Reason

_CHECK: Final = "pbx-stir check"

OUTBOUND: Final[Mapping[Reason, Explanation]] = {
    Reason.STORED: Explanation(
        "signed, and stored for the called party",
        "The call is signed, and lay sealed at the called party's call placement service before it "
        "was placed.",
    ),
    Reason.STORED_LATE: Explanation(
        "signed and stored, but after the call had gone on",
        "The call is signed and stored, but only after the PBX had gone on with it: the called "
        "party may have looked before it was there.",
        "If it happens often, see which CPS takes long, or give the trunk a longer budget "
        "(STIR_BUDGET_).",
        ("A CPS is slow or far away.", "The trunk's budget is short."),
        (_CHECK,),
    ),
    Reason.IN_BAND: Explanation(
        "signed, and the call carries the signature itself",
        "The call is signed and carries its signature in an Identity header; nobody takes stores "
        "for the called number.",
    ),
    Reason.FORWARDED: Explanation(
        "forwarded, and signed that we do so",
        "The call came in verified and is forwarded: signed that your number does so, around what "
        "the caller has signed.",
    ),
    Reason.PASSED_ON: Explanation(
        "goes through with what it came with",
        "The call goes through: the signature it came with is passed on unchanged, nothing of "
        "yours is signed.",
    ),
    Reason.STALE: Explanation(
        "forwarded too late for the caller's signature",
        "The call came in signed, but the signature is too old to be forwarded with it.",
        "Nothing, unless the clocks differ or calls wait long before they are forwarded.",
        (
            "It rang for more than a minute before it was forwarded.",
            "It is transferred after a talk.",
        ),
    ),
    Reason.BROKEN_DIVERSION: Explanation(
        "forwarded too often",
        "The call would go round in a circle, or has been forwarded five times already.",
        "Look for a forwarding loop between PBXs.",
    ),
    Reason.NOT_AUTHORITATIVE: Explanation(
        "no certificate of ours covers the caller ID",
        "The number that the call shows is in none of your certificates, so the call leaves "
        "unsigned.",
        "Compare the caller ID, as the detail has it, with the trunk's `numbers` and the "
        "certificates of [[credential]]; `pbx-stir check` names numbers of a trunk that no "
        "certificate covers.",
        (
            "The caller ID has no country code, and the trunk's `country_code` is wrong.",
            "The caller ID is set after the hook, or is another number than you think.",
            "The trunk shows another number (`present`).",
            "The certificate lacks numbers that you have got since.",
            "The dialplan and [[trunk]] name the trunk differently.",
        ),
        (_CHECK,),
    ),
    Reason.CALLER_NOT_ALLOWED: Explanation(
        "this caller may not use the caller ID",
        "This caller may not use the caller ID, or the call came in from outside, unverified or "
        "with another caller ID. It leaves unsigned, as it must.",
        "If the caller may use it, add the number to his [[originator]], or to the trunk's "
        "`numbers`. A call that came in by a trunk is never signed as one of yours.",
        (
            "A call from outside is forwarded: a stranger's never leaves with your signature.",
            "Users call by the endpoint of a trunk, as the detail says: see `endpoints` of "
            "[[trunk]].",
            "A Local channel places it for a channel that has gone, as after a transfer.",
            "A phone shows a number that is another's.",
        ),
        (_CHECK,),
    ),
    Reason.CREDENTIAL_EXPIRED: Explanation(
        "our certificate for the caller ID is out of date",
        "Our certificate for the caller ID is not valid now: nothing is signed with it.",
        "Renew it and reload. `pbx-stir check` counts the days that certificates have left.",
        ("It was not renewed.", "This machine's clock is wrong."),
        (_CHECK,),
    ),
    Reason.NO_CPS: Explanation(
        "nobody is known to take signatures for the called number",
        "No route, advertisement or directory names a call placement service for the called "
        "number. Most numbers have none.",
        "Nothing, if the called party does not take part. If it does, add a [[route]] for its "
        "prefix, or the [[advertisement]] that names its CPS.",
    ),
    Reason.NO_KEY: Explanation(
        "the called party has published no key to seal to",
        "A signature is sealed, so that only the called party reads it, and the called party has "
        "published no key to seal to.",
        "Ask the called party whether its records are published (`pbx-stir keys publish`).",
        (
            "The called party's service has not run for a day, so its record has ended.",
            "The route names another CPS than the called party publishes at.",
            "The called party has revoked its keys.",
        ),
        (_CHECK,),
    ),
    Reason.NO_TOKENS: Explanation(
        "out of storage tokens",
        "The call placement service wants storage tokens, and there are none.",
        "See the log for why none could be had. `pbx-stir check` says how many are left; "
        "wallet.low and wallet.high how many are kept.",
        (
            "The CPS grants no more today: more calls were placed than its cps.tokens_per_leaf.",
            "The service was started for the first time, some seconds ago.",
            "The CPS does not trust our certificate (its cps.trust), or it has ended.",
            "The CPS could not be reached since the service was started.",
        ),
        (_CHECK,),
    ),
    Reason.BAD_RECORD: Explanation(
        "the called party's record is not properly signed",
        "A record of the called party's keys was found that its signer had no right to make, or "
        "that is damaged.",
        "See the detail. Its signer must lead to an authority of verification.trust and cover the "
        "number.",
        (
            "You do not trust the called party's authority yet.",
            "The called party's certificate does not cover the number, or has ended.",
        ),
        (_CHECK,),
    ),
    Reason.INVALID_NUMBER: Explanation(
        "caller ID or called number is no telephone number",
        "The caller ID or the called number is no telephone number: an internal extension, a name "
        "or too few digits.",
        "Look at both as the PBX has them; set the caller ID before the hook.",
        ("The trunk's country_code or strip is missing.", "An extension calls as itself."),
        (_CHECK,),
    ),
    Reason.TOO_LARGE: Explanation(
        "the signature does not fit into what is sealed",
        "The signature, its certificates and names are more than a sealed entry holds (4,096 "
        "octets).",
        "Use a shorter certificate chain or a shorter name; see the detail for how much it is.",
    ),
    Reason.MALFORMED: Explanation(
        "what the call came with cannot be read",
        "The signature that the call was to be forwarded with is damaged.",
        "Look at the inbound call, which has the same first id at the PBX.",
    ),
    Reason.OVERLOADED: Explanation(
        "too many calls at once",
        "There were too many calls at once: this one went out unsigned, since others were still "
        "being served.",
        "If it happens often, look at the machine's load.",
    ),
}
