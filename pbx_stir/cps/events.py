"""Server-sent events of a CPS, both directions: entries as they arrive.

Takes and gives octets, pure; what is read is hostile, so bounded in size here and strict in form.
The parts of a stream are these four and no other::

    retry: 2000                                           once, at the beginning
    (empty line)

    id: C8hG3pTtEEpRzCw1ezMBWA                            an entry, real or dummy
    data: {"href":"/cps/12125551234/ppts/C8hG...","number":"12125551234","passport":"..."}
    (empty line)

    :                                                     what was alive is all there; a heartbeat
    (empty line)

    id:                                                   something may be missing: begin anew
    (empty line)

Source: WHATWG HTML section 9.2 (the format of an event stream), RFC 8816 sections 5.5 and 8.2,
RFC 9888 section 6 (push).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from pbx_stir.cps.wire import is_href, is_id, item_path
from pbx_stir.errors import Malformed, MalformedAnswer
from pbx_stir.stir import number as numbers

RETRY_MILLISECONDS: Final = 2_000
OPENING: Final = b"retry: %d\n\n" % RETRY_MILLISECONDS
HEARTBEAT: Final = b":\n\n"
# WHATWG HTML section 9.2.6: the last event's id is forgotten, and all that is alive comes next time
BEGIN_ANEW: Final = b"id:\n\n"
# an entry's JSON has some 5,700 octets
MAX_EVENT_OCTETS: Final = 16 * 1024
_LINE: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")
_BOM: Final = b"\xef\xbb\xbf"


class Arrived(NamedTuple):
    """An entry as a subscriber is told of it; ``wire`` is its text, not decoded."""

    id: str
    href: str
    number: str
    wire: bytes


class _Event(msgspec.Struct, forbid_unknown_fields=False):
    """The JSON of an event."""

    href: str
    number: str
    passport: str


_read_event = msgspec.json.Decoder(_Event).decode


def format_event(number: str, entry_id: str, wire: bytes) -> bytes:
    """Write an entry of a canonical number as an event."""
    # Paths, ids, numbers and wire text have no character that JSON escapes.
    href = item_path(number, entry_id)
    head = f'id: {entry_id}\ndata: {{"href":"{href}","number":"{number}","passport":"'
    return b'%s%s"}\n\n' % (head.encode("ascii"), wire)


class EventReader:
    """Reads one stream, in pieces of any size.

    ``last_id`` is what to send as Last-Event-ID after the stream has ended, empty where all that is
    alive is wanted. An entry may come twice, after a resumption: its id is the same then.
    ``has_comment`` is whether a comment has come.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.has_comment = False
        self._rest = b""
        self._id = ""
        self._type = ""
        self._text: list[bytes] = []
        self._octets = 0
        self._begun = False

    def feed(self, octets: bytes) -> Iterator[Arrived]:
        """Give the entries that these octets complete; comments and unknown fields are passed over.

        Raises ``MalformedAnswer``: a line or event too large, or one that is not an entry's. The
        stream cannot be read on after that.
        """
        rest = self._rest + octets
        if not self._begun:
            if _BOM.startswith(rest[:3]) and len(rest) < len(_BOM):
                self._rest = rest
                return
            rest = rest.removeprefix(_BOM)
            self._begun = True
        *lines, self._rest = _LINE.split(rest)
        for line in lines:
            found = self._take(line)
            if found is not None:
                yield found
        if len(self._rest) > MAX_EVENT_OCTETS:
            raise MalformedAnswer("a line of an event stream without end")

    def _take(self, line: bytes) -> Arrived | None:
        """Take one line; an empty one ends an event."""
        if not line:
            return self._end_event()
        self._octets += len(line)
        if self._octets > MAX_EVENT_OCTETS:
            raise MalformedAnswer(f"an event of more than {MAX_EVENT_OCTETS} octets")
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._text.append(value)
        elif name == b"event":
            self._type = value.decode("ascii", "replace")
        elif name == b"id":
            self._id = value.decode("ascii", "replace")
            if not value:
                self.last_id = ""
        elif not name:
            self.has_comment = True
        return None

    def _end_event(self) -> Arrived | None:
        """Give what the lines since the last empty one say; None where they are no entry."""
        text, self._text = b"\n".join(self._text), []
        kind, self._type = self._type, ""
        entry_id, self._id = self._id, ""
        self._octets = 0
        if not text or kind not in ("", "message"):
            return None
        try:
            read = _read_event(text)
            number = numbers.canonical(read.number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Malformed) as error:
            raise MalformedAnswer(f"not an event of an entry: {error}") from error
        if not is_id(entry_id) or not is_href(read.href):
            raise MalformedAnswer("an event without an entry's id or path")
        self.last_id = entry_id
        return Arrived(entry_id, read.href, number, read.passport.encode("utf-8", "replace"))
