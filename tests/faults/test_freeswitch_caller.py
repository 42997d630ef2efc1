"""A caller who has been verified on a real FreeSWITCH, and then says that he is somebody else."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from lab.processes import pbx_stir
from tests.faults.endpoint import PHONE, Call, Endpoint
from tests.faults.front import Side
from tests.faults.pbxs import FreeSwitch
from tests.faults.world import World, called_freeswitch

pytestmark = pytest.mark.pbx

OTHER: Final = "12125559999"
NAMES: Final = (
    f'P-Asserted-Identity: "[V] Bank" <sip:{OTHER}@bank.example>\r\n',
    f'Remote-Party-ID: "[V] Bank" <sip:{OTHER}@bank.example>;party=calling\r\n',
    f"X-FS-Display-Name: [V] Bank\r\nX-FS-Display-Number: {OTHER}\r\n",
)
# what mod_sofia takes a caller's new name from, if it is let
CHANGES: Final = (
    *(("UPDATE", names) for names in NAMES),
    *(("INFO", f"{names}Content-Type: message/update_display\r\n") for names in NAMES),
    *(("INVITE", names) for names in NAMES),
)


@pytest.fixture(scope="module")
def world(side: Side) -> Iterator[World]:
    """A's PBX is an Asterisk that has nothing to do, B's a FreeSWITCH."""
    yield from called_freeswitch(side)


@dataclass(frozen=True, slots=True)
class Scene:
    """A caller of A's whose call B's FreeSWITCH has verified, and the phone that rings."""

    pbx: FreeSwitch
    caller: Endpoint
    phone: Endpoint
    call: Call
    orig: str
    dest: str

    @property
    def told(self) -> str:
        """All that the phone has been told since it was called."""
        return "".join(self.phone.heard)

    def legs(self, direction: str) -> list[str]:
        """The ids of the legs of that direction."""
        rows = self.pbx.cli("show channels").splitlines()
        return [row.split(",")[0] for row in rows if f",{direction}," in row]

    def leg(self, name: str) -> str:
        """A line of what is known of the caller's leg."""
        (uuid,) = self.legs("inbound")
        lines = self.pbx.cli(f"uuid_dump {uuid}").splitlines()
        said = next(line.partition(": ")[2] for line in lines if line.startswith(f"{name}: "))
        return urllib.parse.unquote(said)


@contextlib.contextmanager
def ringing(world: World, index: int) -> Iterator[Scene]:
    """A's number of that index calls B's, with a PASSporT, and the phone rings."""
    pbx = world.pbxs["b"]
    assert isinstance(pbx, FreeSwitch)
    orig, dest = world.a.number(index), world.b.number(index)
    certificate, key = (world.a.folder / f"company-a.{one}" for one in ("pem", "key"))
    token = world.folder / f"{index}.jws"
    x5u = "https://certificates.example.com/company-a.pem"
    numbers = ("--orig", orig, "--dest", dest)
    token.write_text(pbx_stir("sign", *numbers, "--key", str(key), "--x5u", x5u, "--passport"))
    where = ("--cps", world.cps.url, "--tls-ca", str(world.ca), "--config", str(world.a.config))
    pbx_stir("store", *where, "--dest", dest, "--certificate", str(certificate), str(token))
    address = pbx.host, pbx.sip_port
    with Endpoint(address) as caller, Endpoint(address) as phone:
        pbx.cli(f"global_setvar faults_phone={phone.address}")
        try:
            call = caller.call("Anna", orig, dest, PHONE)
            caller.answered(call, 180)
            yield Scene(pbx, caller, phone, call, orig, dest)
        finally:
            pbx.cli("global_setvar faults_phone=")
            pbx.cli("hupall")


def answered(world: World, scene: Scene) -> None:
    """The phone is answered, and both talk."""
    scene.phone.answer()
    scene.caller.answered(scene.call, 200)

    def bridged() -> bool:
        # what it lists is a little late
        return all(scene.legs(direction) for direction in ("inbound", "outbound")) and all(
            scene.pbx.cli(f"uuid_getvar {uuid} bridge_uuid") not in ("", "_undef_")
            for uuid in scene.legs("inbound")
        )

    world.listeners["b"].wait_until(bridged, "bridged")


def test_verified_caller_stays_who_he_is(world: World) -> None:
    """By no request of his own: not for the phone, the dialplan or the record of the call."""
    with ringing(world, 9_001) as scene:
        for method, names in CHANGES[:6]:
            scene.caller.ask(scene.call, method, names)
        answered(world, scene)
        for method, names in CHANGES:
            scene.caller.ask(scene.call, method, names)
        assert scene.leg("variable_stir_verstat") == "TN-Validation-Passed"
        assert scene.leg("Caller-Caller-ID-Name") == "[V] Anna"
        assert scene.leg("Caller-Caller-ID-Number") == scene.orig
        scene.caller.ask(scene.call, "BYE")
        scene.phone.until(lambda one: one.startswith("BYE "), "hung up")
        assert "Bank" not in scene.told
        assert OTHER not in scene.told
    assert _recorded(world, scene) == ("[V] Anna", scene.orig, "TN-Validation-Passed")


def test_it_is_the_hook_that_holds_him(world: World) -> None:
    """Without what it sets, the same request changes all of it: FreeSWITCH has let him."""
    with ringing(world, 9_002) as scene:
        answered(world, scene)
        for uuid in (*scene.legs("inbound"), *scene.legs("outbound")):
            for variable in ("sip_ignore_remote_cid", "ignore_display_updates"):
                scene.pbx.cli(f"uuid_setvar {uuid} {variable}")
        scene.caller.ask(scene.call, *CHANGES[0])
        scene.phone.until(lambda one: one.startswith("UPDATE ") and OTHER in one, "told the other")
        assert scene.leg("Caller-Caller-ID-Number") == OTHER
        scene.caller.ask(scene.call, "BYE")
    assert _recorded(world, scene) == ("[V] Bank", OTHER, "TN-Validation-Passed")


def test_call_that_takes_its_own_place(world: World) -> None:
    """It meets no dialplan, and so no hook; the phone is told no other name all the same."""
    with ringing(world, 9_003) as scene:
        answered(world, scene)
        again = scene.caller.call("[V] Bank", OTHER, "phone", PHONE + scene.call.replaces)
        scene.caller.answered(again, 200)
        scene.caller.until(lambda one: one.startswith("BYE "), "replaced")
        for method, names in CHANGES:
            scene.caller.ask(again, method, names)
        scene.caller.ask(again, "BYE")
        scene.phone.until(lambda one: one.startswith("BYE "), "hung up")
        assert "Bank" not in scene.told
        assert OTHER not in scene.told


def _recorded(world: World, scene: Scene) -> tuple[str, str, str]:
    """Name, number and verdict in the record of the caller's leg, once it is written."""
    rows: list[dict[str, str]] = []

    def written() -> bool:
        rows[:] = [row for row in scene.pbx.cdr_rows() if row["dst"] == scene.dest]
        return bool(rows)

    world.listeners["b"].wait_until(written, "recorded")
    (row,) = rows
    return row["caller_id_name"], row["src"], row["stir_verstat"]
