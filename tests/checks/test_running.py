"""Checks are carried out together, in bounded time, whatever each of them does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

from pbx_stir.checks.finding import Finding, note
from pbx_stir.checks.running import Check, Looked, carry_out, found_by


def slow(gate: threading.Event) -> Iterator[Finding]:
    """A file that hangs, until a test lets it go."""
    yield note("trunk-off", "before")
    gate.wait(30)


async def endless() -> AsyncIterator[Finding]:
    """A server that hangs."""
    yield note("trunk-off", "begun")
    await asyncio.Event().wait()


async def broken() -> AsyncIterator[Finding]:
    """A fault of ours."""
    yield note("trunk-off", "first")
    raise RuntimeError("oops")


async def test_each_has_its_time() -> None:
    """What hangs is cut off, with what it has found; the others go on."""
    gate = threading.Event()
    looked = [
        Looked(Check("a file", lambda: slow(gate))),
        Looked(Check("a server", endless)),
        Looked(Check("a fault", broken)),
        Looked(Check("a list", lambda: [note("trunk-off", "listed")])),
    ]
    try:
        await carry_out(looked, 0.3)
    finally:
        gate.set()
    assert all(one.done for one in looked)
    found = [(one.code, one.what) for one in found_by(looked)]
    assert found == [
        ("trunk-off", "before"),
        ("check-timeout", "no end in time: a file"),
        ("trunk-off", "begun"),
        ("check-timeout", "no end in time: a server"),
        ("trunk-off", "first"),
        ("check-broken", "a fault: RuntimeError: oops"),
        ("trunk-off", "listed"),
    ]


async def test_they_run_at_the_same_time() -> None:
    """Each waits for another here: one after the other none would end."""
    meeting = asyncio.Barrier(4)

    async def meet() -> AsyncIterator[Finding]:
        await meeting.wait()
        yield note("trunk-off", "met")

    looked = [Looked(Check("a server", meet)) for _ in range(4)]
    await carry_out(looked, 20)
    # each thing is said once
    assert [one.what for one in found_by(looked)] == ["met"]
