"""What the dialplan is told of an Outcome: ordered names and values.

Takes an Outcome, gives (name, value) pairs with Asterisk's upper-case names; FreeSWITCH has the
same names in lower case. Every name is always there, empty where it does not apply, so that
nothing of an earlier hook survives. Knows no PBX and how none of it is written.

Nothing that a stranger chose leaves here unless it is of the whitelist: a signer's name comes from
a certificate, which its owner has worded, and a caller's name from a PASSporT.
"""

from __future__ import annotations

import re
from typing import Final

from pbx_stir.services.call import Outcome

WHITELIST: Final = "A-Za-z0-9 .+@_-"
_FOREIGN: Final = re.compile(f"[^{WHITELIST}]")
LONGEST_VALUE: Final = 96

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


def whitelisted(text: str, longest: int = LONGEST_VALUE) -> str:
    """``text`` without any character outside the whitelist, cut to ``longest`` characters."""
    return _FOREIGN.sub("", text[: 4 * longest])[:longest]


def variables(outcome: Outcome, call_id: str) -> tuple[tuple[str, str], ...]:
    """The pairs for ``outcome``, in the order of ``NAMES``; ``call_id`` is the call log's id.

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
    return tuple((name, whitelisted(value)) for name, value in zip(NAMES, values, strict=True))
