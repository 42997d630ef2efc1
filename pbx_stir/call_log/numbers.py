"""How telephone numbers stand in the call log: in full, shortened, or as keyed hashes.

Takes text in which numbers may stand, grouped in whatever way, gives it with them hidden. A hash is
``h:`` and sixteen letters: 64 bits of HMAC-SHA256 over the number's digits. Equal numbers have
equal hashes under one key, and who has the key can try out every number there is.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# digits as people and protocols group them: "+1 (212) 555-1234", "1.2.1.2.5.5.5.1.2.3.4"
_GROUPED: Final = re.compile(r"\d(?:[-. ()/]{0,3}\d)*")
_HIDDEN_DIGITS: Final = 4
_LONGEST_SHORT: Final = 6
# no digits, so that what is hidden is not hidden again, and no vowels: it makes no words
_LETTERS: Final = "bcdfghjklmnpqrst"
_HASH_OCTETS: Final = 8
HASH_MARK: Final = "h:"
KEY_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class Style:
    """How numbers stand: ``number`` writes a number or URI, ``text`` what may have numbers in it.

    ``plain``: they stand as they are.
    """

    number: Callable[[str], str]
    text: Callable[[str], str]
    plain: bool = False


def style(numbers: str, key: bytes = b"") -> Style:
    """The style of that name: "full", "short", or "hash" with its ``key`` of KEY_OCTETS octets.

    Raises:
        ValueError: another name, or a key that is none
    """
    if numbers == "full":
        return Style(str, str, plain=True)
    if numbers == "short":
        return Style(shortened, hide_digits)
    if numbers != "hash" or len(key) != KEY_OCTETS:
        raise ValueError(f"no style {numbers!r}, or no key of {KEY_OCTETS} octets for it")

    @lru_cache(maxsize=1024)
    def hashed_once(digits: str) -> str:
        return _hashed(key, digits)

    def write(digits: str) -> str:
        return hashed_once("".join(one for one in digits if one.isdecimal()))

    return Style(
        number=lambda text: _each(text.removeprefix("+"), write, harmless=0),
        text=lambda text: _each(text, write, harmless=_LONGEST_SHORT),
    )


def shortened(number: str) -> str:
    """``number`` with its last four digits hidden; what has up to six digits is hidden whole.

    Where it is a URI, that holds for each group of digits in it.
    """
    return _each(number, _shorten, harmless=0)


def hide_digits(text: str) -> str:
    """``text`` with the last four digits of each group of more than six hidden."""
    return _each(text, _shorten, harmless=_LONGEST_SHORT)


def _shorten(grouped: str) -> str:
    digits = sum(one.isdecimal() for one in grouped)
    shown = digits - _HIDDEN_DIGITS if digits > _LONGEST_SHORT else 0
    written = ""
    for one in grouped:
        if one.isdecimal():
            shown -= 1
        written += "x" if one.isdecimal() and shown < 0 else one
    return written


def _each(text: str, write: Callable[[str], str], *, harmless: int) -> str:
    """``text`` with each group of more digits than ``harmless`` written another way."""

    def written(found: re.Match[str]) -> str:
        digits = sum(one.isdecimal() for one in found[0])
        return found[0] if digits <= harmless else write(found[0])

    return _GROUPED.sub(written, text)


def _hashed(key: bytes, digits: str) -> str:
    octets = hmac.digest(key, digits.encode(), hashlib.sha256)[:_HASH_OCTETS]
    return HASH_MARK + "".join(_LETTERS[one >> 4] + _LETTERS[one & 15] for one in octets)
