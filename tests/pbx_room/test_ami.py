"""One login to one Asterisk."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from panoramisk.message import Message

from pbx_stir.errors import PbxStirError, PbxUnavailable
from pbx_stir.pbx.ami import MAX_MESSAGE_OCTETS, AmiConnection, AsteriskSettings, LoginRefused
from tests.pbx_room.fake_asterisk import GREETING, NOW, SECRET, FakeAsterisk


class Events:
    """What came."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.came = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self.came.set()


@pytest.mark.parametrize("bytewise", [False, True])
async def test_login_requests_and_events(bytewise: bool) -> None:
    """Answers and events come through, whole or one octet at a time."""
    events = Events()
    async with FakeAsterisk(bytewise=bytewise) as pbx:
        connection = await AmiConnection.open(pbx.settings(), events)
        pong = await connection.request("Ping")
        assert pong.timestamp == NOW
        pbx.event("PbxStir", From="Fran\xe7ois", Nonce="1")
        async with asyncio.timeout(5):
            await events.came.wait()
        assert events.messages[0]["From"] == "Fran\xe7ois"
        await connection.close()
        assert connection.lost.result() == "closed"
        login = pbx.connections[0][0]
        assert (login["Action"], login["Events"]) == ("Login", "user")


async def test_wrong_secret_is_refused_in_words(caplog: pytest.LogCaptureFixture) -> None:
    """The reason is what Asterisk said; the secret is in neither message, log nor repr."""
    caplog.set_level(logging.DEBUG)
    async with FakeAsterisk() as pbx:
        settings = pbx.settings("wrong secret")
        with pytest.raises(LoginRefused) as refused:
            await AmiConnection.open(settings, Events())
    assert "Authentication failed" in str(refused.value)
    assert "manager.conf" in refused.value.hint
    assert "wrong secret" not in f"{refused.value} {settings!r} {caplog.text}"


async def test_an_asterisk_that_ends_refuses_nobody() -> None:
    """It is no wrong secret: the next attempt is as soon as after a lost connection."""
    async with FakeAsterisk() as pbx:
        pbx.refusal = "Asterisk is shutting down"
        with pytest.raises(PbxUnavailable, match="shutting down") as refused:
            await AmiConnection.open(pbx.settings("wrong secret"), Events())
    assert not isinstance(refused.value, LoginRefused)


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b"A\r\n", b"HTTP/1.1 400\r\n\r\n"])
async def test_other_services_are_told_from_asterisk(greeting: bytes) -> None:
    """What does not greet as Asterisk does is not sent the secret."""
    async with FakeAsterisk(greeting=greeting) as pbx:
        with pytest.raises(PbxUnavailable, match="not Asterisk"):
            await AmiConnection.open(pbx.settings(), Events())
        assert pbx.connections == [[]]


async def test_greeting_without_end_is_given_up() -> None:
    """A greeting longer than any of Asterisk's ends the attempt."""
    async with FakeAsterisk(greeting=b"Asterisk Call Manager/" + b"5" * 300) as pbx:
        with pytest.raises(PbxUnavailable, match="without end"):
            await AmiConnection.open(pbx.settings(), Events())


async def test_silence_is_given_up() -> None:
    """A port that takes connections and says nothing does not hold us."""
    async with FakeAsterisk(greeting=b"") as pbx:
        with pytest.raises(PbxUnavailable, match="does not answer"):
            await AmiConnection.open(pbx.settings(), Events(), timeout_seconds=0.05)


async def test_nobody_there_is_said() -> None:
    """A refused connection is PbxUnavailable, with the place."""
    settings = AsteriskSettings("pbx", "127.0.0.1", 1, "u", "s")
    with pytest.raises(PbxUnavailable, match=r"127\.0\.0\.1:1"):
        await AmiConnection.open(settings, Events())


