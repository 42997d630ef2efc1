"""The verdict of a call that nothing has verified, and its reason.

Takes the rejections of a search, gives an Outcome: No-TN-Validation, for the reason of the PASSporT
that came furthest.
"""

from __future__ import annotations

from typing import Final

from pbx_stir.services.call import Outcome, Reason, Rejection, Verstat
from pbx_stir.services.candidates import Numbers
from pbx_stir.services.steps import furthest

CLOCK_OFF_SECONDS: Final = 10.0


def unverified(
    reason: Reason,
    numbers: Numbers | None = None,
    rejections: tuple[Rejection, ...] = (),
    detail: str = "",
) -> Outcome:
    """No-TN-Validation for this reason."""
    return Outcome(
        reason,
        verstat=Verstat.NONE,
        orig=numbers.shown[0] if numbers else "",
        dest=numbers.shown[1] if numbers else "",
        rejections=rejections,
        detail=detail,
    )


def of_rejections(
    rejections: tuple[Rejection, ...],
    numbers: Numbers,
    *,
    asked: bool,
    heard: bool,
    clock_offset: float,
) -> Outcome:
    """The verdict when none passed.

    ``asked``: there was a CPS to ask; ``heard``: one of them answered. ``clock_offset``: how far
    its clock is ahead of ours, seconds.
    """
    worst = furthest(rejections)
    reason = worst.reason if worst else Reason.NO_PASSPORT
    if reason in {Reason.CPS_UNAVAILABLE, Reason.CPS_REFUSED} and heard:
        reason = Reason.NO_PASSPORT
    if reason in {Reason.STALE, Reason.FUTURE_IAT} and abs(clock_offset) > CLOCK_OFF_SECONDS:
        reason = Reason.CLOCK
    if not asked:
        rejections += (Rejection("retrieve", Reason.NO_PASSPORT, "no route serves the number"),)
    detail = worst.detail if worst and reason is worst.reason else ""
    return unverified(reason, numbers, rejections, detail)
