"""ENUM against a small name server that answers whatever a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.directory.enum import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    EnumDirectory,
    EnumSettings,
    Naptr,
    address_of,
    choose,
    name_of,
)
from pbx_stir.errors import ConfigurationError, Unavailable

pytest.importorskip("dns", reason="dnspython is not installed: the extra dns has it")
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

NUMBER = "12125551234"
NAME = "4.3.2.1.5.5.5.2.1.2.1.cps.example.net."
A, B, C = (f"https://{name}.example.com" for name in "abc")

Answer = Callable[[dns.message.Message], dns.message.Message | bytes | None]


def naptr(url: str = A, order: int = 100, preference: int = 10, **other: str) -> str:
    """The text of one record."""
    fields = {"flags": "u", "service": "E2U+pbx-stir-cps", "regexp": f"!^.*$!{url}!"} | other
    replacement = fields.pop("replacement", ".")
    texts = " ".join('"' + one.replace("\\", "\\\\") + '"' for one in fields.values())
    return f"{order} {preference} {texts} {replacement}"


def records(*texts: str, ttl: int = 600, name: str = NAME) -> Answer:
    """Answers with these NAPTR records."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(name, ttl, "IN", "NAPTR", *texts))
        return response

    return answer


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP and TCP; counts what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = records(naptr())
        self.asked: list[str] = []
        self.over_tcp = 0
        self.cut_off = False
        self.port = 0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, octets: bytes, peer: Any) -> None:
        wire = self._answer(octets, udp=True)
        if wire is not None:
            self._transport.sendto(wire, peer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            wire = self._answer(await reader.readexactly(size), udp=False)
            self.over_tcp += 1
            if wire is not None:
                writer.write(len(wire).to_bytes(2, "big") + wire)
                await writer.drain()
        writer.close()

    def _answer(self, octets: bytes, *, udp: bool) -> bytes | None:
        query = dns.message.from_wire(octets)
        self.asked.append(query.question[0].name.to_text())
        response = self.answer(query)
        if response is None or isinstance(response, bytes):
            return response
        if udp and self.cut_off:
            response.answer.clear()
            response.flags |= dns.flags.TC
        return response.to_wire(max_size=65_535)


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    """A name server that runs."""
    loop = asyncio.get_running_loop()
    one = NameServer()
    for _ in range(20):
        tcp = await asyncio.start_server(one.serve, "127.0.0.1", 0)
        port = tcp.sockets[0].getsockname()[1]
        try:
            transport, _ = await loop.create_datagram_endpoint(
                lambda: one, local_addr=("127.0.0.1", port)
            )
        except OSError:
            tcp.close()
            continue
        break
    one.port = port
    yield one
    transport.close()
    tcp.close()


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def directory(
    server: NameServer, *, service: str = "", clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[EnumDirectory]:
    """A directory that asks the server."""
    settings = EnumSettings(
        "cps.example.net", service or "E2U+pbx-stir-cps", (f"127.0.0.1:{server.port}",)
    )
    found = EnumDirectory(settings, monotonic=clock)
    yield found
    await found.close()


def soon() -> float:
    """A moment that leaves time enough on a busy machine."""
    return time.monotonic() + 10


async def test_a_number_is_found_by_its_reversed_digits(server: NameServer) -> None:
    """The question is RFC 6116's, and the answer's URL is the CPS."""
    async with directory(server) as enum:
        assert await enum.cps(NUMBER, soon()) == (A,)
    assert [one.lower() for one in server.asked] == [NAME]


async def test_an_answer_is_kept_for_its_time_within_bounds(server: NameServer) -> None:
    """Nobody is asked twice before the answer ends: no sooner and no later than the bounds say."""
    for ttl, seconds in ((0, SHORTEST_SECONDS), (600, 600), (2**31 - 1, LONGEST_SECONDS)):
        server.answer = records(naptr(), ttl=ttl)
        server.asked.clear()
        clock = Clock()
        async with directory(server, clock=clock) as enum:
            await enum.cps(NUMBER, clock.now + 10)
            clock.now += seconds - 1
            await enum.cps(NUMBER, clock.now + 10)
            assert len(server.asked) == 1
            clock.now += 2
            await enum.cps(NUMBER, clock.now + 10)
            assert len(server.asked) == 2


async def test_many_calls_ask_once(server: NameServer) -> None:
    """However many calls wait for one number, it is one question."""
    async with directory(server) as enum:
        found = await asyncio.gather(*(enum.cps(NUMBER, soon()) for _ in range(20)))
    assert set(found) == {(A,)}
    assert len(server.asked) == 1


def nxdomain(query: dns.message.Message) -> dns.message.Message:
    """There is no such name."""
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.NXDOMAIN)
    return response


def alias(query: dns.message.Message) -> dns.message.Message:
    """The name is another one's alias, whose record comes along."""
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text(NAME, 600, "IN", "CNAME", "other.example."))
    response.answer.append(dns.rrset.from_text("other.example.", 600, "IN", "NAPTR", naptr()))
    return response


