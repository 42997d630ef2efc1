"""Tests of pbx_stir.cps.resolver."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from pbx_stir.cps.resolver import BoundedResolver


class Names:
    """A system resolver that answers when told, or at once."""

    def __init__(self, *, addresses: list[str] | None = None, hangs: bool = False) -> None:
        self.addresses = addresses or []
        self.asked: list[str] = []
        self.told = threading.Event()
        if not hangs:
            self.told.set()

    def __call__(self, host: str, _port: int, _family: socket.AddressFamily) -> list[str]:
        """Look up."""
        self.asked.append(host)
        self.told.wait(10)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self.addresses


async def test_addresses_of_both_families() -> None:
    """What the system finds comes in the form that aiohttp connects to."""
    resolver = BoundedResolver(look_up=Names(addresses=["192.0.2.1", "2001:db8::1"]))
    found = await resolver.resolve("cps.example", 8443)
    assert [(each["host"], each["port"], each["family"]) for each in found] == [
        ("192.0.2.1", 8443, socket.AF_INET),
        ("2001:db8::1", 8443, socket.AF_INET6),
    ]


async def test_the_system_resolver_is_asked() -> None:
    """By default names are the system's."""
    found = await BoundedResolver().resolve("localhost", 1)
    assert {each["host"] for each in found} <= {"127.0.0.1", "::1"}


async def test_an_unknown_name_is_an_oserror() -> None:
    """A name that does not exist raises what aiohttp expects."""
    with pytest.raises(OSError, match="no such name"):
        await BoundedResolver(look_up=Names()).resolve("nowhere.example")


async def test_addresses_are_judged() -> None:
    """Only allowed addresses are given; a name that has none other has none."""
    resolver = BoundedResolver(
        look_up=Names(addresses=["127.0.0.1", "192.0.2.1"]), is_allowed=lambda a: a != "127.0.0.1"
    )
    assert [each["host"] for each in await resolver.resolve("a.example")] == ["192.0.2.1"]
    private = BoundedResolver(look_up=Names(addresses=["10.0.0.1"]), is_allowed=lambda _: False)
    with pytest.raises(OSError, match="may be used"):
        await private.resolve("rebound.example")


async def test_a_hanging_lookup_holds_nobody() -> None:
    """Who waits may leave at once; who comes later joins the lookup, and gets its result."""
    names = Names(addresses=["192.0.2.1"], hangs=True)
    resolver = BoundedResolver(look_up=names)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await resolver.resolve("slow.example")
    later = asyncio.create_task(resolver.resolve("slow.example"))
    await asyncio.sleep(0)
    names.told.set()
    assert (await later)[0]["host"] == "192.0.2.1"
    assert names.asked == ["slow.example"]


async def test_lookups_are_bounded() -> None:
    """When all threads hang the next name is refused at once, and taken again afterwards."""
    names = Names(addresses=["192.0.2.1"], hangs=True)
    resolver = BoundedResolver(look_up=names, max_lookups=3)
    waiting = [asyncio.create_task(resolver.resolve(f"{n}.example")) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many"):
        await resolver.resolve("one-more.example")
    names.told.set()
    await asyncio.gather(*waiting)
    assert await resolver.resolve("one-more.example")


async def test_a_loop_that_ended_is_no_error() -> None:
    """A lookup that outlives its loop ends in silence."""
    names = Names(addresses=["192.0.2.1"], hangs=True)

    def short_lived() -> None:
        async def leave() -> None:
            async with asyncio.timeout(0.01):
                await BoundedResolver(look_up=names).resolve("slow.example")

        with pytest.raises(TimeoutError):
            asyncio.run(leave())

    await asyncio.to_thread(short_lived)
    thread = next(each for each in threading.enumerate() if each.name == "cps-lookup")
    names.told.set()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
