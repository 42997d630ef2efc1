"""Family 23: whatever fails, the call goes on, and its reason says what failed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, cast

import pytest

from pbx_stir.cps.client import CpsClient
from pbx_stir.errors import PbxUnavailable
from pbx_stir.services.authentication import AuthenticationService
from pbx_stir.services.call import Call, Mode, Outcome, Reason, Verstat
from pbx_stir.services.placement_service import Answer
from pbx_stir.services.reception import Clocks, Reception
from pbx_stir.services.sealed_opener import OpenedSet
from pbx_stir.stir import sealing
from pbx_stir.stir.number import is_emergency
from tests.services import world
from tests.services.test_reception import FakeLog, FakePbx
from tests.services.world import BOB, CPS, NOW, World

SECOND_CPS = "https://second.example.net"


async def verdict(bob: World, **call: Any) -> Outcome:
    """The verdict on a call."""
    return await bob.service.verify(world.call(**call), "1", NOW, bob.monotonic + 2.0)


async def test_family_23_failure_cps_down() -> None:
    """No answer: unsigned, with the reason."""
    bob = World()
    bob.placement.down = {CPS}
    outcome = await verdict(bob)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.CPS_UNAVAILABLE)


async def test_family_23_failure_alternate() -> None:
    """Of two CPSs one answers: it decides, whether it has something or not."""
    for cps in ((CPS, SECOND_CPS), (SECOND_CPS, CPS)):
        bob = World()
        bob.directory.cps = cps
        bob.placement.down = {CPS}
        outcome = await verdict(bob)
        assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.NO_PASSPORT)
        bob.put(bob.token())
        assert (await verdict(bob)).verstat is Verstat.PASSED


async def test_family_23_failure_no_route() -> None:
    """A number for which nobody told where to ask."""
    bob = World()
    bob.directory.cps = ()
    outcome = await verdict(bob)
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.NO_PASSPORT)


class Odd:
    """Parts that misbehave."""

    async def retrieve(
        self, wanted: Sequence[tuple[str, str]], give_up_at: float, wait_until: float = 0.0
    ) -> AsyncGenerator[Answer, None]:
        yield Answer(CPS, BOB, (b"x", b"", bytes(4_144)))
        raise RuntimeError("defect")

    async def open_sealed(self, *_: object) -> OpenedSet:
        return OpenedSet((), malformed=3, unread=2)


def reception(bob: World, moment: list[float] | None = None) -> tuple[Reception, FakePbx, FakeLog]:
    """A reception with Bob's real verification service; the time is ``moment[0]``."""
    time_now = moment or [1_000.0]
    pbx, log = FakePbx(), FakeLog()
    made = Reception(
        authentication=cast(AuthenticationService, None),
        verification=bob.service,
        used=bob.used,
        call_log=log,
        clocks=Clocks(
            lambda: NOW,
            lambda: time_now[0],
            lambda at: asyncio.timeout(max(0.0, at - time_now[0]) / 50),
            lambda: "id",
        ),
    )
    bob.service.monotonic = lambda: time_now[0]
    return made, pbx, log


async def test_family_23_failure_defect() -> None:
    """A defect of ours: released at once, unsigned, logged once."""
    bob = World()
    bob.service.placement = Odd()  # type: ignore[assignment]
    made, pbx, log = reception(bob)
    await made.receive(world.call(), pbx)
    assert [one["STIR_REASON"] for one in pbx.answers] == ["internal-error"]
    assert [one["STIR_VERSTAT"] for one in pbx.answers] == ["No-TN-Validation"]
    assert len(log.records) == 1


async def test_family_23_failure_deadline() -> None:
    """A step that never ends is ended."""
    bob = World()

    class Stuck:
        async def open_sealed(self, *_: object) -> OpenedSet:
            await asyncio.Event().wait()
            raise AssertionError

    bob.service.opener = Stuck()
    made, pbx, log = reception(bob)
    await made.receive(world.call(), pbx)
    assert [one["STIR_REASON"] for one in pbx.answers] == ["timeout"]
    assert log.records[0].outcome.verstat is Verstat.NONE


@pytest.mark.parametrize("late", [0.0, 0.001, 5.0])
async def test_family_23_failure_deadline_hit_exactly(late: float) -> None:
    """A verdict that comes when the hold is over is not given, and uses nothing up."""
    bob = World()
    bob.put(bob.token())
    moment = [1_000.0]
    made, pbx, log = reception(bob, moment)
    opener = bob.service.opener

    class Late:
        async def open_sealed(self, *given: Any) -> OpenedSet:
            found = await opener.open_sealed(*given)
            moment[0] = 1_001.799
            return found

    bob.service.opener = Late()
    answer = bob.service.verify

    async def verify(*given: Any) -> Outcome:
        outcome = await answer(*given)
        moment[0] = 1_002.0 + late
        return outcome

    bob.service.verify = verify  # type: ignore[method-assign]
    await made.receive(world.call(), pbx)
    assert pbx.answers == []
    assert log.records[0].outcome.verstat is Verstat.NONE
    assert not log.records[0].released
    # the next call may still have it
    bob.service.verify, bob.service.opener = answer, opener  # type: ignore[method-assign]
    moment[0] = 1_000.0
    await made.receive(world.call(unique_id="2", linked_id="2"), pbx)
    assert [one["STIR_VERSTAT"] for one in pbx.answers] == ["TN-Validation-Passed"]


