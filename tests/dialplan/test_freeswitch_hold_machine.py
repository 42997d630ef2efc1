"""The hold of the real pbx_stir.lua: two hooks on one leg, whatever is written to it.

Hypothesis draws what a listener and strangers write, and when: answers in time, late, twice, in
parts, to a hook that is over, to none, and a hang-up. What an answer is comes from the real
``hook.pack_answer``. Judged by what the leg shows after each hook.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pbx_stir.pbx import hook
from tests.dialplan.stand_in import CALL, LISTENER, LUA, NOW_MS, ON, Outcome, run_script

BUDGET_MS = 200
# one look of the script more, and the clock's own step
SLACK_MS = 30
NOBODY = "f" * 16
VERDICTS = ("TN-Validation-Passed", "No-TN-Validation", "TN-Validation-Failed")


def lower(writes: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """As FreeSWITCH names them."""
    return [(name.lower(), value) for name, value in writes]


def nonce_of(number: int) -> str:
    """The nonce of the hook with this number, from 1 on, as the stand-in makes its ids."""
    return f"{number:08x}-0000-4000-8000-{number:012x}".replace("-", "")[-16:]


@dataclass(frozen=True)
class Answer:
    """One answer that somebody writes; ``ms`` is counted from the beginning of the first hook."""

    ms: int
    nonce: str
    verdict: str
    is_long: bool
    name: str
    gap: int

    def variables(self) -> tuple[tuple[str, str], ...]:
        """What its maker says."""
        said = {"STIR_VERSTAT": self.verdict, "STIR_REASON": "verified", "STIR_ID": self.name}
        if self.is_long:
            said |= {"STIR_NAME": "n" * 480, "STIR_SIGNER": "s" * 480}
        return tuple(said.items())

    def writes(self) -> list[list[Any]]:
        """What is written for it, in its order."""
        packed = hook.pack_answer(self.nonce, self.variables())
        return [[self.ms + n * self.gap, *w] for n, w in enumerate(lower(packed))]

    @property
    def last_ms(self) -> int:
        """When all of it has been written."""
        return int(self.writes()[-1][0])


@dataclass(frozen=True)
class Scene:
    """Two hooks on a leg, and what happens meanwhile."""

    answers: tuple[Answer, ...]
    hangup_ms: int | None
    new_heartbeat: bool


NONCES = (nonce_of(1), nonce_of(2), NOBODY)
ANSWERS = st.builds(
    Answer,
    st.integers(1, 2 * BUDGET_MS + 60),
    st.sampled_from(NONCES),
    st.sampled_from(VERDICTS),
    st.booleans(),
    st.integers(0, 0xFFFF).map(lambda number: f"{number:04x}"),
    st.sampled_from([0, 0, 15]),
)
SCENES = st.builds(
    Scene,
    st.lists(ANSWERS, max_size=6).map(lambda a: tuple(sorted(a, key=lambda one: one.ms))),
    st.none() | st.integers(1, 2 * BUDGET_MS),
    st.booleans(),
)


@dataclass
class Leg:
    """A leg as it goes from hook to hook."""

    folder: Path
    scene: Scene
    channel: dict[str, str] = field(default_factory=lambda: dict(CALL))
    globals: dict[str, str] = field(
        default_factory=lambda: {**ON, "stir_budget_carrier": str(BUDGET_MS)}
    )
    passed: int = 0

    def run(self, number: int) -> Outcome:
        """The inbound hook, for the ``number``th time."""
        writes = [w for a in self.scene.answers for w in a.writes() if w[0] > self.passed]
        writes.sort(key=lambda one: one[0])
        left = None if self.scene.hangup_ms is None else self.scene.hangup_ms - self.passed
        done = run_script(
            self.folder, "pbx_stir.lua", ("inbound", "carrier"),
            channel=self.channel, globals=self.globals, ids=number - 1, clock=NOW_MS + self.passed,
            writes=[[ms - self.passed, name, value] for ms, name, value in writes],
            **({} if left is None else {"hangup_ms": left}),
        )  # fmt: skip
        self.passed += done.slept
        self.channel, self.globals = done.variables, {**self.globals, **done.globals}
        return done


def possible(answers: Sequence[Answer], nonce: str, began: int) -> list[Answer]:
    """The answers to one hook that can have come in time."""
    end = began + BUDGET_MS + SLACK_MS
    return [one for one in answers if one.nonce == nonce and began < one.last_ms <= end]


def check(done: Outcome, mine: list[Answer], is_gone: bool, is_alone: bool) -> None:
    """One hook: at most one verdict, made for it, whole; else a time-out or nothing at all."""
    said = done.stir()
    assert done.slept <= BUDGET_MS + SLACK_MS
    assert "answer" not in said
    assert done.logged == []
    if said.get("reason") == "timeout":
        # one that was written over by another before it was read is lost
        assert not (is_alone and [one for one in mine if one.last_ms <= BUDGET_MS - SLACK_MS])
        assert said["verstat"] == "No-TN-Validation"
    elif "verstat" in said:
        whole = [dict(one.variables()) for one in mine]
        names = ("verstat", "reason", "id", "name", "signer")
        shown = {name: said.get(name, "") for name in names}
        assert shown in [
            {name: one.get(f"STIR_{name.upper()}", "") for name in names} for one in whole
        ]
    else:
        assert is_gone


@pytest.mark.skipif(LUA is None, reason="no lua5.2: install Debian's package lua5.2")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(SCENES)
@example(Scene((Answer(50, NONCES[0], VERDICTS[0], True, "0a", 15),), None, True))
@example(Scene((Answer(BUDGET_MS + 80, NONCES[0], VERDICTS[0], False, "0a", 0),), None, True))
def test_a_verdict_reaches_only_the_hook_it_was_made_for(scene: Scene) -> None:
    """Whole, once and in time, whatever else is written, when, and to which hook.

    After a time-out nobody waits for the same heartbeat; a new one is waited for again.
    """
    with tempfile.TemporaryDirectory() as folder:
        leg = Leg(Path(folder), scene)
        # times are those of the first hook; of what one moment brings the order is that of writing
        waited_in_vain = False
        for number in (1, 2):
            began = leg.passed
            done = leg.run(number)
            mine = [
                replace(one, ms=one.ms - began)
                for one in possible(scene.answers, nonce_of(number), began)
            ]
            gone = scene.hangup_ms is not None and scene.hangup_ms <= leg.passed
            if waited_in_vain:
                assert (done.slept, done.stir()["reason"]) == (0, "listener-down")
            else:
                check(done, mine, gone, len(scene.answers) == 1)
            if gone:
                return
            waited_in_vain = done.stir()["reason"] == "timeout" and not scene.new_heartbeat
            if scene.new_heartbeat:
                leg.globals["stir_heartbeat"] = f"{LISTENER}:{NOW_MS // 1000}"
