"""What people read of a verdict on the page, in plain words.

Pure tables; those of the reasons are in ``pbx_stir.reasons``. A reason has a clause that follows
the verdict's word ("Not verified — no signature came with this call"), what it means, and what to
do where something can be done. Nothing here calls a caller a fraud: absence of a signature is no
sign of one (RFC 8816 section 7.2), and even a false signature is often a broken machine on the way.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from pbx_stir.reasons import explanation
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


def _why(reason: Reason, direction: Direction) -> dict[str, str]:
    """A clause behind the verdict's word, what it means, what to do ("" for nothing)."""
    told = explanation(reason, direction)
    advice = "" if told.remedy.startswith("Nothing") else told.remedy.replace("`", "")
    return {"short": told.short, "meaning": told.meaning.replace("`", ""), "advice": advice}


def tables() -> dict[str, object]:
    """All of it as the page takes it."""
    return {
        "verdicts": {name: asdict(words) for name, words in VERDICTS.items()},
        "reasons": {
            one.value: {reason.value: _why(reason, one) for reason in Reason} for one in Direction
        },
        "steps": STEPS,
        "attestations": ATTESTATIONS,
        "no_sign": NO_SIGN,
    }
