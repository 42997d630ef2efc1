"""What ``pbx-stir verify`` prints of what it found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, TextIO

from pbx_stir.services.call import Reason, Rejection, Verstat
from pbx_stir.services.candidates import Numbers
from pbx_stir.services.judgement import Judged
from pbx_stir.services.steps import furthest, is_failure
from pbx_stir.stir.diversion import Diverted, diverting_number
from pbx_stir.stir.passport import Passport

_REMEDIES: Final = {
    Reason.MALFORMED: "the sender's software does not write RFC 8225 tokens",
    Reason.UNSUPPORTED_PPT: "this kind of PASSporT is not supported, it says nothing of the caller",
    Reason.ANONYMOUS_CALLER: "the caller ID is withheld: nothing can be compared with it",
    Reason.ORIG_MISMATCH: "compare the caller ID that arrived with the signed one: format, PAI",
    Reason.DEST_MISMATCH: "signed for a call to another number: a forwarded call, or an abuse",
    Reason.STALE: "older than 60 s: a replay, a slow path, or a clock",
    Reason.FUTURE_IAT: "signed in the future: one of the two clocks is off",
    Reason.CERTIFICATE_UNAVAILABLE: "its x5u, or whether it is revoked, could not be learnt",
    Reason.CERTIFICATE_UNTRUSTED: "no path to the trust anchors given, or its rules are broken",
    Reason.CERTIFICATE_EXPIRED: "the sender must renew its certificate",
    Reason.X5U_REFUSED: "that URL is never fetched: form, host or address",
    Reason.NUMBER_NOT_COVERED: "the certificate has no authority for the calling number",
    Reason.REVOKED: "its issuer has taken the certificate back",
    Reason.CONSTRAINT_VIOLATED: "the certificate forbids this claim",
    Reason.BAD_SIGNATURE: "not signed by the certificate's key, or changed on its way",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all tokens of a file came to; the fields from ``verdict`` on are those of ``--json``.

    All but the last one, which says who passed the call on.
    """

    valid: bool
    verdict: str
    reason: str
    attest: str
    orig: str
    dest: str
    signer: str
    rejections: tuple[dict[str, str], ...]
    diverted_by: str = ""

    @classmethod
    def of(cls, results: Sequence[Judged | Rejection], numbers: Numbers) -> Verdict:
        """The first valid one decides, else the one that came furthest."""
        rejections = [one for one in results if isinstance(one, Rejection)]
        shown = tuple(
            {"step": one.step, "reason": one.reason.value, "detail": one.detail}
            for one in rejections
        )
        for one in results:
            if isinstance(one, Judged):
                passed = Verstat.PASSED.value
                return cls(
                    True,
                    passed,
                    "verified",
                    one.attest,
                    one.orig,
                    one.dest,
                    one.signer,
                    shown,
                    one.diverted_by,
                )
        worst = furthest(rejections)
        failed = any(is_failure(one) for one in rejections)
        verstat = Verstat.FAILED if failed else Verstat.NONE
        reason = worst.reason if worst else Reason.NO_PASSPORT
        return cls(
            False,
            verstat.value,
            reason.value,
            "",
            *numbers.shown,
            "",
            shown,
        )


def print_verdict(verdict: Verdict, *, as_json: bool, stream: TextIO, brief: bool = False) -> None:
    """Print ``verdict`` for a program, or for a person; ``brief`` leaves the rejections out."""
    if as_json:
        fields = asdict(verdict)
        del fields["valid"], fields["diverted_by"]
        print(json.dumps(fields), file=stream)
        return
    said = f"{verdict.verdict} ({verdict.reason})"
    if verdict.valid:
        attested = f", attestation {verdict.attest}" if verdict.attest else ""
        said += f": {verdict.orig} to {verdict.dest}, signed by {_shown(verdict.signer)}{attested}"
        if verdict.diverted_by:
            said += f", passed on by {verdict.diverted_by}"
    print(said, file=stream)
    if brief or verdict.valid:
        return
    for one in verdict.rejections:
        detail = f": {_shown(one['detail'])}" if one["detail"] else ""
        print(f"  {one['step']}: {one['reason']}{detail}", file=stream)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one token of the file came to; ``what`` describes it.

    ``way`` is the chain of diversions that it stands for, a sentence each.
    """

    what: str
    result: Judged | Rejection
    way: tuple[str, ...] = ()


def way(diverted: Diverted | None) -> tuple[str, ...]:
    """Who has called whom, and who has passed the call on to whom, in the order it happened."""
    if diverted is None:
        return ()
    original = diverted.original
    said = [f"{original.orig or original.orig_uri} calls {_dest(original)}, iat {original.iat}"]
    for before, one in zip(diverted.all, diverted.diversions, strict=False):
        number = diverting_number(one, max_digits=32)
        later = f"{one.iat - before.iat} s later"
        said.append(f"{number} passes the call on to {_dest(one)}, {later}, {one.ppt}")
    return tuple(said)


def _dest(token: Passport) -> str:
    return ", ".join([*token.dest, *token.dest_uri])


# the steps in the order in which they are taken, and what each one asks
_ASKED: Final = {
    "parse": "is it a PASSporT, in full form and well-formed?",
    "ppt": "is it of a kind that is understood?",
    "diversion": "do the PASSporTs of a diverted call follow each other?",
    "orig": "is it signed for the calling number?",
    "dest": "is it signed for a call to the called number?",
    "iat": "was it made within the last 60 s?",
    "certificate": "is its certificate to be had, and under a trust anchor?",
    "coverage": "does the certificate cover the calling number?",
    "constraints": "does the certificate allow what it claims?",
    "signature": "does the signature hold?",
    "revocation": "is no certificate known to be revoked?",
}


def print_steps(findings: Sequence[Finding], stream: TextIO) -> None:
    """Print, token by token, which questions were asked, and where the answer was no."""
    for one in findings:
        print(f"\n{_shown(one.what)}", file=stream)
        for number, step in enumerate(one.way, start=1):
            print(f"  {number}.   {_shown(step)}", file=stream)
        failed = one.result.step if isinstance(one.result, Rejection) else ""
        if failed and failed not in _ASKED:
            print(f"  no   {failed}", file=stream)
        for step, question in _ASKED.items() if failed in {"", *_ASKED} else ():
            print(f"  {'no ' if step == failed else 'yes'}  {question}", file=stream)
            if step == failed:
                break
        if isinstance(one.result, Rejection):
            detail = f": {_shown(one.result.detail)}" if one.result.detail else ""
            print(f"       {one.result.reason.value}{detail}", file=stream)
            remedy = _REMEDIES.get(one.result.reason)
            if remedy:
                print(f"       -> {remedy}", file=stream)


def _shown(text: str) -> str:
    """A stranger's words, without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in text)[:300]
