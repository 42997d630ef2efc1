"""What people read of a verdict, in plain words, one place for all of the page.

Pure tables. A reason has a clause that follows the verdict's word ("Not verified — no signature
came with this call"), what it means, and what to do where something can be done. Nothing here calls
a caller a fraud: absence of a signature is no sign of one (RFC 8816 section 7.2), and even a false
signature is often a broken machine on the way.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from pbx_stir.services.call import Direction, Reason

NO_SIGN: Final = (
    "“Not verified” is no sign of fraud: most calls bear no signature. Treat such a call as you "
    "treat calls today."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict's word, and what it says to somebody who must act on it."""

    word: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Why:
    """A reason: a clause behind the verdict's word, what it means, what to do ("" for nothing)."""

    short: str
    meaning: str
    advice: str = ""


VERDICTS: Final = {
    "verified": Verdict(
        "Verified",
        "The number is genuine. That makes neither the caller honest nor the name shown the "
        "caller's own.",
    ),
    "none": Verdict(
        "Not verified",
        "Nothing was shown about this call, for it or against it. That is no sign of fraud: treat "
        "it as you treat calls today.",
    ),
    "failed": Verdict(
        "Failed",
        "The call itself carried a signature that is demonstrably wrong. Somebody may pretend to "
        "be the caller, or a machine on the way broke the signature: ask back before you trust it.",
    ),
    "contested": Verdict(
        "Contested",
        "Two calls claimed this signature; either may be the genuine one. Ask the caller something "
        "only the genuine one knows, or call the number back.",
    ),
    "signed": Verdict("Signed", "The called party can verify this call."),
    "unsigned": Verdict("Not signed", "This call went out as calls always have, unsigned."),
    "error": Verdict(
        "Signing error",
        "This call should have been signed and could not be. It went out all the same.",
    ),
    "other": Verdict("Unknown", "The call log has a word that this page does not know."),
}

INBOUND: Final = {
    Reason.VERIFIED: Why(
        "the owner of the number signed this call",
        "A certificate that you trust covers the calling number, and its owner signed this call to "
        "this number less than a minute before.",
    ),
    Reason.ATTEST_B: Why(
        "signed, but its provider vouches only for the customer",
        "The signature is good. The provider knows its customer, and not whether the number is "
        "the customer's (attestation B).",
        "verification.passed_attest says which attestations count as verified.",
    ),
    Reason.ATTEST_C: Why(
        "signed, but its provider vouches only for where the call came in",
        "The signature is good. The provider says only that the call entered its network there, "
        "nothing about the number (attestation C).",
        "verification.passed_attest says which attestations count as verified.",
    ),
    Reason.NO_PASSPORT: Why(
        "no signature came with this call; most calls have none",
        "Neither the call itself nor the call placement service had a signature for it.",
    ),
    Reason.UNSUPPORTED_PPT: Why(
        "its signature is of a kind not known here",
        "A signature was found in an extension that this version does not understand.",
    ),
    Reason.ORIG_MISMATCH: Why(
        "the signature found is for another caller",
        "Somebody signed a call to this number, with another calling number. That is normal where "
        "two people call at the same time.",
        "If it happens on most calls of a trunk, compare how the trunk presents numbers "
        "(country_code, prefixes) with what is signed.",
    ),
    Reason.DEST_MISMATCH: Why(
        "the signature found is for a call to another number",
        "The signature names another called number than the one this call arrived at.",
        "If it happens on most calls of a trunk, check the trunk's table called: it says which "
        "numbers its DIDs stand for.",
    ),
    Reason.STALE: Why(
        "its signature is more than a minute old",
        "A signature is good for 60 seconds. Slow networks and wrong clocks make old ones.",
        "Check the clock of this machine (NTP).",
    ),
    Reason.FUTURE_IAT: Why(
        "its signature is dated in the future",
        "The signer's clock, or ours, is wrong.",
        "Check the clock of this machine (NTP).",
    ),
    Reason.CLOCK: Why(
        "a clock is wrong, so nothing can be said of its age",
        "Our clock or the signer's is wrong.",
        "Check the clock of this machine (NTP).",
    ),
    Reason.CERTIFICATE_UNAVAILABLE: Why(
        "the signer's certificate could not be had in time",
        "The signature could not be checked, since the certificate did not come within the time "
        "that a call is held.",
    ),
    Reason.CERTIFICATE_UNTRUSTED: Why(
        "signed under an authority that is not trusted here",
        "The signer's certificate leads to no trust anchor of yours.",
        "If you know the signer, put the authority's certificate where verification.trust looks.",
    ),
    Reason.CERTIFICATE_EXPIRED: Why(
        "signed with a certificate that is out of date",
        "The signer has not renewed the certificate in time, or a clock is wrong.",
        "Tell the signer.",
    ),
    Reason.X5U_REFUSED: Why(
        "the signer's certificate lies where it may not be fetched from",
        "Certificates are fetched only from hosts that the configuration allows.",
        "Add the host to verification.x5u_hosts if you want its certificates fetched.",
    ),
    Reason.NUMBER_NOT_COVERED: Why(
        "the signer's certificate does not cover the calling number",
        "Whoever signed has a certificate, for other numbers than this one.",
    ),
    Reason.CONSTRAINT_VIOLATED: Why(
        "the signature breaks a rule of its own certificate",
        "The certificate limits what may be signed with it, and this goes beyond.",
    ),
    Reason.REVOKED: Why(
        "the signer's certificate has been revoked",
        "Its issuer has withdrawn the certificate, perhaps because its key was stolen.",
    ),
    Reason.BAD_SIGNATURE: Why(
        "the signature does not fit this call",
        "The signature is forged, or was damaged on the way.",
    ),
    Reason.MALFORMED: Why(
        "what was found as a signature cannot be read",
        "It is damaged, or not a signature at all. Anybody may store such a thing.",
    ),
    Reason.BROKEN_DIVERSION: Why(
        "forwarded, and the chain of its signatures has a gap",
        "The call was forwarded. Not everyone who forwarded it has signed that they did.",
    ),
    Reason.REPLAYED: Why(
        "its signature had been used by another call",
        "A signature verifies one call, and another call came first. Either may be the genuine "
        "one: this one is treated as unsigned, never worse.",
    ),
    Reason.CONTESTED: Why(
        "a second call claimed the same signature",
        "It passed, and then a second call claimed the same signature.",
    ),
    Reason.OVERLOADED: Why(
        "not checked: too many calls at once",
        "This call, or what was found for it, was not looked at.",
        "If it happens often, look for a flood of calls or of stored entries.",
    ),
    Reason.CPS_REFUSED: Why(
        "not checked: the call placement service said no",
        "What is stored for the number could not be had.",
        "The steps below have its answer; pbx-stir check asks it again.",
    ),
}

