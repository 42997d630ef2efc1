"""The form of what is said of a reason word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NOTHING: Final = "Nothing to do."


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a word means for the calls of one direction.

    ``short`` is a clause that follows a verdict's word ("Not verified: ..."). ``meaning`` says what
    is known of the call, ``remedy`` what to do, NOTHING where there is nothing; both are sentences.
    ``causes`` are what has likely brought it about, most likely first, none where the meaning says
    it. ``commands`` show more of it, besides ``pbx-stir calls explain``.
    """

    short: str
    meaning: str
    remedy: str = NOTHING
    causes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
