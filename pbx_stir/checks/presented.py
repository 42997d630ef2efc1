"""Checks of what trunks present and are called by: the numbers that recent calls in the log had.

Takes the end of the call log, gives what does not fit the configuration. Numbers whose ends the log
hides are left out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from pbx_stir import configured, configured_callers
from pbx_stir.checks.finding import Finding, error, note, warning
from pbx_stir.checks.places import place
from pbx_stir.config import Loaded
from pbx_stir.errors import MalformedNumber, PbxStirError
from pbx_stir.services.trunk import Trunk
from pbx_stir.stir import number
from pbx_stir.stir.number import NumberSet

MOST_OCTETS: Final = 1 << 20
RECENT_SECONDS: Final = 7 * 86_400.0
# with fewer of a trunk's calls it is an exception, with more a mistake
_SHARE: Final = 0.2
_SUFFIX_DIGITS: Final = 7
_MOST_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Recent:
    """A call of the log, as far as its numbers go."""

    trunk: str
    outbound: bool
    orig: str
    dest: str
    reason: str


@dataclass(slots=True)
class _Odd:
    """Numbers that do not fit, by how often they came."""

    code: str
    says: str
    hint: str
    numbers: Counter[str] = field(default_factory=Counter)

    def finding(self, calls: int, where: str) -> Finding:
        """Say it: as a warning where it is usual on this trunk, as a note where it is not."""
        [(example, times)] = self.numbers.most_common(1)
        odd = self.numbers.total()
        what = f"{odd} of {calls} recent calls {self.says}, {example!r} {times} times"
        make = warning if odd >= _SHARE * calls else note
        return make(self.code, what, where, self.hint)


def check_presented(loaded: Loaded, now: float) -> Iterator[Finding]:
    """Give what recent calls show to be configured otherwise than the trunks are, at ``now``."""
    name = loaded.values.call_log.file
    if name in {"-", "journal", "syslog"}:
        return
    calls = list(recent_calls(loaded.resolve(name), now))
    try:
        trunks = configured_callers.callers(loaded).trunks
        ours = configured.number_set(loaded, "publish.numbers", loaded.values.publish.numbers)
    except PbxStirError:
        # has its own finding
        return
    for unknown in sorted({one.trunk for one in calls} - set(trunks)):
        of_it = sum(one.trunk == unknown for one in calls)
        hint = f'a [[trunk]] with name = "{unknown[:_MOST_SHOWN]}", or the name in the dialplan'
        what = f"the dialplan calls a trunk {unknown[:_MOST_SHOWN]!r}, in {of_it} recent calls"
        yield error("trunk-unknown", what, place(loaded, "trunk"), hint)
    if loaded.values.call_log.numbers != "full":
        return
    for index, section in enumerate(loaded.values.trunk):
        where = place(loaded, f"trunk[{index}]")
        mine = [one for one in calls if one.trunk == section.name]
        trunk = trunks[section.name]
        leaving = [one for one in mine if one.outbound]
        yield from _found(leaving, _leaving(trunk), where, lambda one: one.orig)
        if ours:
            coming = [one for one in mine if not one.outbound]
            yield from _found(coming, _coming(trunk, ours), where, lambda one: one.dest)


def recent_calls(path: Path, now: float) -> Iterator[Recent]:
    """Give the calls at the end of a call log that are of the last days and have whole numbers."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST_OCTETS))
            lines = file.read(MOST_OCTETS).split(b"\n")
    except (OSError, ValueError):
        # that it cannot be written has its own finding
        return
    # the first one may be the end of a line
    for line in lines[1:] if size > MOST_OCTETS else lines:
        call = _read(line, now)
        if call is not None:
            yield call


def _read(line: bytes, now: float) -> Recent | None:
    """A line as a call that says something: not forwarded, with whole numbers, not withheld."""
    try:
        said = json.loads(line)
        at = datetime.fromisoformat(said["time"]).timestamp()
        call = Recent(
            str(said["trunk"]),
            said["direction"] == "out",
            str(said["orig"]),
            str(said["dest"]),
            str(said["reason"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    if said.get("event") != "call" or (said.get("came_in") and call.outbound):
        return None
    shown = call.orig if call.outbound else call.dest
    is_whole = "x" not in shown and bool(shown) and not number.is_anonymous(shown)
    return call if is_whole and now - at <= RECENT_SECONDS else None


def _leaving(trunk: Trunk) -> Callable[[Recent], _Odd | None]:
    """Judges what a trunk presents."""
    unreadable = _Odd(
        "caller-id-unreadable",
        "left with a caller ID that is no telephone number",
        "set CALLERID(num) to one of the trunk's numbers before the hook, or present = one",
    )
    misread = _Odd(
        "caller-id-format",
        "left with a caller ID that ends as one of our numbers and is read as another",
        "compare country_code, national_prefix and strip with what the trunk presents",
    )
    foreign = _Odd(
        "caller-id-foreign",
        "left with a caller ID that is none of the trunk's numbers",
        "add it to numbers if it is yours and your certificate covers it",
    )

    def judge(call: Recent) -> _Odd | None:
        try:
            orig = number.outbound(call.orig, trunk.rules)
        except MalformedNumber:
            return unreadable
        if orig in trunk.numbers or not trunk.numbers:
            return None
        return misread if ends_as_one_of(orig, trunk.numbers) else foreign

    return judge


def _coming(trunk: Trunk, ours: NumberSet) -> Callable[[Recent], _Odd | None]:
    """Judges what a trunk is called by."""
    unknown = _Odd(
        "called-number-unknown",
        "came in for a number that is none of publish.numbers",
        "map it in the trunk's called, or compare country_code with what the trunk gives",
    )

    def judge(call: Recent) -> _Odd | None:
        try:
            meant = number.called(call.dest, trunk.rules, trunk.aliases)
        except MalformedNumber:
            return unknown
        return None if any(one in ours for one in meant) else unknown

    return judge


def _found(
    calls: list[Recent],
    judge: Callable[[Recent], _Odd | None],
    where: str,
    shown: Callable[[Recent], str],
) -> Iterator[Finding]:
    found: dict[str, _Odd] = {}
    for call in calls:
        odd = judge(call)
        if odd is not None:
            odd.numbers[shown(call)[:_MOST_SHOWN]] += 1
            found[odd.code] = odd
    for odd in found.values():
        yield odd.finding(len(calls), where)


def ends_as_one_of(digits: str, numbers: NumberSet) -> bool:
    """Whether one of ``numbers`` has the last seven of ``digits``, and so may be meant."""
    if len(digits) < _SUFFIX_DIGITS:
        return False
    modulus = 10**_SUFFIX_DIGITS
    ending = int(digits[-_SUFFIX_DIGITS:])
    for spans in numbers.ranges.values():
        for first, last in spans:
            nearest = first - first % modulus + ending
            if nearest < first:
                nearest += modulus
            if nearest <= last:
                return True
    return False
