"""One call in plain sentences: what happened, what the reason word means, what to do.

Takes a call's line as a JSON object (anybody may have written it: nothing is taken to be there, or
to be of a type), gives lines of text for a terminal.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pbx_stir.call_log.reading import CallLine
from pbx_stir.call_log.table import BOLD, colour_of, paint, safe
from pbx_stir.reasons import Explanation, explanation
from pbx_stir.services.call import OVER_MS, Direction, Reason

OUT: Final = Direction.OUTBOUND.value
WIDTH: Final = 80
MOST_STEPS: Final = 40
LONGEST: Final = 400

_VERDICTS: Final = {
    "passed": "Verified (TN-Validation-Passed)",
    "failed": "Failed, an Identity header of the call is wrong (TN-Validation-Failed)",
    "none": "Not verified, neither good nor bad (No-TN-Validation)",
    "stored": "Signed and stored (stored)",
    "in-band": "Signed, carried by the call itself (in-band)",
    "skipped": "Left unsigned (skipped)",
    "error": "Left unsigned, by a fault (error)",
}
_STEPS: Final = {
    "open": "opening what was found",
    "identity": "reading an Identity header",
    "parse": "reading a signature",
    "judge": "judging the signatures",
    "ppt": "the kind of signature",
    "orig": "the calling number",
    "dest": "the called number",
    "diversion": "how the call was forwarded",
    "iat": "its date",
    "certificate": "the signer's certificate",
    "coverage": "what the certificate covers",
    "constraints": "the certificate's rules",
    "signature": "the signature itself",
    "revocation": "whether the certificate is revoked",
    "attestation": "what is attested",
    "single use": "whether it had been used",
    "retrieve": "finding a CPS to ask",
    "store": "finding a CPS to store at",
}


def told(
    line: CallLine,
    whole: Mapping[str, object],
    *,
    contested: bool = False,
    colours: bool = False,
) -> Iterator[str]:
    """The story of one call; ``contested``: another one claimed its signature afterwards."""
    at = line.time.astimezone()
    way = "Outbound" if line.direction == OUT else "Inbound"
    yield paint(f"{way} call {safe(line.id)}, {at:%A %Y-%m-%d %H:%M:%S}", BOLD, colours=colours)
    yield from _facts(line, whole)
    yield ""
    verdict = _VERDICTS.get(line.verdict, safe(line.verdict) or "no verdict")
    said = f"{verdict}, reason {safe(line.reason)}" + (", then contested" if contested else "")
    yield paint(said, colour_of(line), colours=colours)
    means = explanation(Reason.CONTESTED, Direction.INBOUND) if contested else _explanation(line)
    if means is not None:
        yield from _wrapped(means.meaning, "  ")
    if line.detail:
        yield from _wrapped(f"Detail: {line.detail}", "  ")
    yield ""
    yield paint("What happened", BOLD, colours=colours)
    for step in _steps(line, whole):
        yield from _wrapped(step, "  - ", "    ")
    if means is not None:
        yield ""
        yield from _advice(means, colours=colours)


def of_word(word: str, found: Sequence[tuple[str, Explanation]]) -> Iterator[str]:
    """What a reason word means, for each direction it has a meaning in."""
    for direction, text in found:
        yield f"{word} ({direction})"
        yield from _wrapped(text.meaning, "  ")
        yield ""
        yield from _advice(text, colours=False)


def of_contest(line: CallLine) -> Iterator[str]:
    """That a second call claimed the same signature."""
    at = line.time.astimezone()
    yield from _wrapped(
        f"At {at:%H:%M:%S} call {line.claimed_by} claimed the signature that call {line.id} had "
        "used. Either may be the genuine one."
    )


def _explanation(line: CallLine) -> Explanation | None:
    """What the reason means; None where the log has a word that is none of ours."""
    try:
        return explanation(Reason(line.reason), Direction(line.direction))
    except ValueError:
        return None


def _advice(means: Explanation, *, colours: bool) -> Iterator[str]:
    if means.causes:
        yield paint("Likely causes", BOLD, colours=colours)
        for cause in means.causes:
            yield from _wrapped(cause, "  - ", "    ")
        yield ""
    yield paint("What to do", BOLD, colours=colours)
    yield from _wrapped(means.remedy, "  ")
    if means.commands:
        yield from _wrapped(f"More: {', '.join(means.commands)}", "  ")


def _facts(line: CallLine, whole: Mapping[str, object]) -> Iterator[str]:
    trunk = f"trunk {line.trunk or '?'} of {line.pbx or '?'}"
    if line.mode == "monitor":
        trunk += ", which is only watched: the PBX was told nothing"
    facts = [
        ("from", _number(line.orig, line.orig_given)),
        ("to", _number(line.dest, line.dest_given)),
        ("by", trunk),
        ("signer", line.signer and line.signer + (line.attest and f" (attests {line.attest})")),
        ("name", line.name),
        ("forwarded by", line.diverted_by),
        ("placed by", ", ".join(map(str, _list(whole, "originator")))),
        ("came in by", _text(whole, "came_in")),
        ("PBX's id", line.uniqueid),
        ("leg of", "" if line.linkedid == line.uniqueid else line.linkedid),
    ]
    for name, fact in facts:
        if fact:
            yield from _wrapped(f"{fact}", f"  {name:<13}", " " * 15)


def _number(shown: str, given: str) -> str:
    return f"{shown} (as the PBX has it: {given})" if given else shown


def _steps(line: CallLine, whole: Mapping[str, object]) -> Iterator[str]:
    budget = _text(whole, "budget_ms")
    held = "announced the call" if line.mode == "monitor" else "announced the call and held it"
    if budget == str(OVER_MS):
        yield f"{line.pbx or 'The PBX'} {held}; when the service read of it the hold was over"
    else:
        yield f"{line.pbx or 'The PBX'} {held}" + (f", for {budget} ms at most" if budget else "")
    headers = _text(whole, "identity_headers")
    if headers and line.direction != OUT:
        yield f"the call itself carried {_counted(headers, 'Identity header')}"
    asked = [one for one in _list(whole, "asked") if isinstance(one, dict)]
    rejections = [one for one in _list(whole, "rejections") if isinstance(one, dict)]
    why = {_text(one, "step").removeprefix("retrieve "): _text(one, "detail") for one in rejections}
    for cps in asked[:MOST_STEPS]:
        detail = why.get(_text(cps, "cps"), "")
        yield _answer(cps, line.direction) + (f" ({detail})" if detail else "")
    if not asked and line.direction != OUT and line.verdict != "passed":
        yield "no CPS was asked"
    is_told = {_text(one, "cps") for one in asked}
    for one in rejections[:MOST_STEPS]:
        if _text(one, "step").removeprefix("retrieve ") not in is_told:
            yield _rejection(one)
    if headers and line.direction == OUT:
        yield f"the call was given {_counted(headers, 'Identity header')}"
    if contests := _text(whole, "contests"):
        yield f"call {contests} had used the signature"
    yield _end(line, whole)


def _answer(asked: Mapping[str, object], direction: str) -> str:
    cps, answer = _text(asked, "cps"), _text(asked, "answer")
    if direction == OUT:
        took = "it stored all copies" if answer == "ok" else f"it did not store: {answer}"
        return f"{cps} was asked to store it: {took}"
    who = f"{cps} was asked for {_text(asked, 'number')}"
    if not answer:
        return f"{who}, and the verdict stood before it answered"
    when = f"after {_text(asked, 'ms')} ms"
    if answer != "ok":
        return f"{who}: {answer}, {when}"
    opened = _text(asked, "opened")
    # a CPS always gives a few: else nobody could tell them from none
    none = "none of them opened with a key of ours (some are always dummies)"
    ours = {"0": none, "1": "one of them opened"}.get(opened, f"{opened} of them opened")
    return f"{who}: {when} it gave {_counted(_text(asked, 'passports'), 'PASSporT')}, {ours}"


def _rejection(rejection: Mapping[str, object]) -> str:
    step, reason = _text(rejection, "step"), _text(rejection, "reason")
    detail = _text(rejection, "detail")
    if step == "retrieve" or step in _STEPS:
        said = f"rejected at {_STEPS[step]}: {reason}"
    else:
        said = f"{step.removeprefix('retrieve ')}: {reason}"
    return f"{said} ({detail})" if detail else said


def _end(line: CallLine, whole: Mapping[str, object]) -> str:
    decided = _text(whole, "decided_ms")
    when = f"the verdict stood after {decided} ms" if decided else "the verdict stood"
    if line.mode == "monitor":
        return when
    if line.released:
        return f"{when}; the PBX had it after {line.ms:g} ms"
    return f"{when}, but the PBX did not take it: the call had gone on or was over"


def _counted(count: str, what: str) -> str:
    return f"{count} {what}" if count == "1" else f"{count} {what}s"


def _text(whole: Mapping[str, object], key: str) -> str:
    value = whole.get(key)
    return "" if value is None or isinstance(value, dict | list) else str(value)[:LONGEST]


def _list(whole: Mapping[str, object], key: str) -> list[object]:
    value = whole.get(key)
    return value if isinstance(value, list) else []


def _wrapped(text: str, first: str = "", later: str | None = None) -> Iterator[str]:
    yield from textwrap.wrap(
        safe(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if later is None else later,
        break_on_hyphens=False,
    )
