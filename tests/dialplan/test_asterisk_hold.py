"""Every order in which answers, time-outs, heartbeats and a replaced listener can meet a hold.

An exhaustive search (tests/dialplan/hold.py) of two hooks on one channel. What is written to it is
what the real listener writes for what the dialplan announces.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pbx_stir.pbx import hook
from pbx_stir.pbx.ami import AsteriskSettings
from pbx_stir.pbx.asterisk import AsteriskPbx
from pbx_stir.services.call import Call
from tests.dialplan.hold import LISTENERS, NONCES, State, Write, field, steps

CONF = Path(__file__).resolve().parents[2] / "dialplan/asterisk/pbx-stir.conf"
FOREIGN = "0" * 16
SHORT = {"STIR_VERSTAT": "TN-Validation-Passed", "STIR_REASON": "verified"}
# too long for one line of AMI
LONG = {**SHORT, "STIR_NAME": "n" * 480, "STIR_CALL_REASON": "r" * 480, "STIR_SIGNER": "s" * 100}


class Connection:
    """Notes what is sent to a PBX, which takes it."""

    def __init__(self) -> None:
        self.written: list[Write] = []

    def send(self, action: str, fields: Sequence[tuple[str, str]]) -> Any:
        """One Setvar."""
        given = dict(fields)
        assert (action, given["Channel"]) == ("Setvar", "pbx-1.1")
        self.written.append((given["Variable"], given["Value"]))
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(SimpleNamespace(response="Success"))
        return SimpleNamespace(future=done)

    def forget(self, action: object) -> None:
        """It is done."""


class Receiver:
    """Answers each call with its nonce as the call log's id."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self.said = said

    async def receive(self, call: Call, pbx: AsteriskPbx) -> None:
        """A call waits."""
        variables = {**self.said, "STIR_ID": f"{pbx.listener}{call.nonce}"}
        assert await pbx.answer(call, tuple(variables.items()), 1e12)

    async def ended(self, pbx: str, unique_id: str, answered: bool) -> None:
        """Not here."""


async def written(said: Mapping[str, str]) -> dict[tuple[str, str], tuple[Write, ...]]:
    """What the two listeners write for each hook's announcement: only the one that it names."""
    answers = {}
    for named in LISTENERS:
        for nonce in NONCES:
            for listener in LISTENERS:
                pbx = AsteriskPbx(AsteriskSettings("pbx", "", 0, "", ""), Receiver(said))
                pbx.listener = listener
                connection = Connection()
                pbx._connection = connection  # type: ignore[assignment]
                pbx._on_event(announcement(named, nonce))  # type: ignore[arg-type]
                await asyncio.gather(*pbx.in_hand)
                if listener == named:
                    answers[named, nonce] = tuple(connection.written)
                else:
                    assert connection.written == []
    return answers


class Message(dict[str, str]):
    """An event of AMI."""

    event, userevent = "UserEvent", hook.ANNOUNCEMENT_EVENT


def announcement(listener: str, nonce: str) -> Message:
    """What the dialplan says of a call."""
    return Message(
        Ver="1", Listener=listener, Mode="on", Nonce=nonce, Dir="in", Trunk="carrier",
        Budget="2000", From="12125550100", Pres="allowed", To="13105552001", CameIn="carrier",
        CameInId="pbx-1.1", Uniqueid="pbx-1.1", Linkedid="pbx-1.1",
    )  # fmt: skip


def explore(start: State, answers: Mapping[tuple[str, str], tuple[Write, ...]]) -> list[State]:
    """All states that can be reached."""
    seen, waiting = {start}, deque([start])
    while waiting:
        for after in steps(waiting.popleft(), answers):
            if after not in seen:
                seen.add(after)
                waiting.append(after)
    return list(seen)


@pytest.mark.parametrize("said", [SHORT, LONG], ids=["short", "long"])
async def test_a_verdict_reaches_only_the_hook_it_was_made_for(said: dict[str, str]) -> None:
    """Whole and once; whatever else is written, when, and by whom.

    A hook that was not answered says so; after a time-out nobody waits for the same heartbeat.
    """
    answers = await written(said)
    assert all(("+" in one[-1][1]) == (said is LONG) for one in answers.values())
    foreign = hook.pack_answer(FOREIGN, tuple(SHORT.items()))
    found = explore(State(queues=((), (), (*foreign, ("STIR_ANSWER", "|||")))), answers)
    assert len(found) > 10_000
    verdicts = set()
    for state in found:
        for index, shown in enumerate(state.shown):
            if shown in {"timeout", "listener-down"}:
                verdicts.add(shown)
                continue
            asked = state.asked[index][:16]
            values = {**said, "STIR_ID": f"{asked}{NONCES[index]}"}
            whole = "|".join(values.get(name, "") for name in hook.ANSWER_FIELDS)
            assert shown == f"{NONCES[index]}|{whole}"
            verdicts.add(field(shown, 3))
        if len(state.shown) > 1 and state.shown[0] == "timeout" and state.asked[1]:
            assert state.asked[0] != state.asked[1], "it waited for the same heartbeat again"
    assert verdicts == {"timeout", "listener-down", "TN-Validation-Passed"}


async def test_every_hold_ends() -> None:
    """From every state the dialplan itself can go on, however silent all others are."""
    answers = await written(SHORT)
    for found in explore(State(), answers):
        state, left = found, 40
        while state.hook < len(NONCES) and left:
            state, left = next(steps(state, answers)), left - 1
        assert left


def test_the_answer_is_read_once() -> None:
    """The steps of the search are those of the file: one read, then only what was read.

    Between two reads another answer could come: half of a verdict would be another hook's.
    """
    lines = [line for line in CONF.read_text().splitlines() if not line.lstrip().startswith(";")]
    reads = [line for line in lines if re.search(r"\bSTIR_ANSWER\b", line)]
    waits = [line for line in reads if "WaitForCondition(" in line]
    copies = [line for line in reads if "Set(stir_answer=${STIR_ANSWER})" in line]
    assert (len(waits), len(copies)) == (4, 2)
    assert len(reads) == len(waits) + len(copies)
