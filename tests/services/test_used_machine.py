"""Single use as a state machine: whatever calls come, go and are lost, a PASSporT passes one.

Both memories are driven by the same steps, and judged by what has happened, not by what they
remember: a call passes when its verdict was given (reserved, then confirmed).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pbx_stir.services.used import FAILOVER_SECONDS, Claim, SingleUse, Use, UsedPassports
from pbx_stir.used_database import UsedDatabase

_T = TypeVar("_T")
KEYS = ("a" * 64, "b" * 64)
CALLS = ("1", "2", "3")
LIFETIME = 100.0


@dataclass
class Leg:
    """One hook of one call that asked for one PASSporT, and what became of it."""

    key: str
    call: str
    claim: Claim
    asked_at: float
    use: Use
    settled: str = ""
    over_at: float | None = None
    answered: bool = False


@dataclass
class Seen:
    """All that has happened to one PASSporT."""

    legs: list[Leg] = field(default_factory=list)

    def passed(self) -> list[Leg]:
        """Those whose verdict was given."""
        return [leg for leg in self.legs if leg.settled == "confirmed"]


class SingleUseMachine(RuleBasedStateMachine):
    """Calls ask, are released or lost, end, and time goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.seen = {key: Seen() for key in KEYS}
        self.serial = 0
        self.used = self.memory()

    def memory(self) -> SingleUse:
        """The memory that is tried."""
        return UsedPassports()

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Await one step, which waits for nothing."""
        try:
            work.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        raise AssertionError("it waits")

    # after that no check of freshness lets it come as far
    @precondition(lambda self: self.now <= 1_000.0 + LIFETIME)
    @rule(key=st.sampled_from(KEYS), call=st.sampled_from(CALLS))
    def ask(self, key: str, call: str) -> None:
        """One more leg of a call comes with this PASSporT."""
        self.serial += 1
        name = f"{call}.{self.serial}"
        claim = Claim("pbx", name, call, "carrier", "12125550100", "13105550100", name)
        until = 1_000.0 + LIFETIME
        found = self.do(self.used.reserve(key, claim, until, self.now, self.now))
        leg = Leg(key, call, claim, self.now, found.use)
        self._check(leg)
        if found.use is not Use.TAKEN:
            self.seen[key].legs.append(leg)
        else:
            assert found.holder is not None
            assert found.holder.linked_id != call

    def _check(self, leg: Leg) -> None:
        """What it was given follows from what has happened."""
        others = [
            one for one in self.seen[leg.key].legs
            if one.call != leg.call and one.settled != "given back"
        ]  # fmt: skip
        if leg.use is Use.FRESH:
            assert not others, "given to a second call as if nobody had it"
        if leg.use is Use.AGAIN:
            assert all(one.settled == "confirmed" for one in others)
            assert all(one.over_at is not None and not one.answered for one in others)
            assert len({one.call for one in others}) == 1, "given a third time"
            last = max(one.over_at or 0.0 for one in others)
            assert 0 <= self.now - last < FAILOVER_SECONDS

    def _waiting(self) -> list[Leg]:
        return [leg for seen in self.seen.values() for leg in seen.legs if not leg.settled]

    def _up(self) -> list[Leg]:
        return [leg for seen in self.seen.values() for leg in seen.passed() if leg.over_at is None]

    @precondition(lambda self: self._waiting())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """The PBX takes the verdict."""
        leg = data.draw(st.sampled_from(self._waiting()))
        self.do(self.used.confirm(leg.key, leg.claim, self.now))
        leg.settled = "confirmed"

    @precondition(lambda self: self._waiting())
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """The call was gone before its verdict."""
        leg = data.draw(st.sampled_from(self._waiting()))
        self.do(self.used.give_back(leg.key, leg.claim, self.now))
        leg.settled = "given back"

    @precondition(lambda self: self._up())
    @rule(data=st.data(), answered=st.booleans())
    def end(self, data: st.DataObject, answered: bool) -> None:
        """A call that had passed is over."""
        leg = data.draw(st.sampled_from(self._up()))
        self.do(self.used.ended("pbx", leg.claim.unique_id, answered, self.now))
        leg.over_at, leg.answered = self.now, answered

    @rule(seconds=st.sampled_from([0.5, 3.0, FAILOVER_SECONDS, 30.0]))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @invariant()
    def one_call_has_it(self) -> None:
        """Never do two calls that may be genuine both have one PASSporT, but by fail-over."""
        for seen in self.seen.values():
            now_up = {
                leg.call for leg in seen.passed()
                if leg.over_at is None or leg.answered
            }  # fmt: skip
            assert len(now_up) <= 1


class SingleUseFileMachine(SingleUseMachine):
    """The same on the file that listeners share; it is opened anew now and then."""

    def memory(self) -> SingleUse:
        """A file of its own."""
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        return UsedDatabase(Path(self.folder.name) / "used.sqlite")

    def do(self, work: Coroutine[Any, Any, _T]) -> _T:
        """In one loop: the file's thread answers there."""
        return self.runner.run(work)

    @rule()
    def restart(self) -> None:
        """The listener is started again."""
        assert isinstance(self.used, UsedDatabase)
        self.used.close()
        self.used = UsedDatabase(Path(self.folder.name) / "used.sqlite")

    def teardown(self) -> None:
        """Close it."""
        assert isinstance(self.used, UsedDatabase)
        self.used.close()
        self.runner.close()
        self.folder.cleanup()


@pytest.mark.parametrize(
    ("machine", "examples", "steps"),
    [(SingleUseMachine, 100, 40), (SingleUseFileMachine, 5, 20)],
    ids=["memory", "file"],
)
def test_one_passport_passes_one_call(
    machine: type[SingleUseMachine], examples: int, steps: int
) -> None:
    """Whatever the order of asking, releasing, losing, ending and waiting."""
    case = machine.TestCase
    case.settings = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
