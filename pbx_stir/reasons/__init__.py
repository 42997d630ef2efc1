"""What each reason word means to people, what causes it, and what can be done: the one table.

Pure text. ``pbx-stir calls explain`` and the call board show it, and docs/troubleshooting.md is
made of it. No word calls a caller a fraud: absence of a signature is no sign of one (RFC 8816
section 7.2), and even a false signature is often a broken machine on the way.
"""

from __future__ import annotations

from pbx_stir.reasons.either import EITHER
from pbx_stir.reasons.explanation import Explanation
from pbx_stir.reasons.inbound import INBOUND
from pbx_stir.reasons.outbound import OUTBOUND
from pbx_stir.services.call import Direction, Reason

__all__ = ["EITHER", "INBOUND", "OUTBOUND", "Explanation", "explanation", "of_word"]


def explanation(reason: Reason, direction: Direction) -> Explanation:
    """What ``reason`` means for a call of that direction; one of the other way has a text too."""
    own, other = (INBOUND, OUTBOUND) if direction is Direction.INBOUND else (OUTBOUND, INBOUND)
    return own.get(reason) or EITHER.get(reason) or other[reason]


def of_word(word: str) -> tuple[tuple[str, Explanation], ...]:
    """What a word means, by direction ("in", "out", "both"); () where it is none of ours."""
    try:
        reason = Reason(word)
    except ValueError:
        return ()
    tables = (("in", INBOUND), ("out", OUTBOUND), ("both", EITHER))
    return tuple((way, table[reason]) for way, table in tables if reason in table)
