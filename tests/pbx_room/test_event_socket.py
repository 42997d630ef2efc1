"""The connection, against an event socket's double, and the double against recordings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.event_socket import PASSWORD, EventSocketDouble
from pbx_stir.errors import PbxStirError, PbxUnavailable
from pbx_stir.pbx import esl, event_socket
from pbx_stir.pbx.esl import Framer, Headers
from pbx_stir.pbx.event_socket import (
    AddressRefused,
    EventSocket,
    FreeSwitchSettings,
    PasswordRefused,
)

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.jsonl"))
REFUSED: dict[str, tuple[type[PbxUnavailable], str]] = {
    "wrong_password": (PasswordRefused, "refused: -ERR invalid"),
    "rude_rejection": (AddressRefused, "access list does not admit"),
}
SUBSCRIBE = esl.command("event plain CUSTOM pbx_stir::request pbx_stir::ended")
# What differs from one run to the next, and what only statistics and a wrong command would show.
_OWN = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|Content-Length: \d+\n(?=Content-Type: text/event)")


def lines(path: Path) -> list[tuple[str, str]]:
    """Who said what, in order; reads of one side that follow each other are one."""
    joined: list[tuple[str, str]] = []
    for one in map(json.loads, path.read_text().splitlines()):
        if joined and joined[-1][0] == one["from"]:
            joined[-1] = (one["from"], joined[-1][1] + one["bytes"])
        else:
            joined.append((one["from"], one["bytes"]))
    return joined


class Replay:
    """A server that says what a FreeSWITCH said, after it has read what the client said then."""

    def __init__(self, path: Path, bytewise: bool) -> None:
        self.said = lines(path)
        self.bytewise = bytewise
        self.server: asyncio.Server | None = None

    async def __aenter__(self) -> FreeSwitchSettings:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        sent = [text for who, text in self.said if who == "client"]
        password = sent[0].removeprefix("auth ").strip() if sent else "any"
        return FreeSwitchSettings("fs", "127.0.0.1", port, password)

    async def __aexit__(self, *_: object) -> None:
        assert self.server is not None
        self.server.close()
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            for who, text in self.said:
                octets = text.encode("latin-1")
                if who == "client":
                    assert await reader.readexactly(len(octets)) == octets
                    continue
                for piece in [bytes([one]) for one in octets] if self.bytewise else [octets]:
                    writer.write(piece)
                await writer.drain()


def _commands(path: Path) -> Iterator[bytes]:
    for who, text in lines(path):
        if who == "client" and not text.startswith("auth"):
            yield from (f"{one}\n\n".encode("latin-1") for one in text.split("\n\n") if one)


@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
async def test_freeswitch_conversations_are_had_again(path: Path, bytewise: bool) -> None:
    """Whole and octet by octet: the login, each command's own reply, each event, and the end."""
    events: list[Headers] = []
    replay = Replay(path, bytewise)
    async with replay as settings:
        if path.stem in REFUSED:
            kind, why = REFUSED[path.stem]
            with pytest.raises(kind, match=why):
                await EventSocket.open(settings, events.append)
            return
        connection = await EventSocket.open(settings, events.append)
        said = "".join(text for who, text in replay.said if who == "freeswitch")
        frames = Framer().feed(said.encode("latin-1"))
        replies = [
            f.reply for f in frames if f.content_type in {esl.API_RESPONSE, esl.COMMAND_REPLY}
        ]
        waiting = [connection.send(one) for one in _commands(path)]
        async with asyncio.timeout(5):
            assert [frame.reply for frame in await asyncio.gather(*waiting)] == replies[1:]
            assert await connection.lost == "closed by the PBX"
    wanted = [esl.parse_event(frame) for frame in frames if frame.content_type == esl.EVENT]
    assert events == wanted


def _shape(text: str) -> list[str]:
    """What was said, without what is another one's each time."""
    kept = []
    for line in _OWN.sub("", text).splitlines():
        name = line.partition(":")[0]
        if name not in {
            "Command", "Event-UUID", "Core-UUID", "FreeSWITCH-Switchname", "FreeSWITCH-IPv6",
            "Event-Date-Local", "Event-Date-GMT", "Event-Date-Timestamp", "Event-Calling-File",
            "Event-Calling-Function", "Event-Calling-Line-Number", "Event-Sequence",
        }:  # fmt: skip
            kept.append(line)
    return sorted(kept)


@pytest.mark.parametrize("name", ["our_commands", "rude_rejection", "wrong_password"])
async def test_esl_double_answers_as_freeswitch_did(name: str) -> None:
    """What a FreeSWITCH was recorded to say to our commands is what the double says to them."""
    path = next(one for one in TRANSCRIPTS if one.stem == name)
    async with EventSocketDouble() as double:
        double.rejects = name == "rude_rejection"
        double.channels["72f80641-a15e-4dec-8567-07c25df3933c"] = {}
        reader, writer = await asyncio.open_connection("127.0.0.1", double.port)
        for who, text in lines(path):
            if who == "client":
                writer.write(text.replace("ClueCon", PASSWORD).encode("latin-1"))
                continue
            said = ""
            async with asyncio.timeout(5):
                while len(_shape(said)) < len(_shape(text)):
                    said += (await reader.read(65_536)).decode("latin-1")
            assert _shape(said) == _shape(text)
        writer.close()
        await asyncio.sleep(0)


