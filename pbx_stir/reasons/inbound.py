"""Reasons of calls that come in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pbx_stir.reasons.explanation import Explanation
from pbx_stir.services.call import Reason

_PASSED_ATTEST: Final = (
    "Nothing, unless you want such calls to pass: verification.passed_attest says which "
    "attestations do."
)
_CHECK: Final = "pbx-stir check"
_VERIFY: Final = "pbx-stir verify --explain"

INBOUND: Final[Mapping[Reason, Explanation]] = {
    Reason.VERIFIED: Explanation(
        "the owner of the number signed this call",
        "A certificate that you trust covers the calling number, and its owner has signed this "
        "call to this number, just now.",
    ),
    Reason.ATTEST_B: Explanation(
        "signed, but its provider vouches only for the customer",
        "The signature is good. The provider who signed knows its customer, and not whether the "
        "calling number is the customer's (attestation B).",
        _PASSED_ATTEST,
    ),
    Reason.ATTEST_C: Explanation(
        "signed, but its provider vouches only for where the call came in",
        "The signature is good. The provider who signed says only where the call entered its "
        "network, nothing about the calling number (attestation C).",
        _PASSED_ATTEST,
    ),
    Reason.NO_PASSPORT: Explanation(
        "no signature came with this call; most calls have none",
        "Nobody has signed this call, as far as could be found. Most calls are not signed: this "
        "is no sign of fraud.",
        "Nothing, if the caller does not sign. If he does: compare the CPS that was asked with the "
        "one where he stores, and the called number with the one he signed for. Where he stores "
        "later than the call arrives, set wait_for_passport_ms of the trunk.",
        (
            "The caller does not take part.",
            "He stores at another CPS than yours asks, or for another number.",
            "PASSporTs were there and did not open: they are dummies, or sealed to a key that you "
            "no longer have.",
            'The CPS gives to holders alone, and [publish] does not say retrieve = "signed".',
            "His carrier brought the call before his PASSporT was stored.",
        ),
        ("pbx-stir fetch --config FILE --orig", "pbx-stir keys list", _CHECK),
    ),
    Reason.UNSUPPORTED_PPT: Explanation(
        "its signature is of a kind not known here",
        "A signature was found in an extension of PASSporT that this version does not know.",
        "Nothing here: the caller's service signs in a form that only some understand.",
    ),
    Reason.ORIG_MISMATCH: Explanation(
        "the signature found is for another caller",
        "A signature for the called number was found, but for another calling number than the "
        "trunk has delivered; or the calling number is no telephone number.",
        "If it happens on most calls of a trunk, compare the number that was signed with what the "
        "trunk delivers, and set the trunk's country_code, national_prefix, "
        "international_prefixes or `strip`.",
        (
            "Somebody else calls the same number at the same time: that is normal.",
            "The trunk writes numbers in another form than its [[trunk]] says.",
            "The caller's carrier shows another number than the caller has signed for.",
        ),
        (_CHECK,),
    ),
    Reason.DEST_MISMATCH: Explanation(
        "the signature found is for a call to another number",
        "A signature was found that names another called number than the one this call arrived at; "
        "or the called number is no telephone number.",
        "If the trunk delivers a short or internal number, say in the trunk's `called` table which "
        "numbers it stands for. If the call was forwarded to you, the forwarding PBX has to sign "
        "that it forwards.",
        (
            "The trunk's DIDs are short, toll-free or aliases of other numbers.",
            "The call was forwarded by a PBX that does not sign that it forwards.",
            "Somebody who was called passes the signature on to you.",
        ),
        (_CHECK,),
    ),
    Reason.STALE: Explanation(
        "its signature is more than a minute old",
        "A signature was found, but it was made more than 60 seconds before the call arrived.",
        "Compare the clocks of both sides (`pbx-stir check` compares ours with the CPS's). With "
        "clocks that agree, the call took too long on its way.",
        ("A clock is slow, the caller's, or fast, ours.", "The call took a minute to arrive."),
        (_CHECK, "timedatectl"),
    ),
    Reason.FUTURE_IAT: Explanation(
        "its signature is dated in the future",
        "A signature was found that is dated more than 5 seconds in the future.",
        "Compare the clocks of both sides: one is wrong. `pbx-stir check` compares ours with the "
        "CPS's.",
        ("The caller's clock is fast, or ours is slow.",),
        (_CHECK, "timedatectl"),
    ),
    Reason.CLOCK: Explanation(
        "a clock is wrong, so nothing can be said of its age",
        "Our clock and the CPS's differ by more than ten seconds, so nothing can be said of how "
        "fresh the signature is.",
        "Set this machine's clock by NTP (`timedatectl`). If it is right, tell whoever runs the "
        "CPS.",
        (),
        (_CHECK, "timedatectl"),
    ),
    Reason.CERTIFICATE_UNAVAILABLE: Explanation(
        "the signer's certificate could not be had in time",
        "The signature could not be checked, since the signer's certificate, or under "
        '`revocation = "hard"` word of its revocation, did not come in time.',
        "See the detail for what failed. The certificate is fetched from where the signature says; "
        "this machine must reach that server.",
        (
            "The server behind the signature's x5u is down, slow, or not reached from here.",
            "The signer did not seal the certificates along with the PASSporT, as this program "
            "does.",
            "Under hard revocation: the authority's list cannot be had.",
        ),
        (_VERIFY,),
    ),
    Reason.CERTIFICATE_UNTRUSTED: Explanation(
        "signed under an authority that is not trusted here",
        "The signer's certificate leads to no authority that is trusted here, or is not made as "
        "it must be.",
        "If you trust the signer's authority, add its root certificate to verification.trust and "
        "reload. If not, this is as it should be.",
        (
            "The signer is of another group or country.",
            "The signer left out a certificate between his own and the root.",
            "The certificate is no STIR certificate (RFC 8226).",
        ),
        (_VERIFY,),
    ),
    Reason.CERTIFICATE_EXPIRED: Explanation(
        "signed with a certificate that is out of date",
        "The signer's certificate, or one above it, is not valid now.",
        "Nothing here, if this machine's clock is right: the caller has to renew his certificate.",
        ("The signer has not renewed it in time.", "A clock is wrong."),
        (_VERIFY, "timedatectl"),
    ),
    Reason.X5U_REFUSED: Explanation(
        "the signer's certificate lies where it may not be fetched from",
        "The signer's certificate did not come along, and lies where the configuration does not "
        "let it be fetched from.",
        "If you expect signatures from there, add the host to verification.x5u_hosts, or host and "
        "port to verification.x5u_allow for a server of a closed network. Read in "
        "docs/security.md first what a fetch tells its owner.",
        (
            "verification.x5u_hosts does not name the host: by default it names none.",
            "The URL is not https on port 443 or 8443, or leads to a private address.",
        ),
        (_VERIFY,),
    ),
    Reason.NUMBER_NOT_COVERED: Explanation(
        "the signer's certificate does not cover the calling number",
        "Whoever signed has a certificate for other numbers than the calling one, and may not "
        "vouch for it.",
        "If the call is genuine, the caller needs a certificate for this number, or shows another "
        "number than he has one for. For providers, verification.spc_table says which numbers "
        "are theirs.",
        (
            "The caller has got new numbers, and no certificate for them yet.",
            'A provider signs, and spc = "refuse" or spc_table does not have the number as his.',
            "Somebody signs for a number that is not his.",
        ),
        (_VERIFY,),
    ),
    Reason.CONSTRAINT_VIOLATED: Explanation(
        "the signature breaks a rule of its own certificate",
        "The certificate limits what may be signed with it (RFC 8226, RFC 9118), and this goes "
        "beyond.",
        "Nothing here: the caller signs what his certificate does not let him say.",
        (),
        (_VERIFY,),
    ),
    Reason.REVOKED: Explanation(
        "the signer's certificate has been revoked",
        "The signer's certificate has been withdrawn by its authority.",
        "Do not rely on the caller ID. If you know the caller, tell him.",
        ("Its key was lost, or its owner no longer has the numbers.",),
        (_VERIFY,),
    ),
    Reason.BAD_SIGNATURE: Explanation(
        "the signature does not fit this call",
        "The signature does not fit what is signed: it is forged, or was damaged on its way.",
        "Do not rely on the caller ID. If it happens on every call of one trunk, an SBC on the way "
        "changes the Identity header.",
        (
            "A device on the way has changed the Identity header.",
            "The signer signs with another key than that of the certificate.",
            "Somebody has made it up.",
        ),
        (_VERIFY,),
    ),
    Reason.MALFORMED: Explanation(
        "what was found as a signature cannot be read",
        "What was found as a signature is damaged, or none at all. Anybody may store such a thing.",
        "See the detail. If it happens on every call of one caller, tell who runs his service.",
        (),
        (_VERIFY,),
    ),
    Reason.BROKEN_DIVERSION: Explanation(
        "forwarded, and the chain of its signatures has a gap",
        "The call was forwarded, and not everyone who forwarded it has signed that he did.",
        "Every PBX that forwards has to sign that it does. See which numbers the rejections name.",
        (
            "A PBX on the way forwards without signing, or after more than a minute.",
            "A number forwards to itself in a circle, or more than five have forwarded.",
        ),
        (_VERIFY,),
    ),
    Reason.REPLAYED: Explanation(
        "its signature had been used by another call",
        "Two calls claimed this signature, and another call came first. Either may be the genuine "
        "one. This one is treated as unsigned, never worse.",
        "Look at the other call, by its id.",
        (
            "A carrier sends one call by two trunks, which is harmless.",
            "A gateway of yours verified the call before: give it a state_dir of its own.",
            "Somebody called with the caller's number while the caller did.",
        ),
    ),
    Reason.CONTESTED: Explanation(
        "a second call claimed the same signature",
        "The call passed, and then a second call claimed the same signature. Either may be the "
        "genuine one.",
        "Look at both calls, by their ids, before you rely on either.",
        ("As replayed, of which this is the other call.",),
    ),
    Reason.CALLER_ID_NOT_FIXED: Explanation(
        "not checked: its trunk lets the caller change his number later",
        "The trunk's endpoint takes another number and name from the caller in the middle of the "
        "call (a SIP UPDATE, or INVITE anew), and a verdict would stand beside those. So there is "
        "none.",
        "Write `trust_connected_line = no` into the trunk's endpoint in `pjsip.conf`, and reload.",
        (
            "The endpoint has `trust_id_inbound = yes`, and `trust_connected_line` as Asterisk "
            "has it by default.",
            "Asterisk has not loaded `func_pjsip_endpoint`, by which the dialplan asks.",
        ),
        ("pbx-stir check",),
    ),
    Reason.OVERLOADED: Explanation(
        "not checked: too many calls at once",
        "There was too much to do at once: too many calls, or too many signatures for this "
        "number. The call was not looked at to the end.",
        "If it happens often, look at the machine's load, and at who stores for this number: "
        "`pbx-stir report` tells a CPS of bogus entries.",
        (
            "More calls come than this machine verifies.",
            "Somebody stores a flood of entries for the number.",
        ),
        ("pbx-stir report",),
    ),
}