async def test_request_without_answer_ends_and_leaves_nothing() -> None:
    """Every wait has a limit, and what is not waited for any more is forgotten."""
    async with FakeAsterisk() as pbx:
        pbx.silent.add("Ping")
        connection = await AmiConnection.open(pbx.settings(), Events())
        with pytest.raises(PbxUnavailable, match="no answer to Ping"):
            await connection.request("Ping", timeout_seconds=0.05)
        assert connection._wire.responses == {}
        # the answer that comes late finds nobody, and harms nothing
        late = f"Response: Success\r\nActionID: {pbx.connections[0][1]['ActionID']}\r\n\r\n"
        pbx.say(late.encode())
        assert (await connection.request("Getvar", (("Variable", "x"),))).response == "Success"
        await connection.close()


@pytest.mark.parametrize(
    "value", ["a\r\nAction: Originate", "a\nb", "a\rb", "a\0b", "\u20ac", "x" * 1001]
)
async def test_fields_cannot_break_out_of_their_line(value: str) -> None:
    """A line break, a zero octet, a foreign letter or too much is refused in name and value."""
    async with FakeAsterisk() as pbx:
        connection = await AmiConnection.open(pbx.settings(), Events())
        with pytest.raises(PbxStirError):
            connection.send("Setvar", (("Value", value),))
        with pytest.raises(PbxStirError):
            connection.send("Setvar", ((value, "x"),))
        with pytest.raises(PbxStirError):
            connection.send(value)
        await connection.request("Ping")
        assert [action["Action"] for action in pbx.connections[0]] == ["Login", "Ping"]
        await connection.close()


async def test_lost_connection_fails_what_waits_and_replays_nothing() -> None:
    """What was sent before a loss is not sent again over the next connection."""
    async with FakeAsterisk() as pbx:
        pbx.silent.add("Setvar")
        connection = await AmiConnection.open(pbx.settings(), Events())
        sent = connection.send("Setvar", (("Variable", "a"), ("Value", "b")))
        await pbx.until(lambda: len(pbx.connections[0]) == 2)
        pbx.drop()
        with pytest.raises(PbxUnavailable):
            await sent.future
        with pytest.raises(PbxUnavailable):
            connection.send("Ping")
        again = await AmiConnection.open(pbx.settings(), Events())
        await again.request("Ping")
        assert [action["Action"] for action in pbx.connections[1]] == ["Login", "Ping"]
        await again.close()


async def test_message_without_end_ends_the_connection() -> None:
    """A peer that never ends a message does not fill our memory."""
    async with FakeAsterisk() as pbx:
        connection = await AmiConnection.open(pbx.settings(), Events())
        pbx.say(b"Event: X\r\n" + b"a" * (MAX_MESSAGE_OCTETS + 1))
        async with asyncio.timeout(5):
            assert "octets" in await connection.lost


async def test_garbage_between_messages_is_dropped() -> None:
    """Repeated headers, missing ones and any octets neither raise nor end the connection."""
    async with FakeAsterisk() as pbx:
        connection = await AmiConnection.open(pbx.settings(), Events())
        for octets in (
            b"\r\n\r\n",
            b"Response: Success\r\nActionID: 1\r\nActionID: 2\r\n\r\n",
            b"Response: Success\r\nResponse: Success\r\nMessage: a\r\nMessage: b\r\n\r\n",
            bytes(range(256)) + b"\r\n\r\n",
            b"Event: \r\nEvent: x\r\n\r\n",
            b"Response: Follows\r\n\r\n",
        ):
            pbx.say(octets)
        assert (await connection.request("Ping")).timestamp == NOW
        await connection.close()


@given(st.lists(st.binary(max_size=80), max_size=12))
def test_no_octets_raise(pieces: list[bytes]) -> None:
    """Whatever comes after the greeting, the protocol raises nothing into the event loop."""

    class Transport:
        def write(self, octets: bytes) -> None:
            pass

        def abort(self) -> None:
            pass

    async def feed() -> None:
        connection = AmiConnection(AsteriskSettings("p", "h", 1, "u", SECRET), lambda message: None)
        connection._wire.connection_made(Transport())
        for piece in (GREETING, *pieces, b"\r\n\r\n"):
            connection._wire.data_received(piece)
        connection.abort("over")

    asyncio.run(feed())
