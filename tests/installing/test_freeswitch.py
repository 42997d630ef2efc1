"""Installing on a FreeSWITCH."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from pbx_stir.errors import ConfigurationError
from pbx_stir.installing.changes import shown
from tests.installing.conftest import Site

ETC = "/etc/freeswitch"
SOCKET = f"{ETC}/autoload_configs/event_socket.conf.xml"
VARS = b"""<include>
  <X-PRE-PROCESS cmd="set" data="domain=$${local_ip_v4}"/>
</include>
"""
PUBLIC = b"""<include>
  <!-- <context name="public"> -->
  <context name="public">
    <extension name="unloop"><condition/></extension>
  </context>
</include>
"""
GATEWAY = b"""<include>
  <gateway name="carrier-1">
    <param name="password" value="theirs"/>
  </gateway>
</include>
"""


def _socket(password: str) -> bytes:
    return (
        '<configuration name="event_socket.conf"><settings>\n'
        '<!-- <param name="password" value="old"/> -->\n'
        f'<param name="password" value="{password}"/></settings></configuration>\n'
    ).encode()


@pytest.fixture
def freeswitch(site: Site) -> Site:
    """A machine with FreeSWITCH's folders, as Debian's package has them."""
    site.pbx = "freeswitch"
    site.machine.path("/usr/share/freeswitch/scripts").mkdir(parents=True)
    site.put(f"{ETC}/vars.xml", VARS)
    site.put(f"{ETC}/dialplan/public.xml", PUBLIC)
    site.put(f"{ETC}/sip_profiles/external/carrier.xml", GATEWAY)
    site.put(SOCKET, _socket("s3cret&amp;more"))
    return site


def test_all_of_it(freeswitch: Site) -> None:
    """Scripts, switches, first extension, the gateway's variable; undone, all is as before."""
    before = freeswitch.snapshot()
    freeswitch.install(trunks=("carrier-1",))
    scripts = "/usr/share/freeswitch/scripts"
    assert b"pbx_stir.lua" in freeswitch.read(f"{scripts}/pbx_stir.lua")
    assert freeswitch.read(f"{scripts}/pbx_stir_caller.lua")
    switches = freeswitch.read(f"{ETC}/vars.xml").decode()
    assert '<X-PRE-PROCESS cmd="set" data="stir_in_carrier-1=monitor"/>' in switches
    context = ET.fromstring(freeswitch.read(f"{ETC}/dialplan/public.xml")).find("context")
    assert context is not None
    assert [one.get("name") for one in context.iter("extension")] == ["pbx-stir-inbound", "unloop"]
    gateway = ET.fromstring(freeswitch.read(f"{ETC}/sip_profiles/external/carrier.xml"))
    variable = gateway.find("gateway/variables/variable")
    assert variable is not None
    assert variable.get("value") == "lua pbx_stir.lua outbound carrier-1"
    assert not freeswitch.plan(trunks=("carrier-1",)).changes
    freeswitch.undo()
    assert freeswitch.snapshot() == before


def test_the_password_is_taken_over(freeswitch: Site) -> None:
    """The event socket's password goes to the service's file, and is never shown."""
    plan = freeswitch.install(trunks=("carrier-1",))
    assert freeswitch.read("/etc/pbx-stir/event-socket.password") == b"s3cret&more\n"
    told = "".join(shown(change) for change in plan.changes) + "".join(plan.left)
    assert "s3cret" not in told
    assert "theirs" not in told


def test_no_password_beside_our_lines_is_shown(freeswitch: Site) -> None:
    """Passwords of vars.xml and of gateways, however they are written, are never shown."""
    before = b'<include>\n  <X-PRE-PROCESS cmd="set" data="default_password=SEKRIT"/>\n</include>\n'
    freeswitch.put(f"{ETC}/vars.xml", before)
    gateway = b"""<include>
  <gateway name="carrier-1">
    <param value = 'SEKRIT' name='password'/>
    <param name="password"
           value="SEKRIT"/>
  </gateway>
</include>
"""
    freeswitch.put(f"{ETC}/sip_profiles/external/carrier.xml", gateway)
    told = "".join(shown(change) for change in freeswitch.plan(trunks=("carrier-1",)).changes)
    assert "stir_in_carrier-1=monitor" in told
    assert "outbound carrier-1" in told
    assert "SEKRIT" not in told


