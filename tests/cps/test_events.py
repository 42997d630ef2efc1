"""Tests of pbx_stir.cps.events: the grammar of the stream, both directions."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbx_stir.cps import events, wire
from pbx_stir.cps.events import Arrived, EventReader
from pbx_stir.errors import MalformedAnswer

NUMBER = "12125551234"
IDS = [wire.format_id(bytes([each]) * 16) for each in range(3)]
ENTRIES = [Arrived(each, wire.item_path(NUMBER, each), NUMBER, b"Abc_-") for each in IDS]
STREAM = events.OPENING + events.HEARTBEAT.join(
    events.format_event(each.number, each.id, each.wire) for each in ENTRIES
)


def read(reader: EventReader, *pieces: bytes) -> list[Arrived]:
    """Everything that the pieces complete."""
    return [each for piece in pieces for each in reader.feed(piece)]


def event(**changes: object) -> bytes:
    """One event with a member of its JSON changed; None leaves it out."""
    text = {"href": wire.item_path(NUMBER, IDS[0]), "number": NUMBER, "passport": "Abc"} | changes
    left = {name: value for name, value in text.items() if value is not None}
    return b"id: %s\ndata: %s\n\n" % (IDS[0].encode(), json.dumps(left).encode())


def test_what_is_written_is_read_back() -> None:
    """An event's entry comes back, and its id is what to resume with."""
    reader = EventReader()
    assert read(reader, STREAM) == ENTRIES
    assert reader.last_id == IDS[-1]


def test_the_grammar_is_as_documented() -> None:
    """The octets of an event are those that docs/retrieval.md shows."""
    assert (
        events.format_event(NUMBER, IDS[0], b"Abc")
        == (
            f'id: {IDS[0]}\ndata: {{"href":"/cps/{NUMBER}/ppts/{IDS[0]}",'
            f'"number":"{NUMBER}","passport":"Abc"}}\n\n'
        ).encode()
    )
    assert (events.OPENING, events.HEARTBEAT) == (b"retry: 2000\n\n", b":\n\n")
    assert events.BEGIN_ANEW == b"id:\n\n"


def test_what_is_said_besides_entries() -> None:
    """A comment is noticed when its line is whole; an empty id makes the reader forget the last."""
    reader = EventReader(IDS[0])
    assert (reader.last_id, reader.has_comment) == (IDS[0], False)
    assert read(reader, events.OPENING, STREAM.replace(b":\n", b""), b":") == ENTRIES
    assert (reader.last_id, reader.has_comment) == (IDS[-1], False)
    assert read(reader, b"\n\n", events.BEGIN_ANEW) == []
    assert (reader.last_id, reader.has_comment) == ("", True)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_octet_by_octet_is_the_same(ending: bytes) -> None:
    """Wherever the network cuts, whichever line ending and with a byte order mark: the same."""
    stream = b"\xef\xbb\xbf" + STREAM.replace(b"\n", ending) + b":"
    assert read(EventReader(), *(bytes([each]) for each in stream)) == ENTRIES
    assert read(EventReader(), stream) == ENTRIES


def test_what_is_not_ours_is_passed_over() -> None:
    """Comments, unknown fields, other kinds of events and events without data are no entries."""
    reader = EventReader()
    noise = b": hello\n\nfoo: bar\nretry: x\n\nevent: other\ndata: {}\n\nid: abc\n\ndata\n\n"
    assert read(reader, noise, b"event: message\n", event()) == [
        Arrived(IDS[0], wire.item_path(NUMBER, IDS[0]), NUMBER, b"Abc")
    ]


@pytest.mark.parametrize(
    "octets",
    [
        event(number="911x"),
        event(number=1212),
        event(number=None),
        event(passport=None),
        event(href="//evil.example/x"),
        event(href="x\ny"),
        event().replace(IDS[0].encode() + b"\n", b"short\n"),
        event().partition(b"\n")[2],
        b"data: []\n\n",
        b"data: \xff\n\n",
        b"data: " + b"[" * 9000 + b"\n\n",
        b"data: x" * 4000,
        b"data: x\n" * 4000,
    ],
)
def test_what_is_no_entry_ends_the_stream(octets: bytes) -> None:
    """An event that is not as it should be, or too large, is MalformedAnswer."""
    with pytest.raises(MalformedAnswer):
        read(EventReader(), octets)


@given(st.lists(st.binary(max_size=60) | st.sampled_from([STREAM, b"data: ", b"\n\n"]), max_size=8))
def test_any_octets_are_read_or_refused(pieces: list[bytes]) -> None:
    """Nothing but MalformedAnswer is raised, and what is kept is bounded."""
    reader = EventReader()
    with contextlib.suppress(MalformedAnswer):
        read(reader, *pieces)
    assert len(reader._rest) <= events.MAX_EVENT_OCTETS + len(STREAM)
