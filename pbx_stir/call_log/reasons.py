"""What each reason word means to an administrator, and what he can do about it.

The one table of these texts: ``pbx-stir calls explain`` shows them, and docs/troubleshooting.md is
made of them. No word says fraud: absence of a signature is no sign of it (RFC 8816 section 7.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

IN: Final = "in"
OUT: Final = "out"
BOTH: Final = "both"


@dataclass(frozen=True, slots=True)
class Explanation:
    """``meaning``: what is known of the call. ``remedy``: what to do, or that there is nothing."""

    meaning: str
    remedy: str


_INBOUND: Final[dict[str, Explanation]] = {
    "verified": Explanation(
        "The owner of the calling number has signed this call to this number, just now.",
        "Nothing to do.",
    ),
    "attest-b": Explanation(
        "The call is signed, but the provider who signed vouches for its customer only, not for "
        "the calling number.",
        "Nothing, unless you want such calls to pass: verification.passed_attest says which "
        "attestations do.",
    ),
    "attest-c": Explanation(
        "The call is signed, but the provider who signed vouches only for where the call entered "
        "its network.",
        "Nothing, unless you want such calls to pass: verification.passed_attest says which "
        "attestations do.",
    ),
    "no-passport": Explanation(
        "Nobody has signed this call, as far as could be found. Most calls are not signed: this "
        "is no sign of fraud.",
        "Nothing, if the caller does not sign. If he does: compare the CPS that was asked with the "
        "one where he stores, and the called number with the one he signed for. Passports that "
        "were there and did not open are dummies, or sealed to another key than ours: "
        "`pbx-stir keys list` shows ours, `pbx-stir check` whether they are published. Where he "
        "stores later than the call arrives, set wait_for_passport_ms of the trunk.",
    ),
    "unsupported-ppt": Explanation(
        "A signature was found in an extension of PASSporT that is not known here.",
        "Nothing here: the caller's service signs in a form that only some understand.",
    ),
    "orig-mismatch": Explanation(
        "A signature was found, but for another calling number than the trunk has delivered; or "
        "the calling number is no telephone number.",
        "Compare the number that was signed with what the trunk delivers. Often the trunk's "
        "country_code, national_prefix, international_prefixes or strip does not fit, or the "
        "carrier shows another number than was sent.",
    ),
    "dest-mismatch": Explanation(
        "A signature was found, but for a call to another number than the one that was called.",
        "If the trunk delivers a short or internal number, say in the trunk's `called` table which "
        "numbers it stands for. If the call was forwarded to you, the forwarding PBX has to sign "
        "that it forwards.",
    ),
    "stale": Explanation(
        "A signature was found, but it was made more than 60 seconds before the call arrived.",
        "Compare the clocks of both sides (`pbx-stir check` compares ours with the CPS's). With "
        "clocks that agree, the call took too long on its way.",
    ),
    "future-iat": Explanation(
        "A signature was found, but it is dated in the future.",
        "Compare the clocks of both sides: one is wrong. `pbx-stir check` compares ours with the "
        "CPS's.",
    ),
    "clock": Explanation(
        "Our clock and the CPS's differ by more than ten seconds, so nothing can be said of how "
        "fresh the signature is.",
        "Set this machine's clock by NTP (`timedatectl`). If it is right, tell whoever runs the "
        "CPS.",
    ),
    "certificate-unavailable": Explanation(
        "The signer's certificate could not be had in time.",
        "See the detail for what failed. It is fetched from where the signature says; this "
        "machine must reach that server. Passports sealed with their certificates need no "
        "fetching.",
    ),
    "certificate-untrusted": Explanation(
        "The signer's certificate leads to no authority that is trusted here, or is not made as "
        "it must be.",
        "If you trust the signer's authority, add its root certificate to verification.trust and "
        "reload. If not, this is as it should be.",
    ),
    "certificate-expired": Explanation(
        "The signer's certificate is not valid now.",
        "Nothing here, if this machine's clock is right: the caller has to renew his certificate.",
    ),
    "x5u-refused": Explanation(
        "The signer's certificate lies where it may not be fetched from.",
        "If you expect signatures from there, add the host to verification.x5u_hosts, or host and "
        "port to verification.x5u_allow for a server of a closed network. Read in "
        "docs/security.md first what a fetch tells its owner.",
    ),
    "number-not-covered": Explanation(
        "The signer's certificate does not cover the calling number: whoever signed may not vouch "
        "for it.",
        "If the call is genuine, the caller needs a certificate for this number, or shows another "
        "number than he has one for. For providers, verification.spc_table says which numbers "
        "are theirs.",
    ),
    "constraint-violated": Explanation(
        "The signature breaks a rule that stands in its own certificate.",
        "Nothing here: the caller signs what his certificate does not let him say.",
    ),
    "revoked": Explanation(
        "The signer's certificate has been revoked by its authority.",
        "Do not rely on the caller ID. If you know the caller, tell him.",
    ),
    "bad-signature": Explanation(
        "The signature does not fit what is signed: it is forged, or was damaged on its way.",
        "Do not rely on the caller ID. If it happens on every call of one trunk, an SBC on the way "
        "changes the Identity header.",
    ),
    "malformed": Explanation(
        "What was found as a signature cannot be read.",
        "See the detail. If it happens on every call of one caller, tell who runs his service.",
    ),
    "broken-diversion": Explanation(
        "The call was forwarded, and its chain of signatures has a gap.",
        "Every PBX that forwards has to sign that it does. See which numbers the rejections name.",
    ),
    "replayed": Explanation(
        "The signature had been used by another call. Two calls claimed it; either may be the "
        "genuine one. This one is treated as unsigned, never worse.",
        "Look at the other call, by its id. A carrier that sends one call by two trunks causes "
        "this harmlessly.",
    ),
    "contested": Explanation(
        "The call passed, and then a second call claimed the same signature. Either may be the "
        "genuine one.",
        "Look at both calls, by their ids, before you rely on either.",
    ),
    "overloaded": Explanation(
        "There was too much to do at once: too many calls, or too many signatures for this "
        "number. The call was not looked at to the end.",
        "If it happens often, look at the machine's load, and at who stores for this number: "
        "`pbx-stir report` tells a CPS of bogus entries.",
    ),
}

_OUTBOUND: Final[dict[str, Explanation]] = {
    "stored": Explanation(
        "The call is signed, sealed, and stored for the called party.", "Nothing to do."
    ),
    "stored-late": Explanation(
        "The call is signed and stored, but only after the PBX had gone on with the call.",
        "It may have arrived unsigned. If it happens often, see which CPS takes long, or give the "
        "trunk a longer budget (STIR_BUDGET_).",
    ),
    "in-band": Explanation(
        "The call is signed and carries its signature itself; nobody stores for the called number.",
        "Nothing to do.",
    ),
    "forwarded": Explanation(
        "The call came in verified and is forwarded: signed that your number does so, around what "
        "the caller has signed.",
        "Nothing to do.",
    ),
    "passed-on": Explanation(
        "The call goes through: the signature it came with is passed on unchanged, nothing of "
        "yours is signed.",
        "Nothing to do.",
    ),
    "stale": Explanation(
        "The call came in signed, but the signature is too old to be forwarded with it.",
        "Nothing, unless the clocks differ or calls wait long before they are forwarded.",
    ),
    "broken-diversion": Explanation(
        "The call would go round in a circle, or has been forwarded five times already.",
        "Look for a forwarding loop between PBXs.",
    ),
    "not-authoritative": Explanation(
        "No certificate of ours covers the caller ID, so the call leaves unsigned.",
        "Compare the caller ID with the trunk's `numbers` and the certificates of [[credential]]; "
        "`pbx-stir check` lists what is covered. Where the trunk's name is unknown, the dialplan "
        "and [[trunk]] name it differently.",
    ),
    "caller-not-allowed": Explanation(
        "This caller may not use the caller ID, or the call came in from outside, unverified or "
        "with another caller ID. It leaves unsigned, as it must.",
        "If the caller may use it, add the number to his [[originator]], or to the trunk's "
        "`numbers`. A call that came in by a trunk is never signed as one of yours.",
    ),
    "credential-expired": Explanation(
        "Our certificate for the caller ID is not valid now.",
        "Renew it and reload. `pbx-stir check` counts the days that certificates have left.",
    ),
    "no-cps": Explanation(
        "Nobody is known to take signatures for the called number.",
        "Nothing, if the called party does not take part. If it does, add a [[route]] for its "
        "prefix, or the [[advertisement]] that names its CPS.",
    ),
    "no-key": Explanation(
        "The called party has published no key to seal to.",
        "Ask the called party whether its records are published (`pbx-stir keys publish`).",
    ),
    "no-tokens": Explanation(
        "The call placement service wants storage tokens, and there are none.",
        "See the log for why none could be had. `pbx-stir check` says how many are left; "
        "wallet.low and wallet.high how many are kept.",
    ),
    "bad-record": Explanation(
        "The called party's record, with its keys, is not properly signed.",
        "See the detail. Its signer must lead to an authority of verification.trust and cover the "
        "number.",
    ),
    "invalid-number": Explanation(
        "The caller ID or the called number is no telephone number.",
        "Look at both as the PBX has them. Often the trunk's country_code or strip is missing.",
    ),
    "too-large": Explanation(
        "The signature and its certificates are more than a sealed entry holds.",
        "Use a shorter certificate chain; see the detail for how much it is.",
    ),
}

_EITHER: Final[dict[str, Explanation]] = {
    "anonymous-caller": Explanation(
        "The caller ID is withheld: nothing is stored, nothing looked up, so that nobody learns "
        "who calls.",
        "Nothing to do.",
    ),
    "cps-unavailable": Explanation(
        "No call placement service answered in time.",
        "`pbx-stir check` tries each one. See the detail for what failed: name, connection, "
        "certificate or time.",
    ),
    "cps-refused": Explanation(
        "The call placement service answered, and said no.",
        "See the detail for its answer. It may want a token, a signed request of a holder, or "
        "fewer requests.",
    ),
    "timeout": Explanation(
        "There was no verdict within the budget, and the call went on without one.",
        "If it happens often, see which part takes long: the times of each CPS stand in the call's "
        "line. The budget of a trunk is STIR_BUDGET_.",
    ),
    "listener-down": Explanation(
        "No listener was known to be alive: the call was not held. Said by the dialplan; such a "
        "call has no line in the call log.",
        "See whether the service runs and reaches the PBX: `pbx-stir check`.",
    ),
    "disabled": Explanation(
        "The trunk is switched off, or not configured.",
        "To switch it on, set STIR_IN_ or STIR_OUT_ of the trunk to monitor or on, and give it a "
        "[[trunk]].",
    ),
    "excluded": Explanation(
        "A number that is never announced, looked up or signed.",
        "Nothing, unless the number is in STIR_EXCLUDED or numbers.excluded by mistake.",
    ),
    "emergency": Explanation(
        "An emergency call, or an inbound call within 30 minutes after one: never held.",
        "Nothing to do.",
    ),
    "internal-error": Explanation(
        "A fault of pbx-stir's own, or a module that the PBX lacks.",
        "Look in the service's log at this time, and in the PBX's console; please report it.",
    ),
}


def explanation(reason: str, direction: str) -> Explanation | None:
    """What ``reason`` means for a call of this ``direction``, IN or OUT; None: not one of ours."""
    own, other = (_OUTBOUND, _INBOUND) if direction == OUT else (_INBOUND, _OUTBOUND)
    return own.get(reason) or _EITHER.get(reason) or other.get(reason)


def words() -> tuple[tuple[str, str, Explanation], ...]:
    """Every word with its direction (IN, OUT, BOTH), in the order of the tables."""
    tables = ((IN, _INBOUND), (OUT, _OUTBOUND), (BOTH, _EITHER))
    return tuple(
        (word, direction, text) for direction, table in tables for word, text in table.items()
    )


def markdown() -> str:
    """The table as docs/troubleshooting.md has it."""
    heads = {IN: "Inbound calls", OUT: "Outbound calls", BOTH: "Both"}
    told: list[str] = []
    for word, direction, text in words():
        if direction in heads:
            told.append(f"## {heads.pop(direction)}\n")
        told.append(f"### `{word}`\n\n{_linked(text.meaning)}\n\n{_linked(text.remedy)}\n")
    return "\n".join(told)


def _linked(text: str) -> str:
    """Names of pages as links from docs/."""
    return text.replace("docs/security.md", "[security.md](security.md)")
