"""The hold of dialplan/asterisk/pbx-stir.conf as a state graph: every order of what may happen.

One channel meets two hooks, one after the other. Two listeners (the second replaces the first)
and a stranger write to it, each in the order of its own connection and as late as can be. What a
listener writes comes from the real listener; what the dialplan does between two moments at which
somebody else may write is one step here. ``test_asterisk_hold`` compares the steps with the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

NONCES = ("1795324411000001", "1795324411000002")
LISTENERS = ("1" * 16, "2" * 16)
Write = tuple[str, str]


class State(NamedTuple):
    """All that there is. ``hook`` is which one runs, ``pc`` where; ``beats`` a serial of them."""

    pc: str = "begin"
    hook: int = 0
    # the channel: STIR_ANSWER, the numbered parts, and the hook's own copy
    answer: str = ""
    parts: tuple[Write, ...] = ()
    copy: str = ""
    value: str = ""
    n: int = 1
    asked: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    # the PBX: heartbeat, the one that was waited for in vain, whether it is older than 5 s
    heartbeat: str = f"{LISTENERS[0]}:1"
    timed_out: str = ""
    stale: bool = False
    beats: int = 1
    living: tuple[bool, bool] = (True, False)
    # what each writer has still to write, in its order
    queues: tuple[tuple[Write, ...], ...] = ((), (), ())


def steps(state: State, answers: Mapping[tuple[str, str], tuple[Write, ...]]) -> Iterator[State]:
    """Give what may come next; ``answers`` are what is written by (listener, nonce)."""
    if state.hook < len(NONCES):
        yield _dialplan(state, answers)
    for index, queue in enumerate(state.queues):
        if queue:
            yield _written(state, index)
    yield from _listeners(state)


def _dialplan(state: State, answers: Mapping[tuple[str, str], tuple[Write, ...]]) -> State:
    """One step of the hook that runs. Time may always have gone by, so a wait may always end."""
    nonce = NONCES[state.hook]
    match state.pc:
        case "begin":
            if state.stale or state.heartbeat in {"", state.timed_out}:
                return _over(state, "listener-down", "")
            listener = state.heartbeat[:16]
            index = LISTENERS.index(listener)
            queues = list(state.queues)
            if state.living[index]:
                queues[index] += answers[listener, nonce]
            return state._replace(
                pc="look", asked=(*state.asked, state.heartbeat), queues=tuple(queues)
            )
        case "look":
            return state._replace(pc="read", copy=state.answer)
        case "read":
            if state.copy[:16] != nonce:
                return _over(state._replace(timed_out=state.heartbeat), "timeout")
            if field(state.copy, 2) == "+":
                return state._replace(pc="long", value=f"{nonce}|", n=1)
            return _over(state, state.copy)
        case "long":
            return _long(state, nonce)
    raise AssertionError(state.pc)


def _long(state: State, nonce: str) -> State:
    """One part more; when all are there, the answer is whole."""
    name = f"STIR_ANSWER_{nonce}_{state.n}"
    parts = dict(state.parts)
    value = state.value + parts.pop(name, "")
    n = state.n + 1
    state = state._replace(value=value, n=n, parts=tuple(parts.items()))
    if n <= int(field(state.copy, 3)) and n < 9:
        return state
    return state._replace(pc="read", copy=value)


def _over(state: State, said: str, asked: str | None = None) -> State:
    """The hook goes on with its call."""
    asked_of = state.asked if asked is None else (*state.asked, asked)
    return state._replace(
        pc="begin", hook=state.hook + 1, shown=(*state.shown, said), asked=asked_of, copy="",
        value="", n=1,
    )  # fmt: skip


def _written(state: State, index: int) -> State:
    """The next write of one writer reaches the channel."""
    (name, value), *rest = state.queues[index]
    queues = list(state.queues)
    queues[index] = tuple(rest)
    state = state._replace(queues=tuple(queues))
    if name == "STIR_ANSWER":
        return state._replace(answer=value)
    return state._replace(parts=tuple(sorted({**dict(state.parts), name: value}.items())))


def _listeners(state: State) -> Iterator[State]:
    """Beats, falls silent, is replaced; a heartbeat grows old."""
    if state.hook == len(NONCES):
        return
    for index, listener in enumerate(LISTENERS):
        if state.living[index] and state.beats < 3:
            beats = state.beats + 1
            yield state._replace(heartbeat=f"{listener}:{beats}", beats=beats, stale=False)
    if state.living == (True, False):
        yield state._replace(living=(True, True))
    if state.living == (True, True):
        # it ends: what it has taken it may still answer, and its heartbeat goes if it is there
        mine = state.heartbeat[:16] == LISTENERS[0]
        yield state._replace(
            living=(False, True), heartbeat="" if mine else state.heartbeat
        )  # fmt: skip
    if not state.stale:
        yield state._replace(stale=True)


def field(text: str, number: int) -> str:
    """CUT(text,|,number): empty where there are not so many."""
    fields = text.split("|")
    return fields[number - 1] if number <= len(fields) else ""