def test_a_new_password_is_taken_over_again(freeswitch: Site) -> None:
    """Once it is changed, installing again brings the service's file up to date."""
    freeswitch.put(SOCKET, _socket("ClueCon"))
    assert any("everybody's" in one for one in freeswitch.install().left)
    freeswitch.put(SOCKET, _socket("another"))
    assert not any("everybody's" in one for one in freeswitch.install().left)
    assert freeswitch.read("/etc/pbx-stir/event-socket.password") == b"another\n"


@pytest.mark.parametrize("password", ["", "$${secret}", "ä", 'x"/><param name="password" value="y'])
def test_a_password_that_cannot_be_taken(freeswitch: Site, password: str) -> None:
    """None, several, one that is a variable: told, without showing it."""
    freeswitch.put(SOCKET, _socket(password))
    with pytest.raises(ConfigurationError, match="no password that could be taken over"):
        freeswitch.plan()


def test_several_trunks_are_told_apart_by_the_administrator(freeswitch: Site) -> None:
    """Which calls of the one context are whose is not known here: it is said."""
    plan = freeswitch.install(trunks=("carrier-1", "carrier-2"))
    assert freeswitch.read(f"{ETC}/dialplan/public.xml") == PUBLIC
    assert any("inbound.xml" in one for one in plan.left)
    assert any("no gateway named carrier-2" in one for one in plan.left)


def test_a_gateway_with_variables(freeswitch: Site) -> None:
    """Where a gateway has variables ours joins them; where it has that one, it is told."""
    path = f"{ETC}/sip_profiles/external/carrier.xml"
    listed = GATEWAY.replace(
        b"  </gateway>",
        b'    <variables>\n      <variable name="x" value="y"/>\n    </variables>\n  </gateway>',
    )
    freeswitch.put(path, listed)
    freeswitch.install(trunks=("carrier-1",))
    gateway = ET.fromstring(freeswitch.read(path))
    assert len(gateway.findall("gateway/variables/variable")) == 2
    assert len(gateway.findall("gateway/variables")) == 1
    freeswitch.undo()
    assert freeswitch.read(path) == listed
    freeswitch.put(path, listed.replace(b'name="x"', b'name="execute_on_originate"'))
    plan = freeswitch.install(trunks=("carrier-1",))
    assert any("add to gateway carrier-1" in one for one in plan.left)


def test_switches_that_were_turned_stay(freeswitch: Site) -> None:
    """Installing again does not turn back what the administrator has turned."""
    freeswitch.install(trunks=("carrier-1",))
    turned = freeswitch.read(f"{ETC}/vars.xml").replace(b"in_carrier-1=monitor", b"in_carrier-1=on")
    freeswitch.put(f"{ETC}/vars.xml", turned)
    freeswitch.install(trunks=("carrier-1", "b"))
    text = freeswitch.read(f"{ETC}/vars.xml")
    assert b"stir_in_carrier-1=on" in text
    assert b"stir_in_b=monitor" in text


def test_fusionpbx_keeps_its_dialplan(freeswitch: Site) -> None:
    """FusionPBX has its dialplan in a database: scripts, password and service are installed."""
    freeswitch.machine.path("/etc/fusionpbx").mkdir()
    plan = freeswitch.install(trunks=("carrier-1",))
    assert not any(change.block for change in plan.changes)
    assert any("docs/freeswitch.md" in one for one in plan.left)


def test_without_freeswitch(site: Site) -> None:
    """A folder that is not there is an error that names the option."""
    site.pbx = "freeswitch"
    with pytest.raises(ConfigurationError, match="--etc"):
        site.plan()
    site.machine.path(ETC).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="--scripts"):
        site.plan()