async def test_family_23_failure_hang_up_in_the_hold() -> None:
    """The caller is gone before the verdict: his PASSporT is the next call's."""
    bob = World()
    bob.put(bob.token())
    made, pbx, log = reception(bob)
    pbx.takes = False
    await made.receive(world.call(), pbx)
    assert not log.records[0].released
    pbx.takes = True
    await made.receive(world.call(unique_id="2", linked_id="2"), pbx)
    assert pbx.answers[-1]["STIR_REASON"] == "verified"


async def test_family_23_failure_pbx_drops() -> None:
    """The PBX is lost in the midst of the answer: nobody knows, so the PASSporT counts as used."""
    bob = World()
    bob.put(bob.token())
    made, pbx, log = reception(bob)
    pbx.fails = True
    with contextlib.suppress(PbxUnavailable):
        await made.receive(world.call(), pbx)
    assert len(log.records) == 1
    pbx.fails = False
    await made.receive(world.call(unique_id="2", linked_id="2"), pbx)
    assert pbx.answers[-1]["STIR_REASON"] == "replayed"


async def test_family_23_failure_honest() -> None:
    """Nothing fails: Passed, released, logged; monitored, the same but untold."""
    for mode, told in ((Mode.ON, 1), (Mode.MONITOR, 0)):
        bob = World()
        bob.put(bob.token())
        made, pbx, log = reception(bob)
        await made.receive(world.call(mode=mode), pbx)
        assert log.records[0].outcome.verstat is Verstat.PASSED
        assert len(pbx.answers) == told


@contextlib.asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """A server that accepts and never answers."""
    hole = socket.create_server(("127.0.0.1", 0))
    try:
        yield f"http://127.0.0.1:{hole.getsockname()[1]}"
    finally:
        hole.close()


async def ask(url: str, seconds: float) -> tuple[list[Answer], float]:
    """What a retrieval gives, and how long it took."""
    client = CpsClient(tls=None, allow_plain=True)
    began = time.monotonic()
    try:
        found = [one async for one in client.retrieve([(url, BOB)], began + seconds)]
        return found, time.monotonic() - began
    finally:
        await client.close()


async def test_family_23_failure_black_hole() -> None:
    """A CPS that swallows requests costs the budget, and no more."""
    async with black_hole() as url:
        found, took = await ask(url, 0.3)
    assert [one.reason for one in found] == [Reason.CPS_UNAVAILABLE]
    assert took < 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://cps.invalid", "http://127.0.0.1:9"])
async def test_family_23_failure_nobody_there(url: str) -> None:
    """Nobody listens, no such name: said at once, and no exception."""
    found, took = await ask(url, 3.0)
    assert [one.reason for one in found] == [Reason.CPS_UNAVAILABLE]
    assert took < 3.5


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>",
        b"SSH-2.0\r\n",
        b"",
    ],
)
async def test_family_23_failure_hostile_cps(octets: bytes) -> None:
    """Errors, redirects and nonsense of a CPS are a CPS that is not there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(octets)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        found, _ = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 3.0)
    finally:
        server.close()
    assert len(found) == 1
    assert found[0].reason in {Reason.CPS_UNAVAILABLE, Reason.CPS_REFUSED}
    assert found[0].blobs == ()


@pytest.mark.parametrize(
    ("dialled", "emergency"),
    [
        ("911", True), ("9911", True), ("9-911", True), ("+911", True), ("112", True),
        ("0112", True), ("00112", True), ("999", True), ("sip:911@pbx.example", True),
        ("tel:112", True), ("urn:service:sos", True), ("urn:service:sos.fire", True),
        ("911#", True), ("91123", False), ("12125550911", False), ("0911234567", False),
        (BOB, False),
    ],
)  # fmt: skip
def test_family_23_failure_emergency(dialled: str, emergency: bool) -> None:
    """Who calls for help is never held, as dialled and as sent."""
    assert is_emergency(dialled) is emergency


async def test_family_23_failure_call_of_an_unknown_trunk() -> None:
    """A trunk that nobody configured is not guarded."""
    bob = World()
    outcome = await verdict(bob, trunk="unknown")
    assert (outcome.verstat, outcome.reason) == (Verstat.NONE, Reason.DISABLED)
    assert isinstance(world.call(), Call)
    assert sealing.SEALED_OCTETS == 4_144
