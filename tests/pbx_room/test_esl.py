"""Tests of pbx_stir.pbx.esl: what real FreeSWITCHes said, and what nobody should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.errors import MalformedFrame, PbxStirError
from pbx_stir.pbx import esl
from pbx_stir.pbx.esl import Frame, Framer

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.jsonl"))


def said(path: Path) -> list[bytes]:
    """What FreeSWITCH said, read by read."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [one["bytes"].encode("latin-1") for one in lines if one["from"] == "freeswitch"]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_esl_a_conversation_is_the_same_however_it_is_cut(path: Path) -> None:
    """Read by read, at once, or octet by octet: the same frames, all of kinds we know."""
    reads = said(path)
    framers = Framer(), Framer(), Framer()
    by_read = [frame for read in reads for frame in framers[0].feed(read)]
    at_once = framers[1].feed(b"".join(reads))
    by_octet = [f for octet in b"".join(reads) for f in framers[2].feed(bytes([octet]))]
    assert by_read == at_once == by_octet
    assert by_read
    known = {
        esl.AUTH_REQUEST, esl.COMMAND_REPLY, esl.API_RESPONSE, esl.EVENT, esl.DISCONNECT,
        esl.RUDE_REJECTION,
    }  # fmt: skip
    assert {frame.content_type for frame in by_read} <= known
    for frame in by_read:
        if frame.content_type == esl.EVENT:
            assert esl.parse_event(frame)["Event-Name"] == "CUSTOM"


def test_esl_values_are_decoded_after_lines_are_split() -> None:
    """A caller's name with a line end in it stays one value, and adds no header."""
    body = b"Event-Name: CUSTOM\nName: Anna%0AStir-Trunk%3A%20mine%0A%0A\nOther: %25%C3%A9%FF\n\n"
    assert esl.parse_event(Frame(esl.EVENT, {}, body)) == {
        "Event-Name": "CUSTOM",
        "Name": "Anna\nStir-Trunk: mine\n\n",
        "Other": "%\u00e9\ufffd",
    }


def test_esl_replies() -> None:
    """A command's reply is in a header, an API call's in the body; both say errors alike."""
    frames = Framer().feed(
        b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n"
        b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n"
        b"Content-Type: api/response\nContent-Length: 23\n\n-ERR No such channel!\n\n"
    )
    assert [frame.reply for frame in frames] == ["-ERR invalid", "+OK", "-ERR No such channel!"]
    assert [frame.is_ok for frame in frames] == [False, True, False]


@pytest.mark.parametrize(
    "octets",
    [
        b"no colon\n\n",
        b": no name\n\n",
        b"Content-Length: x\n\n",
        b"Content-Length: -1\n\n",
        b"Content-Length: 99999999\n\n",
        b"Content-Length: 262145\n\n",
        b"Content-Length: 1\nContent-Length: 2\n\n",
        b"Content-Type: a\nContent-Type: b\n\n",
        b"A: " + b"x" * 17_000,
        b"A: " + b"x" * 17_000 + b"\n\n",
        b"a:\n" * 1_001 + b"\n",
    ],
)
def test_esl_what_is_no_frame_is_malformed(octets: bytes) -> None:
    """Headers that are none, lengths that are none, and sizes without bound."""
    framer = Framer()
    with pytest.raises(MalformedFrame):
        framer.feed(octets)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_esl_any_octets_are_frames_or_malformed(pieces: list[bytes]) -> None:
    """Nothing but MalformedFrame comes of it, and cutting makes no difference."""

    def read(parts: list[bytes]) -> list[Frame] | None:
        framer, frames = Framer(), []
        try:
            for part in parts:
                frames += framer.feed(part)
        except MalformedFrame:
            return None
        return frames

    whole = read([b"".join(pieces)])
    assert read(pieces) == whole


@given(st.binary(max_size=300))
def test_esl_any_event_is_read_or_malformed(body: bytes) -> None:
    """An event's body is headers, or malformed."""
    try:
        headers = esl.parse_event(Frame(esl.EVENT, {}, body))
    except MalformedFrame:
        return
    assert all(isinstance(value, str | list) for value in headers.values())


def test_esl_an_event_without_end_or_of_another_kind() -> None:
    """Half an event is none, and neither is another frame."""
    for frame in (Frame(esl.EVENT, {}, b"A: b"), Frame(esl.API_RESPONSE, {}, b"A: b\n\n")):
        with pytest.raises(MalformedFrame):
            esl.parse_event(frame)


def test_esl_commands_are_one_line() -> None:
    """Whatever would be two commands, or none, is not written."""
    assert esl.command("api status") == b"api status\n\n"
    assert (
        esl.set_variable("a-1", "stir_answer", "n|x y")
        == b"api uuid_setvar a-1 stir_answer n|x y\n\n"
    )
    assert esl.set_variable("a-1", "stir_x", "") == b"api uuid_setvar a-1 stir_x\n\n"
    for wrong in ("a\nb", "a\rb", "a\0b", "\ud800", "x" * 4_001):
        with pytest.raises(PbxStirError):
            esl.command(wrong)
    for unique_id, name in (("a b", "x"), ("", "x"), ("a", "x y"), ("a;b", "x"), ("a", "")):
        with pytest.raises(PbxStirError):
            esl.set_variable(unique_id, name, "v")


def test_esl_a_password_is_not_quoted() -> None:
    """An error about a password does not tell it, and neither does its cause."""
    with pytest.raises(PbxStirError) as caught:
        esl.login("sesame\nopen")
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert esl.login("ClueCon") == b"auth ClueCon\n\n"


def test_esl_events_are_sent_with_headers() -> None:
    """An event of ours is its subclass and headers, each one line."""
    assert esl.send_event("pbx_stir::request", {"Echo": "x"}) == (
        b"sendevent CUSTOM\nEvent-Subclass: pbx_stir::request\nEcho: x\n\n"
    )
    with pytest.raises(PbxStirError):
        esl.send_event("pbx_stir::request", {"Echo": "x\n\nexit"})