@pytest.mark.parametrize(
    "answer",
    [nxdomain, dns.message.make_response, alias, records(naptr(), name="other.example.")],
    ids=["no such name", "no record", "an alias", "another name's record"],
)
async def test_what_names_no_cps_is_remembered_as_that(server: NameServer, answer: Answer) -> None:
    """A number that DNS does not name is no failure, and is not asked for at every call."""
    server.answer = answer
    async with directory(server) as enum:
        assert await enum.cps(NUMBER, soon()) == ()
        asked = len(server.asked)
        assert await enum.cps(NUMBER, soon()) == ()
        assert len(server.asked) == asked


async def test_a_long_answer_comes_over_tcp(server: NameServer) -> None:
    """One that does not fit into a datagram is asked for again over TCP."""
    server.cut_off = True
    async with directory(server) as enum:
        assert await enum.cps(NUMBER, soon()) == (A,)
    assert server.over_tcp == 1


async def test_a_thousand_records_are_not_all_looked_at(server: NameServer) -> None:
    """An answer without end costs no more than its first records, and gives at most four CPSs."""
    server.answer = records(*(naptr(f"https://c{at}.example.com", 1, at) for at in range(900)))
    server.cut_off = True
    async with directory(server) as enum:
        assert len(await enum.cps(NUMBER, soon())) == 4


def servfail(query: dns.message.Message) -> dns.message.Message:
    """The server cannot say."""
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.SERVFAIL)
    return response


def other_id(query: dns.message.Message) -> dns.message.Message:
    """An answer to another question's id, as one who guesses sends it."""
    response = records(naptr(B))(query)
    assert isinstance(response, dns.message.Message)
    response.id = (query.id + 1) % 65_536
    return response


@pytest.mark.parametrize(
    "answer",
    [lambda query: None, servfail, lambda query: b"\0" * 40, lambda query: b"", other_id],
    ids=["silence", "failure", "garbage", "nothing", "another id"],
)
async def test_no_answer_is_unavailable_in_bounded_time(server: NameServer, answer: Answer) -> None:
    """Whatever a name server does instead of answering, the caller learns it, and soon."""
    server.answer = answer
    async with directory(server) as enum:
        async with asyncio.timeout(20):
            with pytest.raises(Unavailable):
                await enum.cps(NUMBER, soon())
        asked = len(server.asked)
        with pytest.raises(Unavailable):
            await enum.cps(NUMBER, soon())
        assert len(server.asked) == asked


async def test_a_call_waits_no_longer_than_it_may(server: NameServer) -> None:
    """A moment to give up at is kept, while the question goes on for the next call."""
    server.answer = lambda query: None
    async with directory(server) as enum:
        with pytest.raises(Unavailable):
            await enum.cps(NUMBER, time.monotonic())


