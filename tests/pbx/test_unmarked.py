"""Strangers whose channels never met the inbound hook, on real Asterisks.

One takes the place of his own call (Replaces); another one was called by a user of ours, and says
in his answer that he is the company's main number. Then each is transferred out.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.asterisk import Instance, Trunk
from pbx_stir.services import trunk
from pbx_stir.services.call import Call
from pbx_stir.services.outside import Outside
from pbx_stir.services.trunk import Callers
from tests.pbx.phone import Phone
from tests.pbx.scene import Desk, calling, listening
from tests.pbx.software import software_of
from tests.pbx.test_forwarded import EXTENSIONS, MALLORY, MODULES, OURS, TARGET, Scene

pytestmark = pytest.mark.pbx

# by a Local channel: * and the number
FURTHER = """
[office](+)
exten => _9.,1,Set(CALLERID(num)=16465550150)
 same => n,Gosub(pbx-stir-outbound,s,1(on-1,14155550100))
 same => n,Dial(PJSIP/14155550100@${EXTEN:1},20)
exten => _*X.,1,Set(CALLERID(num)=16465550150)
 same => n,Dial(Local/${EXTEN:1}@leaves/n,20)
[leaves](+)
exten => _*X.,1,Dial(Local/${EXTEN:1}@leaves/n,20)
"""
WAYS = [TARGET, f"*{TARGET}"]
BY = pytest.mark.parametrize("target", WAYS, ids=["direct", "Local"])
UNNAMED = Callers({"on-1": trunk.Trunk("on-1")})
NAMED = Callers({"on-1": trunk.Trunk("on-1", endpoints=("plain",))})


def _is_outside(outside: Outside, leg: Call, callers: Callers) -> bool:
    """As the authentication service asks."""
    return bool(outside.trunk_of(leg, callers)) or leg.is_orphan


@dataclass(slots=True)
class Stage:
    """A PBX with our phone, and a stranger at each of two trunks: ``plain``, ``marked``."""

    pbx: Instance
    phone: Phone
    strangers: dict[str, Phone]


@pytest.fixture(scope="module", params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A running Asterisk. One trunk has ``set_var = __STIR_CAME_IN=on-1``, the other has not."""
    software = software_of(str(request.param))
    with tempfile.TemporaryDirectory(prefix="pbx-stir-") as folder:
        text = EXTENSIONS + FURTHER
        pbx = Instance(software, Path(folder), "office", extensions=text, modules=MODULES)
        place, number = (pbx.host, pbx.sip_port), random.randint(1, 250)
        phone, plain, marked = (Phone(f"127.{n}.{number}.1", 5060, place) for n in (251, 252, 253))
        pbx.trunks.append(Trunk("phone", phone.host, phone.port, "office"))
        pbx.trunks.append(Trunk("plain", plain.host, plain.port, "from-carrier"))
        pbx.trunks.append(Trunk("marked", marked.host, marked.port, "from-carrier", mark="on-1"))
        with pbx:
            yield Stage(pbx, phone, {"plain": plain, "marked": marked})


def _fresh(phone: Phone, asserted: str = "") -> Phone:
    return Phone(phone.host, phone.port, phone.pbx, asserted=asserted)


@asynccontextmanager
async def _scene(stage: Stage) -> AsyncIterator[Scene]:
    desk = Desk()
    async with (
        _fresh(stage.phone) as phone,
        calling(stage.pbx) as caller,
        listening(stage.pbx, desk),
    ):
        try:
            yield Scene(caller, desk, phone)
        finally:
            await asyncio.to_thread(stage.pbx.cli, "channel request hangup all")


@pytest.fixture
async def scene(stage: Stage) -> AsyncIterator[Scene]:
    """Nobody calls yet; a listener is there."""
    async with _scene(stage) as found:
        yield found


async def _other_peer(scene: Scene, channel: str, before: str) -> None:
    """Wait until a channel is bridged with another one than before."""
    asked = (("Channel", channel), ("Variable", "BRIDGEPEER"))
    async with asyncio.timeout(10):
        while True:
            answer = await scene.caller.connection.request("Getvar", asked)
            if str(answer.get("Value", "")) not in {"", before}:
                return
            await asyncio.sleep(0.01)


async def _replaced(scene: Scene, stranger: Phone, target: str) -> Call:
    """He calls our phone, takes his own place as our main number, and is transferred."""
    first = await stranger.call("*16465550150", MALLORY)
    dialog = await scene.phone.answered.get()
    (came,) = scene.of("in")
    before, peer = await scene.name(came), await scene.peer(came)
    await stranger.call("*16465550150", OURS, instead_of=first)
    await _other_peer(scene, peer, before)
    assert await scene.phone.transfer(dialog, target) == "SIP/2.0 202 Accepted"
    return (await scene.left())[0]


async def _called(scene: Scene, stranger: Phone, endpoint: str, target: str) -> Call:
    """Our phone calls him, and transfers him."""
    mine = await scene.phone.call(f"9{endpoint}", "phone")
    await stranger.answered.get()
    (own,) = await scene.left()
    assert (own.came_in, own.placed_by) == ("", "PJSIP/phone")
    assert Outside().trunk_of(own, NAMED) == ""
    await scene.peer(own)
    assert await scene.phone.transfer(mine, target) == "SIP/2.0 202 Accepted"
    return (await scene.left(2))[1]


@BY
async def test_who_takes_his_own_place_is_outside(scene: Scene, stage: Stage, target: str) -> None:
    """The first call that came in from his endpoint is enough; a Local channel hides nobody."""
    async with _fresh(stage.strangers["plain"]) as stranger:
        leg = await _replaced(scene, stranger, target)
    assert (leg.orig, leg.came_in) == (OURS, "")
    outside = Outside()
    assert _is_outside(outside, leg, NAMED)
    for came in scene.of("in"):
        outside.remember(came)
    assert _is_outside(outside, leg, UNNAMED)


async def test_whom_a_user_has_called_is_outside(scene: Scene, stage: Stage) -> None:
    """Where the trunk's endpoint is named in the configuration, from the first call on.

    Not through a Local channel: while the user's own is there, it has that for its first.
    """
    async with _fresh(stage.strangers["plain"], OURS) as stranger:
        leg = await _called(scene, stranger, "plain", TARGET)
    assert (leg.orig, leg.came_in) == (OURS, "")
    assert _is_outside(Outside(), leg, NAMED)


@BY
@pytest.mark.parametrize("way", ["takes his own place", "was called"])
async def test_a_trunk_that_marks_its_channels_marks_them_all(
    scene: Scene, stage: Stage, way: str, target: str
) -> None:
    """``set_var = __STIR_CAME_IN=on-1``: whatever way they take, and through a Local channel."""
    async with _fresh(stage.strangers["marked"], OURS) as stranger:
        if way == "was called":
            leg = await _called(scene, stranger, "marked", target)
        else:
            leg = await _replaced(scene, stranger, target)
    assert (leg.orig, leg.came_in, leg.came_in_id) == (OURS, "on-1", "")


async def test_a_call_of_our_own_is_not_outside(scene: Scene) -> None:
    """A phone's, through a Local channel and without, and one that the PBX makes by itself."""
    for number in WAYS:
        await scene.phone.call(number, "phone")
    await scene.caller.place("office", TARGET)
    await scene.ask(
        "Originate",
        **{"Channel": "Local/51@scene/n", "Context": "office", "Exten": TARGET},
        **{"Priority": "1", "Async": "true"},
    )
    for leg in await scene.left(4):
        assert leg.came_in == ""
        assert not _is_outside(Outside(), leg, NAMED), leg
