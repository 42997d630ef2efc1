"""What a line of the call log says: reception's records as JSON objects.

Takes a Record, gives its line; docs/call-log.md explains each field. Nothing secret stands in a
``Record``, and of a PASSporT only what was judged. Everything a stranger has worded is bounded.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pbx_stir.call_log.numbers import Style
from pbx_stir.services.call import Asked, Call, Direction, Outcome, Reason, Rejection

if TYPE_CHECKING:
    from pbx_stir.services.reception import Record
    from pbx_stir.services.used import Claim

MOST_REJECTIONS: Final = 20
MOST_ASKED: Final = 16
LONGEST_DETAIL: Final = 200
LONGEST_GIVEN: Final = 120

Line = dict[str, object]


class Lines:
    """Makes lines, with numbers as ``style`` writes them."""

    def __init__(self, style: Style) -> None:
        self._style = style

    def call(self, record: Record) -> Line:
        """The one line of a call."""
        call, outcome = record.call, record.outcome
        line: Line = {
            "event": "call",
            "time": _stamp(record.at),
            "id": record.call_id,
            "pbx": call.pbx,
            "uniqueid": call.unique_id,
            "linkedid": call.linked_id,
            "direction": call.direction.value,
            "mode": call.mode.value,
            "trunk": call.trunk,
            **self._numbers(call, outcome),
            "reason": outcome.reason.value,
            "ms": round(record.ms, 1),
            "decided_ms": round(record.decided_ms, 1),
            "budget_ms": call.budget_ms,
            "released": record.released,
        }
        if call.direction is Direction.OUTBOUND:
            line["status"] = outcome.status.value if outcome.status else ""
            line["originator"] = [self._style.text(one) for one in call.originator]
            line["came_in"] = call.came_in
        else:
            line["verstat"] = outcome.verstat.value if outcome.verstat else ""
        line["attest"] = outcome.attest
        # a certificate may be named for the number it is for
        line["signer"] = self._style.text(outcome.signer)
        line.update(self._where_it_applies(record))
        line.update(self._lists(record))
        return line

    def contested(self, first: Claim, second: Record) -> Line:
        """Two calls claimed one PASSporT: ``first``, which passed, and ``second``."""
        return {
            "event": "contested",
            "time": _stamp(second.at),
            "id": first.call_id,
            "pbx": first.pbx,
            "uniqueid": first.unique_id,
            "linkedid": first.linked_id,
            "direction": Direction.INBOUND.value,
            "trunk": first.trunk,
            "orig": self._style.number(first.orig),
            "dest": self._style.number(first.dest),
            "reason": Reason.CONTESTED.value,
            "claimed_by": second.call_id,
            "note": "two calls claimed this signature; either may be the genuine one",
        }

    def _numbers(self, call: Call, outcome: Outcome) -> Line:
        """Canonical where they could be made so; as the PBX has them where that differs."""
        orig, dest = outcome.orig or call.orig, outcome.dest or call.dest
        line: Line = {"orig": self._style.number(orig), "dest": self._style.number(dest)}
        for key, given, shown in (("orig_given", call.orig, orig), ("dest_given", call.dest, dest)):
            if given != shown:
                line[key] = self._style.number(given[:LONGEST_GIVEN])
        return line

    def _where_it_applies(self, record: Record) -> Line:
        call, outcome = record.call, record.outcome
        line: Line = {}
        if call.restricted:
            line["restricted"] = True
        if outcome.diverted_by:
            line["diverted_by"] = self._style.number(outcome.diverted_by)
        is_outbound = call.direction is Direction.OUTBOUND
        headers = outcome.identity if is_outbound else call.identity
        if headers:
            line["identity_headers"] = len(headers)
        if outcome.name:
            line["name"] = self._style.text(outcome.name)
        if outcome.call_reason:
            line["call_reason"] = self._style.text(outcome.call_reason)
        if outcome.contests is not None:
            line["contests"] = outcome.contests.call_id
        if outcome.detail:
            line["detail"] = self._said(outcome.detail, record)
        return line

    def _lists(self, record: Record) -> Line:
        outcome = record.outcome
        line: Line = {}
        if outcome.asked:
            line["asked"] = [self._asked(one) for one in outcome.asked[:MOST_ASKED]]
        if outcome.rejections:
            shown = outcome.rejections[:MOST_REJECTIONS]
            line["rejections"] = [self._rejection(one, record) for one in shown]
        for key, total, most in (
            ("asked_left_out", len(outcome.asked), MOST_ASKED),
            ("rejections_left_out", len(outcome.rejections), MOST_REJECTIONS),
        ):
            if total > most:
                line[key] = total - most
        return line

    def _asked(self, asked: Asked) -> Line:
        said = "ok" if asked.reason is None else asked.reason.value
        line: Line = {
            "cps": self._style.text(asked.cps),
            "number": self._style.number(asked.number),
            "answer": said if asked.heard else "",
        }
        if asked.ms is not None:
            line |= {
                "passports": asked.passports,
                "opened": asked.opened,
                "ms": round(asked.ms, 1),
            }
        return line

    def _rejection(self, rejection: Rejection, record: Record) -> dict[str, str]:
        said = {"step": self._style.text(rejection.step), "reason": rejection.reason.value}
        if rejection.detail:
            said["detail"] = self._said(rejection.detail, record)
        return said

    def _said(self, detail: str, record: Record) -> str:
        """A detail may quote the numbers; they are shown as everywhere in the line."""
        if not self._style.plain:
            call, outcome = record.call, record.outcome
            for number in {outcome.orig, outcome.dest, call.orig, call.dest} - {""}:
                # a short one only where it stands alone: "1" is not hidden in "10.1 s"
                alone = rf"(?<![\w.]){re.escape(number)}(?![\w.])"
                # a backslash in what a PBX says was called is no escape here
                shown = self._style.number(number).replace("\\", r"\\")
                detail = re.sub(alone, shown, detail)
        return self._style.text(detail)[:LONGEST_DETAIL]


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