def record(url: str = A, order: int = 100, preference: int = 10, **other: str) -> Naptr:
    """One record, of the right form but for what is said."""
    fields = {"flags": "u", "service": "E2U+pbx-stir-cps", "regexp": f"!^.*$!{url}!"} | other
    replacement = fields.pop("replacement", ".")
    return Naptr(order, preference, **fields, replacement=replacement)


@pytest.mark.parametrize(
    "wrong",
    [
        {"flags": ""}, {"flags": "s"}, {"flags": "uu"}, {"service": "E2U+sip"}, {"service": ""},
        {"service": "pbx-stir-cps"}, {"replacement": "example.net."}, {"regexp": ""},
        {"regexp": "!^.*$!"}, {"regexp": f"!.*!{A}!"}, {"regexp": f"!^(.*)$!{A}/\\1!"},
        {"regexp": f"!^.*$!{A}!g"}, {"regexp": f"!^.*$!{A}!!"}, {"regexp": f"!^.*$!{A}"},
        {"regexp": "!^.*$!http://a.example.com!"}, {"regexp": "!^.*$!https://a.example.com?q!"},
        {"regexp": "!^.*$!sip:a@example.com!"}, {"regexp": f"a^.*$a{A}a"},
        {"regexp": f"\\^.*$\\{A}\\"}, {"regexp": "!^.*$!https://u@a.example.com!"},
        {"regexp": "!^.*$!!"}, {"regexp": "!^\\+1212555(.*)$!https://a.example.com/\\1!"},
    ],
)  # fmt: skip
def test_other_records_are_left_out(wrong: dict[str, str]) -> None:
    """A record of another form, service or scheme is as none, and does not spoil the others."""
    assert choose([record(**wrong)], "E2U+pbx-stir-cps") == ()
    assert choose([record(**wrong), record(B)], "E2U+pbx-stir-cps") == (B,)


@pytest.mark.parametrize("right", [{"flags": "U"}, {"service": "e2u+PBX-STIR-CPS"},
                                   {"regexp": f"|^.*$|{A}|i"}])  # fmt: skip
def test_letter_case_and_mark_are_free(right: dict[str, str]) -> None:
    """As RFC 3403 and RFC 6116 say of flags, services and marks."""
    assert choose([record(**right)], "E2U+pbx-stir-cps") == (A,)


def test_the_lowest_order_counts_alone() -> None:
    """By order, then by preference, each URL once."""
    found = choose(
        [record(C, 200, 1), record(B, 100, 20), record(A, 100, 10), record(A, 100, 30)],
        "E2U+pbx-stir-cps",
    )
    assert found == (A, B)


@given(st.text(max_size=60), st.text(max_size=12))
def test_any_texts_are_read_or_left_out(regexp: str, flags: str) -> None:
    """Nothing in a record raises."""
    choose([record(regexp=regexp), record(flags=flags)], "E2U+pbx-stir-cps")


def test_names() -> None:
    """A suffix may have a dot at its end."""
    assert name_of(NUMBER, "cps.example.net") == name_of(NUMBER, "cps.example.net.") == NAME


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
    ],
)
def test_name_servers_are_addresses(server: str, address: tuple[str, int]) -> None:
    """Of both kinds, with a port or without."""
    assert address_of(server) == address


@pytest.mark.parametrize(
    "settings",
    [
        {"suffix": ""}, {"suffix": "a b"}, {"suffix": "."}, {"suffix": "-a"}, {"suffix": "a..b"},
        {"suffix": "a" * 64}, {"service": "SIP+D2U"}, {"service": "E2U"}, {"service": "E2U+"},
        {"nameservers": ("ns.example.net",)}, {"nameservers": ("192.0.2.53:0",)},
        {"nameservers": ("192.0.2.53:x",)}, {"nameservers": ("",)},
    ],
)  # fmt: skip
def test_wrong_settings_are_named(settings: dict[str, Any]) -> None:
    """What cannot be asked is a mistake of the configuration."""
    with pytest.raises(ConfigurationError):
        EnumSettings(**{"suffix": "cps.example.net"} | settings)