OUTBOUND: Final = {
    Reason.STORED: Why(
        "signed, and stored for the called party",
        "The signature lay at the called party's call placement service before the call was "
        "placed.",
    ),
    Reason.STORED_LATE: Why(
        "signed and stored, but after the call had gone on",
        "The call did not wait long enough. The called party may have looked before it was there.",
        "If it happens often, raise STIR_BUDGET_<trunk>, or see why the service is slow.",
    ),
    Reason.IN_BAND: Why(
        "signed, and the call carries the signature itself",
        "Nobody stores for the called number; the call has an Identity header.",
    ),
    Reason.FORWARDED: Why(
        "forwarded, and signed that we do so",
        "The call came in verified. Your number's signature stands around the caller's own.",
    ),
    Reason.PASSED_ON: Why(
        "goes through with what it came with",
        "What the caller signed is passed on unchanged; nothing of yours is signed.",
    ),
    Reason.STALE: Why(
        "forwarded too late for the caller's signature",
        "The signature that the call came with was too old to be forwarded with it.",
    ),
    Reason.BROKEN_DIVERSION: Why(
        "forwarded too often",
        "The call would go round, or has been forwarded five times.",
    ),
    Reason.NOT_AUTHORITATIVE: Why(
        "no certificate of ours covers the caller ID",
        "The number that the call shows is in none of your certificates.",
        "Check the caller ID, the trunk's numbers, and the certificate's numbers.",
    ),
    Reason.CALLER_NOT_ALLOWED: Why(
        "this caller may not use the caller ID",
        "The caller is not allowed this number, or the call came in from outside. A stranger's "
        "call that is forwarded never leaves with your signature.",
        "If it is one of your own phones, see [[originator]] and the trunk's numbers.",
    ),
    Reason.CREDENTIAL_EXPIRED: Why(
        "our certificate for the caller ID is out of date",
        "The certificate for this caller ID is not valid now: nothing is signed with it.",
        "Renew the certificate.",
    ),
    Reason.NO_CPS: Why(
        "nobody is known to take signatures for the called number",
        "No route, advertisement or directory names a call placement service for it. Most numbers "
        "have none.",
        "If the called party takes part, add a [[route]] for its numbers.",
    ),
    Reason.NO_KEY: Why(
        "the called party has published no key to seal to",
        "A signature is sealed, so that only the called party reads it. Without a key there is "
        "nothing to seal to.",
    ),
    Reason.NO_TOKENS: Why(
        "out of storage tokens",
        "The call placement service wants storage tokens, and there are none left.",
        "pbx-stir check says why none come. See wallet.low and wallet.high.",
    ),
    Reason.BAD_RECORD: Why(
        "the called party's record is not properly signed",
        "A record of keys was found that its signer had no right to make, or that is damaged.",
    ),
    Reason.CPS_REFUSED: Why(
        "the call placement service said no",
        "It did not take the signature.",
        "The steps below have its answer.",
    ),
    Reason.INVALID_NUMBER: Why(
        "caller ID or called number is no telephone number",
        "An internal extension, a name or too few digits: nothing that can be signed.",
        "Set the caller ID before the hook, and country_code of the trunk.",
    ),
    Reason.TOO_LARGE: Why(
        "the signature does not fit into what is sealed",
        "Certificates and names together are more than 4,096 octets.",
        "Use a shorter certificate chain, or a shorter name.",
    ),
    Reason.MALFORMED: Why(
        "what the call came with cannot be read",
        "The signature that the call was to be forwarded with is damaged.",
    ),
    Reason.OVERLOADED: Why(
        "too many calls at once",
        "This call went out unsigned, since others were still being served.",
    ),
}

