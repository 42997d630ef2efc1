"""Calls that come in and go on, by each of Asterisk's ways: whose leg says what it came with?

A leg that was made for a call says that call's mark, and may take along what it came with. A leg
of anybody else says its own, or none.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lab.asterisk import Instance, Trunk
from pbx_stir.services.call import Call
from tests.pbx.phone import Phone
from tests.pbx.scene import Caller, Desk, calling, eventually, listening
from tests.pbx.software import software_of

pytestmark = pytest.mark.pbx

ALICE, MALLORY = "12125550100", "14155550100"
OURS, TARGET = "16465550150", "17205556001"

EXTENSIONS = """
[globals]
STIR_OUT_on-1=on
STIR_IN_on-1=on

; a stranger's side of the trunk, *number
[stranger]
exten => _X.,1,Set(CALLERID(num)=${ORIG})
 same => n,Dial(PJSIP/*${EXTEN}@itself,30)
 same => n,Hangup()

; the trunk: each scene is an extension of ours, which its last two digits tell
[from-carrier]
exten => _*X.,1,Gosub(pbx-stir-inbound,s,1(on-1,${EXTEN:1}))
 same => n,Set(__TRANSFER_CONTEXT=leaves)
 same => n,Goto(scene,${EXTEN:-2},1)

[scene]
; a phone, which may transfer
exten => 50,1,Dial(PJSIP/phone@phone,20,t)
exten => 60,1,Dial(PJSIP/phone@phone,20,to)
; answers, and waits for what others do with it
exten => 51,1,Answer()
 same => n,Wait(20)
; follow-me by Local channels
exten => 52,1,Dial(Local/17205556001@leaves/n,20)
exten => 53,1,Dial(Local/17205556001@leaves,20)
; a ring group
exten => 54,1,Dial(Local/17205556001@leaves/n&Local/17205556002@leaves&Local/phone@office/n,20)
; a queue whose agent is outside, and one that overflows
exten => 55,1,Answer()
 same => n,Queue(outside,,,,5)
exten => 56,1,Answer()
 same => n,Queue(empty,,,,1)
 same => n,Goto(leaves,17205556001,1)
; a conference
exten => 57,1,Answer()
 same => n,ConfBridge(1)
; joins the call that JOIN names
exten => 58,1,Bridge(${GLOBAL(JOIN)})
; the application FollowMe
exten => 59,1,Answer()
 same => n,FollowMe(boss,n)
exten => _XX,n,Hangup()

[leaves]
exten => _X.,1,Gosub(pbx-stir-outbound,s,1(on-1,${EXTEN}))
 same => n,Answer()
 same => n,Wait(20)
 same => n,Hangup()

; where our phone calls from, with our number
[office]
exten => _X.,1,Set(CALLERID(num)=16465550150)
 same => n,Goto(leaves,${EXTEN},1)
exten => phone,1,Wait(20)
"""
QUEUES = """
[general]
[outside]
strategy=ringall
joinempty=yes
member => Local/17205556001@leaves/n
[empty]
joinempty=yes
"""
MODULES = (
    *("app_confbridge", "bridge_softmix", "app_bridgewait", "bridge_builtin_features"),
    *("app_followme", "res_pjsip_refer", "format_pcm"),
)


@pytest.fixture(scope="module", params=["forky", "bullseye"], ids=["asterisk22", "asterisk16"])
def office(request: pytest.FixtureRequest) -> Iterator[tuple[Instance, Phone]]:
    """An Asterisk with a trunk to itself, and the place of a phone."""
    software = software_of(str(request.param))
    with tempfile.TemporaryDirectory(prefix="pbx-stir-") as folder:
        pbx = Instance(software, Path(folder), "office", extensions=EXTENSIONS, modules=MODULES)
        phone = Phone(f"127.251.{random.randint(1, 250)}.1", 5060, (pbx.host, pbx.sip_port))
        pbx.trunks.append(Trunk("itself", pbx.host, pbx.sip_port, "from-carrier"))
        pbx.trunks.append(Trunk("phone", phone.host, phone.port, "office"))
        pbx.files["queues.conf"] = QUEUES
        pbx.files["features.conf"] = "[general]\n[featuremap]\natxfer=*2\nblindxfer=#1\n"
        silence = Path(folder) / "pbx-transfer"
        silence.with_suffix(".ulaw").write_bytes(b"\xff" * 160)
        prompts = "".join(f"{one}-prompt={silence}\n" for one in ("pls-hold", "status", "sorry"))
        pbx.files["followme.conf"] = (
            f"[general]\n{prompts}[boss]\ncontext=leaves\nnumber=17205556001,10\n"
        )
        pbx.files["confbridge.conf"] = (
            "[general]\n[default_user]\ntype=user\nquiet=yes\n[default_bridge]\ntype=bridge\n"
        )
        with pbx:
            yield pbx, phone


class Scene:
    """One test's calls: who has come in, and what has left."""

    def __init__(self, caller: Caller, desk: Desk, phone: Phone) -> None:
        self.caller = caller
        self.desk = desk
        self.phone = phone

    def of(self, direction: str) -> list[Call]:
        """The calls that were announced, in their order."""
        return [one for one in self.desk.calls if one.direction.value == direction]

    async def arrives(self, extension: str, orig: str = ALICE) -> Call:
        """Somebody outside calls an extension; his call as its inbound hook has announced it."""
        number = len(self.of("in"))
        await self.caller.place("stranger", f"164655501{extension}", ORIG=orig)
        await eventually(lambda: len(self.of("in")) > number)
        return self.of("in")[number]

    async def left(self, count: int = 1) -> list[Call]:
        """The calls that leave, once there are so many."""
        await eventually(lambda: len(self.of("out")) >= count)
        return self.of("out")

    async def ask(self, name: str, **fields: str) -> None:
        """An action of AMI's."""
        given = tuple((key, value) for key, value in fields.items())
        answer = await self.caller.connection.request(name, given)
        assert answer.get("Response") == "Success", str(answer.get("Message"))

    async def name(self, call: Call) -> str:
        """The name of the call's channel."""
        given = (("Channel", call.unique_id), ("Variable", "CHANNEL(name)"))
        return str((await self.caller.connection.request("Getvar", given)).value)

    def count(self, application: str) -> int:
        """How many channels are in this application."""
        channels = self.caller.instance.cli("core show channels concise").splitlines()
        return sum(f"!{application}!" in one for one in channels)

    async def peer(self, call: Call, wanted: str = "") -> str:
        """The name of the channel that is bridged with the call's, once there is this or any."""
        for _ in range(1000):
            given = (("Channel", call.unique_id), ("Variable", "BRIDGEPEER"))
            found = str((await self.caller.connection.request("Getvar", given)).get("Value", ""))
            if found and wanted in {"", found}:
                return found
            await asyncio.sleep(0.01)
        raise TimeoutError


@asynccontextmanager
async def _scene(office: tuple[Instance, Phone]) -> AsyncIterator[Scene]:
    pbx, place = office
    desk = Desk()
    async with (
        Phone(place.host, place.port, place.pbx) as phone,
        calling(pbx) as caller,
        listening(pbx, desk),
    ):
        try:
            yield Scene(caller, desk, phone)
        finally:
            await asyncio.to_thread(pbx.cli, "channel request hangup all")


@pytest.fixture
async def scene(office: tuple[Instance, Phone]) -> AsyncIterator[Scene]:
    """Nobody calls yet; a listener is there."""
    async with _scene(office) as found:
        yield found


def of_alice(leg: Call, alice: Call) -> bool:
    """Whether a leg that leaves takes along what Alice's call came with."""
    return (leg.came_in, leg.came_in_id, leg.orig) == ("on-1", alice.unique_id, ALICE)


@pytest.mark.parametrize("extension", ["52", "53", "55", "56", "59"])
async def test_a_leg_made_for_a_call_has_its_mark(scene: Scene, extension: str) -> None:
    """Local channels with and without /n, a queue's agent outside, overflow, FollowMe."""
    alice = await scene.arrives(extension)
    for leg in await scene.left():
        assert of_alice(leg, alice), leg


async def test_each_leg_of_a_ring_group_has_it(scene: Scene) -> None:
    """Two that leave by Local channels, of either kind."""
    alice = await scene.arrives("54")
    legs = await scene.left(2)
    assert [of_alice(leg, alice) for leg in legs] == [True, True]
    assert {leg.dest for leg in legs} == {"17205556001", "17205556002"}


async def test_a_call_that_ami_redirects_keeps_its_mark(scene: Scene) -> None:
    """AMI's Redirect."""
    alice = await scene.arrives("51")
    await scene.ask(
        "Redirect", Channel=alice.unique_id, Context="leaves", Exten=TARGET, Priority="1"
    )
    (leg,) = await scene.left()
    assert of_alice(leg, alice)


async def test_a_call_that_ami_transfers_keeps_its_mark(scene: Scene) -> None:
    """AMI's BlindTransfer, of the phone that Alice is joined with."""
    alice = await scene.arrives("50")
    phone = await scene.peer(alice)
    await scene.ask("BlindTransfer", Channel=phone, Context="leaves", Exten=TARGET)
    (leg,) = await scene.left()
    assert of_alice(leg, alice)


async def test_a_call_that_a_phone_transfers_keeps_its_mark(scene: Scene) -> None:
    """A blind transfer by REFER."""
    alice = await scene.arrives("50")
    dialog = await scene.phone.answered.get()
    await scene.peer(alice)
    assert await scene.phone.transfer(dialog, TARGET) == "SIP/2.0 202 Accepted"
    (leg,) = await scene.left()
    assert of_alice(leg, alice)


async def test_a_phone_s_own_call_before_a_transfer_is_its_own(scene: Scene) -> None:
    """An attended transfer by REFER with Replaces: the second call is that of our user."""
    alice = await scene.arrives("50")
    dialog = await scene.phone.answered.get()
    await scene.peer(alice)
    second = await scene.phone.call(TARGET, "phone")
    (leg,) = await scene.left()
    assert (leg.came_in, leg.came_in_id, leg.orig) == ("", "", OURS)
    assert leg.originator == ("phone",)
    assert await scene.phone.transfer(dialog, TARGET, second) == "SIP/2.0 202 Accepted"
    # the two are joined, and no other leg has left
    await eventually(lambda: "SIP/2.0 200 OK" in scene.phone.notified)
    assert len(scene.of("out")) == 1


@pytest.mark.parametrize("way", ["57", "58"], ids=["ConfBridge", "Bridge"])
async def test_whoever_was_joined_with_a_call_has_his_own_mark(scene: Scene, way: str) -> None:
    """A stranger talks with Alice, and is sent out: with her linked id, and nothing of hers.

    The caller ID is hers, too: he may say any.
    """
    alice = await scene.arrives("57" if way == "57" else "51")
    await scene.caller.set_global("JOIN", await scene.name(alice))
    stranger = await scene.arrives(way)
    if way == "57":
        await eventually(lambda: scene.count("ConfBridge") == 2)
    else:
        await scene.peer(stranger)
    await scene.ask(
        "Redirect", Channel=stranger.unique_id, Context="leaves", Exten=TARGET, Priority="1"
    )
    (leg,) = await scene.left()
    assert (leg.came_in, leg.came_in_id) == ("on-1", stranger.unique_id)
    assert leg.came_in_id != alice.unique_id
    assert not of_alice(leg, alice)


async def test_a_stranger_who_asks_again_after_a_bridge_is_not_the_same_call(scene: Scene) -> None:
    """He has been joined with Alice, says her number, and is sent in once more."""
    alice = await scene.arrives("51")
    await scene.caller.set_global("JOIN", await scene.name(alice))
    stranger = await scene.arrives("58")
    await scene.peer(stranger)
    given = {"Context": "from-carrier", "Exten": f"*{alice.dest}", "Priority": "1"}
    await scene.ask("Redirect", Channel=stranger.unique_id, **given)
    await eventually(lambda: len(scene.of("in")) == 3)
    again = scene.of("in")[2]
    assert (again.orig, again.dest, again.linked_id) == (alice.orig, alice.dest, alice.linked_id)
    assert alice.came_in_id == alice.unique_id
    assert again.came_in_id == stranger.unique_id


async def test_a_stranger_who_takes_a_phone_s_place_has_his_own_mark(scene: Scene) -> None:
    """A phone holds Alice and a stranger, and joins the two; then the stranger is sent out."""
    alice = await scene.arrives("50")
    first = await scene.phone.answered.get()
    stranger = await scene.arrives("50", orig=MALLORY)
    second = await scene.phone.answered.get()
    await scene.peer(stranger)
    assert await scene.phone.transfer(first, OURS, second) == "SIP/2.0 202 Accepted"
    hers = await scene.name(alice)
    await scene.peer(stranger, hers)
    await scene.ask(
        "Redirect",
        **{"Channel": stranger.unique_id, "Context": "leaves", "Exten": TARGET, "Priority": "1"},
        **{"ExtraChannel": alice.unique_id, "ExtraContext": "leaves"},
        **{"ExtraExten": TARGET, "ExtraPriority": "1"},
    )
    legs = {leg.came_in_id: leg.orig for leg in await scene.left(2)}
    assert legs == {stranger.unique_id: MALLORY, alice.unique_id: ALICE}


async def test_a_phone_that_was_called_and_is_sent_out_is_not_the_caller(scene: Scene) -> None:
    """The caller transfers our phone, which came in with his call and takes along nothing of it."""
    alice = await scene.arrives("50")
    await scene.peer(alice)
    await scene.ask("BlindTransfer", Channel=alice.unique_id, Context="leaves", Exten=TARGET)
    (leg,) = await scene.left()
    assert (leg.came_in, leg.came_in_id) == ("on-1", "")


async def test_an_attended_transfer_of_asterisk_s_own_takes_nothing_along(scene: Scene) -> None:
    """AMI's Atxfer: the second call is made by the phone's leg; not even with her number."""
    alice = await scene.arrives("60")
    phone = await scene.peer(alice)
    # the folder of its announcements
    folder = str(scene.caller.instance.directory)
    await scene.ask("Setvar", Channel=phone, Variable="CHANNEL(language)", Value=folder)
    await scene.ask("Atxfer", Channel=phone, Context="leaves", Exten=TARGET)
    (leg,) = await scene.left()
    # so it leaves unsigned
    assert (leg.came_in, leg.came_in_id, leg.orig) == ("on-1", "", ALICE)
