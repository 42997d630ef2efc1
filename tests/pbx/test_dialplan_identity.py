"""Identity headers that calls bring along, as the dialplan on real Asterisks announces them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import quote

import pytest

from lab import asterisk
from tests.pbx.scene import Caller, Desk, listening

pytestmark = pytest.mark.pbx


async def test_identity_headers_are_announced(caller: Caller) -> None:
    """All Identity headers of a SIP call reach the receiver, in order, octet for octet."""
    values = [
        f'eyJhbGciOi.{"A" * 600}.{n};info=<https://cert.example.org/a.pem>;alg=ES256;ppt="shaken"'
        for n in range(3)
    ]
    desk = Desk()
    async with listening(caller.instance, desk):
        given = {f"ID{n}": quote(value, safe="") for n, value in enumerate(values, start=1)}
        # A variable of Originate is cut at commas, and its line at 1,024 octets.
        for name, value in given.items():
            await caller.set_global(name, value)
        try:
            await caller.place("sip", "16465550120", ORIG="12125550120")
            seen = await caller.seen("16465550120")
        finally:
            for name in given:
                await caller.set_global(name, "")
    assert seen["Reason"] == "verified"
    assert desk.calls[0].identity == tuple(values)
    assert desk.calls[0].orig == "12125550120"
    assert desk.calls[0].originator == ("itself",)


async def test_call_without_identity_header_is_quiet(caller: Caller) -> None:
    """A SIP call without Identity header is announced without one, and logs no error."""
    desk = Desk()
    before = caller.instance.log.count("ERROR")
    async with listening(caller.instance, desk):
        await caller.place("sip", "16465550121")
        await caller.seen("16465550121")
    assert desk.calls[0].identity == ()
    assert caller.instance.log.count("ERROR") == before


async def test_hostile_identity_headers_inject_nothing(caller: Caller) -> None:
    """Commas, brackets and quotes in an Identity header stay inside its field."""
    desk = Desk()
    async with listening(caller.instance, desk):
        await caller.set_global("ID1", quote('a.b.c;info=<x,Nonce: 1>,"(["', safe=""))
        try:
            await caller.place("sip", "16465550122")
            await caller.seen("16465550122")
        finally:
            await caller.set_global("ID1", "")
    assert len(desk.calls) == 1
    assert desk.calls[0].identity == ('a.b.c;info=<x,Nonce: 1>,"["',)


def invite(instance: asterisk.Instance, number: str, identity: Sequence[str]) -> None:
    """Send one INVITE with these Identity headers, octet for octet; nobody waits for its end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((instance.host, 0))
        here = f"{instance.host}:{sender.getsockname()[1]}"
        there = f"{instance.host}:{instance.sip_port}"
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {instance.host}\r\ns=-\r\nc=IN IP4 {instance.host}\r\nt=0 0\r\n"
            "m=audio 40000 RTP/AVP 0\r\n"
        )
        head = [
            f"INVITE sip:{number}@{there} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bK{number}",
            f"From: <sip:12125550100@{here}>;tag={number}",
            f"To: <sip:{number}@{there}>",
            f"Call-ID: {number}@{here}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:{here}>",
            "Max-Forwards: 70",
            *(f"Identity: {value}" for value in identity),
            "Content-Type: application/sdp",
            f"Content-Length: {len(sdp)}",
        ]
        octets = ("\r\n".join(head) + f"\r\n\r\n{sdp}").encode()
        sender.sendto(octets, (instance.host, instance.sip_port))


@pytest.mark.parametrize(
    ("number", "identity", "kept"),
    [
        ("16465550131", ["é" * 900, "short"], ["short"]),
        ("16465550132", ["%" * 3000, "short"], ["short"]),
        ("16465550133", ['"' * 2900] * 4, []),
        ("16465550134", ["a" * 3001, "b" * 4000, "short"], ["short"]),
        ("16465550135", ["a" * 3000, "b" * 2990, "c" * 20, "d"], ["a" * 3000, "b" * 2990, "d"]),
        ("16465550136", ["é" * 580, "(" * 20 + ")", "x"], ["é" * 580, "", "x"]),
    ],
)
async def test_long_identity_headers_are_left_out(
    caller: Caller, number: str, identity: list[str], kept: list[str]
) -> None:
    """A header that is too long, or becomes so by its encoding, costs the call only itself."""
    desk = Desk()
    before = len(caller.instance.log)
    async with listening(caller.instance, desk):
        invite(caller.instance, number, identity)
        seen = await caller.seen(number)
    assert seen["Reason"] == "verified"
    assert desk.calls[0].identity == tuple(value for value in kept if value)
    said = caller.instance.log[before:].splitlines()
    assert [line for line in said if "parenthesis" in line or " ERROR[" in line] == []