BOTH: Final = {
    Reason.ANONYMOUS_CALLER: Why(
        "the caller withholds the number",
        "Nothing is stored and nothing looked up for a caller who wants to stay unknown.",
    ),
    Reason.CPS_UNAVAILABLE: Why(
        "the call placement service did not answer in time",
        "The call went on without it.",
        "pbx-stir check tries the service.",
    ),
    Reason.TIMEOUT: Why(
        "the answer did not come within the time a call is held",
        "The call went on alone.",
        "If it happens often, see the time taken, and STIR_BUDGET_<trunk>.",
    ),
    Reason.LISTENER_DOWN: Why(
        "pbx_stir was not running", "The call was not held.", "See the service's log."
    ),
    Reason.DISABLED: Why(
        "this trunk is not served",
        "The trunk is off, or the configuration has none of its name.",
        "Compare the dialplan's name of the trunk with that of its [[trunk]].",
    ),
    Reason.EXCLUDED: Why(
        "a number that is never looked at", "STIR_EXCLUDED or numbers.excluded names it."
    ),
    Reason.EMERGENCY: Why(
        "an emergency call, or soon after one", "Such calls are never held and never treated."
    ),
    Reason.INTERNAL_ERROR: Why(
        "a fault of pbx_stir's own",
        "Something went wrong that should not. The call went on.",
        "See the service's log, and report it.",
    ),
}

STEPS: Final = {
    "retrieve": "Asked the call placement service",
    "open": "Opened what is sealed to us",
    "identity": "Read the Identity header of the call itself",
    "parse": "Read the signature's text",
    "judge": "Had time to judge it",
    "ppt": "Knew its kind",
    "orig": "Compared the caller",
    "dest": "Compared the called number",
    "diversion": "Followed how the call was forwarded",
    "iat": "Looked at its age",
    "certificate": "Checked the signer's certificate",
    "coverage": "Looked whether the certificate covers the number",
    "constraints": "Looked at the certificate's own rules",
    "signature": "Checked the signature",
    "revocation": "Asked whether the certificate is revoked",
    "attestation": "Looked at the attestation",
    "single use": "Looked whether another call had used it",
    "store": "Stored it at the call placement service",
}

ATTESTATIONS: Final = {
    "A": "A: the provider knows the customer and the right to this number",
    "B": "B: the provider knows the customer, not the right to this number",
    "C": "C: the provider knows only where the call came in",
}


def of(reason: Reason, direction: Direction) -> Why:
    """The words for ``reason`` on a call of that direction; one of the other way has words too."""
    own, other = (INBOUND, OUTBOUND) if direction is Direction.INBOUND else (OUTBOUND, INBOUND)
    return own.get(reason) or BOTH.get(reason) or other[reason]


def tables() -> dict[str, object]:
    """All of it as the page takes it."""
    return {
        "verdicts": {name: asdict(words) for name, words in VERDICTS.items()},
        "reasons": {
            one.value: {reason.value: asdict(of(reason, one)) for reason in Reason}
            for one in Direction
        },
        "steps": STEPS,
        "attestations": ATTESTATIONS,
        "no_sign": NO_SIGN,
    }
