"""DNS that is dead: CPSs have names, which nobody can look up any more."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
import pytest

from tests.faults.front import Side
from tests.faults.machine import needs_root
from tests.faults.table import enter, story
from tests.faults.world import Layout, World

pytestmark = pytest.mark.pbx

ADDRESS = "127.53.53.1"
NAME = "cps.faults.test"


class NameServer(asyncio.DatagramProtocol):
    """Knows one name; dead while it ``is_dead``: no answer comes."""

    def __init__(self) -> None:
        self.is_dead = False
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # not an instance of DatagramTransport in all versions of asyncio
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, octets: bytes, address: tuple[str, int]) -> None:
        if self.is_dead or self._transport is None:
            return
        query = dns.message.from_wire(octets)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        asked = query.question[0]
        if asked.rdtype == dns.rdatatype.A and asked.name.to_text() == f"{NAME}.":
            answer.answer.append(dns.rrset.from_text(asked.name, 5, "IN", "A", "127.0.0.1"))
        self._transport.sendto(answer.to_wire(), address)


@pytest.fixture(scope="module")
def names(side: Side) -> Iterator[NameServer]:
    """A name server on loopback."""
    needs_root("unshare", "util-linux")
    server = NameServer()

    async def listen() -> asyncio.DatagramTransport:
        transport, _ = await side.loop.create_datagram_endpoint(
            lambda: server, local_addr=(ADDRESS, 53)
        )
        return transport

    transport = side.do(listen())
    yield server
    side.call(transport.close)


@pytest.fixture(scope="module")
def world(side: Side, names: NameServer) -> Iterator[World]:
    """Listeners that see another resolv.conf than the machine."""
    with tempfile.TemporaryDirectory() as folder:
        resolv = Path(folder) / "resolv.conf"
        resolv.write_text(f"nameserver {ADDRESS}\n")
        resolv.chmod(0o644)
        script = f'mount --bind {resolv} /etc/resolv.conf && exec "$@"'
        within = ("unshare", "--mount", "sh", "-c", script, "sh")
        with World(side, Layout(host=NAME, within=within)) as running:
            yield running


@contextlib.contextmanager
def dead(world: World, names: NameServer, *, restarted: bool) -> Iterator[None]:
    """No name is answered for; connections break off, or the listeners are started anew."""
    names.is_dead = True
    try:
        if restarted:
            for name, listener in world.listeners.items():
                listener.stop()
                listener.start()
                world.heard(name)
        world.cps.front.cut()
        yield
    finally:
        names.is_dead = False


def test_dns_is_dead(world: World, names: NameServer) -> None:
    """What was looked up in the last minute is known still: nobody notices."""
    row = enter(story(world, "DNS dead", dead(world, names, restarted=False)))
    assert row.unverified == 0


def test_dns_is_dead_at_the_start(world: World, names: NameServer) -> None:
    """Listeners that know no address are as with a CPS that is silent, until names are known."""
    fault = dead(world, names, restarted=True)
    told = story(world, "DNS dead, listeners restarted", fault, seconds=12, within=40)
    row = enter(told, settled_after=6.0, felt="cps-unavailable")
    assert row.costs_nothing
