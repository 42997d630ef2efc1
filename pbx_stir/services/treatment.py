"""What the dialplan is told of an Outcome: ordered names and values.

Takes an Outcome, gives (name, value) pairs with Asterisk's upper-case names; FreeSWITCH has the
same names in lower case. Every name is always there, empty where it does not apply, so that
nothing of an earlier hook survives. Knows no PBX and how none of it is written.

Nothing that a stranger chose leaves here unless it is of a whitelist: a signer's name comes from
a certificate, which its owner has worded, and a caller's name from a PASSporT. Identity headers for
the call itself come after the rest, percent-encoded.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

from pbx_stir.services.call import Outcome

WHITELIST: Final = "A-Za-z0-9 .+@_-"
_FOREIGN: Final = re.compile(f"[^{WHITELIST}]")
LONGEST_VALUE: Final = 96
LONGEST_NAME: Final = 64
# what neither PBX takes for its own syntax, anywhere that a dialplan may put a name
SIGNS: Final = frozenset(" .+@_-\N{RIGHT SINGLE QUOTATION MARK}\N{MIDDLE DOT}")
# letters and marks that show nothing, or choose how another one is shown
_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_APOSTROPHES: Final = re.compile("['\u02bc\uff07]")
MOST_MARKS: Final = 3
MOST_PASSES: Final = 8
# percent-encoded; more than a PBX can be handed over
LONGEST_HEADER: Final = 3_600
_HEADER: Final = re.compile(r"[A-Za-z0-9._~:/@;=<>\"+-]+")

NAMES: Final = (
    "STIR_STATUS",
    "STIR_VERSTAT",
    "STIR_REASON",
    "STIR_ATTEST",
    "STIR_ORIG",
    "STIR_DEST",
    "STIR_SIGNER",
    "STIR_ID",
    "STIR_NAME",
    "STIR_CALL_REASON",
    "STIR_DIVERTED_BY",
)
# the first letters of the names of headers; their numbers follow
HEADER: Final = "STIR_IDENTITY_"


def whitelisted(text: str, longest: int = LONGEST_VALUE) -> str:
    """``text`` without any character outside the whitelist, cut to ``longest`` characters."""
    return _FOREIGN.sub("", text[: 4 * longest])[:longest]


def readable(text: str, longest: int = LONGEST_NAME) -> str:
    """``text`` as people may be shown it: letters, marks and digits of any script, a few signs.

    Cut to ``longest`` characters. Nothing is left that directs how text runs, that cannot be seen,
    or that a dialplan could take for its syntax; no letter has more than ``MOST_MARKS`` marks, and
    no two blanks stand together. What is readable is left as it is.
    """
    if not text:
        return ""
    # marks that have joined a letter, or lost what stood before them, leave room for others
    for _ in range(MOST_PASSES):
        before, text = text, _sifted(text, longest)
        if text == before:
            return text
    return whitelisted(text, longest)


def _sifted(text: str, longest: int) -> str:
    straight = _APOSTROPHES.sub("\N{RIGHT SINGLE QUOTATION MARK}", text[: 4 * longest])
    found: list[str] = []
    marks = 0
    for one in _UNSEEN.sub("", unicodedata.normalize("NFC", straight)):
        kind = unicodedata.category(one)
        marks = marks + 1 if kind[0] == "M" else 0
        if one.isspace():
            found.append(" ")
        elif kind[0] == "L" or kind == "Nd" or (0 < marks <= MOST_MARKS and found) or one in SIGNS:
            found.append(one)
    joined = " ".join("".join(found).split())
    # what stood between a letter and its mark is gone
    return unicodedata.normalize("NFC", joined)[:longest].rstrip()


def encoded(header: str) -> str:
    """The value of an Identity header as it is handed over: percent-encoded (RFC 3986).

    Empty for one that is too long, or whose URL has characters that a PBX might expand.
    """
    value = quote(header, safe="")
    return value if _HEADER.fullmatch(header) and len(value) <= LONGEST_HEADER else ""


def variables(outcome: Outcome, call_id: str) -> tuple[tuple[str, str], ...]:
    """The pairs for ``outcome``, in the order of ``NAMES``; ``call_id`` is the call log's id.

    After them come ``STIR_IDENTITY_1`` and so on, for as many headers as the call shall carry.
    ``STIR_MS`` is missing on purpose: only the dialplan knows what its hold cost.
    """
    values = (
        outcome.status.value if outcome.status else "",
        outcome.verstat.value if outcome.verstat else "",
        outcome.reason.value,
        outcome.attest,
        outcome.orig,
        outcome.dest,
        outcome.signer,
        call_id,
        outcome.name,
        outcome.call_reason,
        outcome.diverted_by,
    )
    said = {name: whitelisted(value) for name, value in zip(NAMES, values, strict=True)}
    said["STIR_NAME"] = readable(outcome.name)
    said["STIR_CALL_REASON"] = readable(outcome.call_reason, LONGEST_VALUE)
    for number, header in enumerate(outcome.identity, start=1):
        said[f"{HEADER}{number}"] = encoded(header)
    return tuple(said.items())
