"""What each CPS that was asked for a call has answered, for the call's record.

Takes who is asked, and each answer as it arrives; gives one ``Asked`` for each CPS and number.
Knows no contents: only how many there were, how many opened, and when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pbx_stir.services.call import Asked
from pbx_stir.services.placement_service import Answer, BareAnswer


class Asking:
    """The retrievals of one call."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], Asked] = {}

    def ask(self, wanted: Sequence[tuple[str, str]]) -> None:
        """Each (CPS, number) is asked now."""
        self._asked = {(cps, one): Asked(cps, one, heard=False) for cps, one in wanted}

    def hear(self, answer: Answer | BareAnswer, ms: float) -> bool:
        """An answer came, ``ms`` after the call did; returns whether it is its CPS's first."""
        place = (answer.cps, answer.number)
        known = self._asked.get(place)
        passports = answer.passports if isinstance(answer, BareAnswer) else answer.blobs
        if known is None or not known.heard:
            self._asked[place] = Asked(
                *place, reason=answer.reason, passports=len(passports), ms=ms
            )
            return True
        if answer.reason is None:
            # a later answer may repeat what an earlier one had
            most = max(known.passports, len(passports))
            self._asked[place] = replace(known, reason=None, passports=most)
        return False

    def opened(self, answer: Answer | BareAnswer, count: int) -> None:
        """So many of what it held were for us."""
        place = (answer.cps, answer.number)
        known = self._asked[place]
        self._asked[place] = replace(known, opened=known.opened + count)

    @property
    def anyone(self) -> bool:
        """Whether anyone was asked."""
        return bool(self._asked)

    @property
    def answered(self) -> bool:
        """Whether anyone has said what it holds."""
        return any(one.heard and one.reason is None for one in self._asked.values())

    def told(self) -> tuple[Asked, ...]:
        """All of it, in the order they were asked."""
        return tuple(self._asked.values())