async def test_esl_double_fails_a_test_on_what_no_freeswitch_would_take() -> None:
    """A command outside the grammar, or before the login, is not overlooked."""
    double = EventSocketDouble()
    await double.listen()
    _, writer = await asyncio.open_connection("127.0.0.1", double.port)
    writer.write(b"api uuid_getvar a b\n\nauth " + PASSWORD.encode() + b"\n\n")
    writer.write(b"api status\n\napi uuid_setvar a stir_x 'q'\n\napi global_getvar a\n\n")
    await double.until(lambda: len(double.commands[-1]) == 5)
    writer.close()
    assert len(double.strange) == 3
    with pytest.raises(AssertionError, match="commands"):
        await double.__aexit__(None)


async def test_freeswitch_wrong_password_is_said_and_not_shown() -> None:
    """It has an exception of its own, whose text has neither password."""
    async with EventSocketDouble() as double:
        with pytest.raises(PasswordRefused) as refused:
            await EventSocket.open(double.settings("not this one"), print)
        assert "not this one" not in str(refused.value)
        assert "not this one" not in repr(double.settings("not this one"))


async def test_freeswitch_that_says_nothing_is_left() -> None:
    """A port that takes connections and does not speak costs the time-out, no more."""
    async with EventSocketDouble() as double:
        double.freeze()
        with pytest.raises(PbxUnavailable, match="does not answer"):
            await EventSocket.open(double.settings(), print, timeout_seconds=0.1)


@pytest.mark.parametrize(
    "greeting",
    [b"SSH-2.0-OpenSSH\r\n\n\n", b"Content-Length: x\n\n", b"A: " + b"x" * 20_000, b"\xff\n\n"],
)
async def test_freeswitch_is_not_what_answers_there(greeting: bytes) -> None:
    """Something that speaks another protocol is hung up on."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            writer.write(greeting)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(PbxUnavailable, match="not FreeSWITCH's event socket"):
        await EventSocket.open(FreeSwitchSettings("fs", "127.0.0.1", port, "x"), print)
    server.close()
    await asyncio.sleep(0)


async def test_freeswitch_that_reads_nothing_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it does not read is not kept without bound, and whatever waits fails."""
    monkeypatch.setattr(event_socket, "MAX_UNSENT_OCTETS", 4_000)
    async with EventSocketDouble() as double:
        connection = await EventSocket.open(double.settings(), print)
        double.freeze()
        first = connection.send(esl.command("api global_getvar stir_heartbeat"))
        long = esl.set_variable("a-1", "stir_answer", "x" * 3_000)

        def flood() -> None:
            for _ in range(event_socket.MAX_PENDING + 1):
                connection.send(long).cancel()

        with pytest.raises(PbxUnavailable, match=r"does not read|wait for a reply"):
            flood()
        assert connection.lost.done() or len(connection._pending) <= event_socket.MAX_PENDING
        connection.abort("over")
        with pytest.raises(PbxUnavailable):
            await first


async def test_freeswitch_reply_that_comes_late_is_not_taken_for_another() -> None:
    """Who has given up waiting keeps his place in the order of replies."""
    async with EventSocketDouble() as double:
        double.globals["stir_heartbeat"] = "second"
        connection = await EventSocket.open(double.settings(), print)
        double.freeze()
        with pytest.raises(PbxUnavailable, match="no reply"):
            await connection.request(esl.command("api global_getvar nothing"), 0.05)
        double.thaw()
        reply = await connection.request(esl.command("api global_getvar stir_heartbeat"))
        assert reply.reply == "second"
        await connection.close()


async def test_freeswitch_event_that_cannot_be_read_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged without its text, and the next one is read."""
    events: list[Headers] = []
    async with EventSocketDouble() as double:
        connection = await EventSocket.open(double.settings(), events.append)
        await connection.request(SUBSCRIBE)
        for body in (b"no header\n\n", b"Event-Subclass: x\n\n"):
            head = f"Content-Length: {len(body)}\nContent-Type: text/event-plain\n\n".encode()
            connection.data_received(head + body)
        assert events == [{"Event-Subclass": "x"}]
        await connection.close()
    assert "cannot be read" in caplog.text


async def test_freeswitch_reply_to_nothing_ends_the_connection() -> None:
    """Out of step, no reply can be believed."""
    async with EventSocketDouble() as double:
        connection = await EventSocket.open(double.settings(), print)
        connection.data_received(b"Content-Type: command/reply\nReply-Text: +OK\n\n")
        assert await connection.lost == "a reply to nothing"
        with pytest.raises(PbxStirError):
            connection.send(esl.command("api global_getvar x"))
