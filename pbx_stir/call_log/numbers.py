"""How telephone numbers stand in the call log.

Takes text in which numbers may stand, grouped in whatever way, gives it with them hidden.
"""

from __future__ import annotations

import re
from typing import Final

# digits as people and protocols group them: "+1 (212) 555-1234", "1.2.1.2.5.5.5.1.2.3.4"
_GROUPED: Final = re.compile(r"\d(?:[-. ()/]{0,3}\d)*")
_HIDDEN_DIGITS: Final = 4
_LONGEST_SHORT: Final = 6


def shortened(number: str) -> str:
    """``number`` with its last four digits hidden; what has up to six digits is hidden whole.

    Where it is a URI, that holds for each group of digits in it.
    """
    return _hide_digits(number, harmless=0)


def hide_digits(text: str) -> str:
    """``text`` with the last four digits of each group of more than six hidden."""
    return _hide_digits(text, harmless=_LONGEST_SHORT)


def _hide_digits(text: str, *, harmless: int) -> str:
    def hidden(found: re.Match[str]) -> str:
        digits = sum(one.isdecimal() for one in found[0])
        if digits <= harmless:
            return found[0]
        shown = digits - _HIDDEN_DIGITS if digits > _LONGEST_SHORT else 0
        written = ""
        for one in found[0]:
            if one.isdecimal():
                shown -= 1
            written += "x" if one.isdecimal() and shown < 0 else one
        return written

    return _GROUPED.sub(hidden, text)
