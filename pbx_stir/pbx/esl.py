"""FreeSWITCH's event socket on the wire: octets to frames and events, commands to octets.

Pure: octets come in as they fall, frames go out; it opens nothing and waits for nothing. All sizes
are bounded. Values are URL-encoded, and decoded after lines have been split: who decodes first lets
a caller add headers of his own through a ``%0A`` in his name.

A frame is lines ``Name: value``, an empty line, and as many octets as ``Content-Length`` says. The
body of a ``text/event-plain`` frame has the same form inside, its values encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from pbx_stir.errors import MalformedFrame, PbxStirError

# An announcement with four Identity headers has some 15,000 octets; a channel's events twice that.
MAX_HEADER_OCTETS: Final = 16 * 1024
MAX_BODY_OCTETS: Final = 256 * 1024
MAX_LINES: Final = 1_000
MAX_COMMAND_OCTETS: Final = 4_000

AUTH_REQUEST: Final = "auth/request"
COMMAND_REPLY: Final = "command/reply"
API_RESPONSE: Final = "api/response"
EVENT: Final = "text/event-plain"
DISCONNECT: Final = "text/disconnect-notice"
RUDE_REJECTION: Final = "text/rude-rejection"

_LENGTH = re.compile(r"[0-9]{1,7}", re.ASCII)
# Arguments of uuid_setvar: words, as FreeSWITCH splits them at blanks and strips quotes.
_WORD = re.compile(r"[A-Za-z0-9_.:@+~!*-]{1,150}", re.ASCII)

Headers = Mapping[str, str | list[str]]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its content type, its headers as they came, its body."""

    content_type: str
    headers: Headers
    body: bytes = b""

    @property
    def reply(self) -> str:
        """What a command or an API call was answered, one line without its end."""
        if self.content_type == COMMAND_REPLY:
            text = self.headers.get("Reply-Text", "")
            return text if isinstance(text, str) else ""
        return self.body.decode("utf-8", "replace").strip()

    @property
    def is_ok(self) -> bool:
        """Whether that is not an error."""
        return not self.reply.startswith("-ERR")


class Framer:
    """Cuts a stream into frames. After a ``MalformedFrame`` it must not be fed again."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._searched = 0
        self._headers: dict[str, str | list[str]] | None = None
        self._length = 0

    def feed(self, octets: bytes) -> list[Frame]:
        """Take what came, give what is whole. Raises ``MalformedFrame``."""
        self._octets += octets
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if self._headers is None and not self._begin():
            return None
        headers = self._headers
        if headers is None or len(self._octets) < self._length:
            return None
        body = bytes(self._octets[: self._length])
        del self._octets[: self._length]
        self._headers, self._searched = None, 0
        content_type = headers.get("Content-Type", "")
        if not isinstance(content_type, str):
            raise MalformedFrame("a frame of two content types")
        return Frame(content_type, headers, body)

    def _begin(self) -> bool:
        """Read a frame's headers, once they are whole."""
        # Empty lines between frames mean nothing.
        blank = 0
        while blank < len(self._octets) and self._octets[blank] == 0x0A:
            blank += 1
        if blank:
            del self._octets[:blank]
            self._searched = 0
        end = self._octets.find(b"\n\n", self._searched)
        if end < 0:
            if len(self._octets) > MAX_HEADER_OCTETS:
                raise MalformedFrame(f"headers of more than {MAX_HEADER_OCTETS} octets")
            self._searched = max(0, len(self._octets) - 1)
            return False
        if end > MAX_HEADER_OCTETS:
            raise MalformedFrame(f"headers of more than {MAX_HEADER_OCTETS} octets")
        self._headers = _lines(bytes(self._octets[:end]))
        del self._octets[: end + 2]
        length = self._headers.get("Content-Length", "0")
        if not isinstance(length, str) or not _LENGTH.fullmatch(length):
            raise MalformedFrame("a content length that is no number")
        self._length = int(length)
        if self._length > MAX_BODY_OCTETS:
            raise MalformedFrame(f"a body of more than {MAX_BODY_OCTETS} octets")
        return True


def parse_event(frame: Frame) -> Headers:
    """Give the decoded headers of an event's frame; one that comes twice is a list.

    What is no UTF-8 becomes U+FFFD. A body that the event may have is left. Raises
    ``MalformedFrame``.
    """
    if frame.content_type != EVENT:
        raise MalformedFrame(f"a frame of type {frame.content_type[:40]!r}, not an event")
    head, end, _ = frame.body.partition(b"\n\n")
    if not end and not frame.body.endswith(b"\n"):
        raise MalformedFrame("an event without end")
    return {
        name: [unquote(one) for one in value] if isinstance(value, list) else unquote(value)
        for name, value in _lines(head).items()
    }


def command(text: str) -> bytes:
    """Write a command of one line. Raises ``PbxStirError`` for one that is more."""
    try:
        octets = text.encode()
    except UnicodeEncodeError as error:
        raise PbxStirError("a command that is not text") from error
    if any(octet < 0x20 for octet in octets) or len(octets) > MAX_COMMAND_OCTETS:
        raise PbxStirError(f"a command of {len(octets)} octets that is not one line")
    return octets + b"\n\n"


def login(password: str) -> bytes:
    """Write ``auth``. Raises ``PbxStirError`` for a password that is no line of ASCII."""
    try:
        return command(f"auth {password}")
    except PbxStirError:
        # Not its cause, which could quote the secret.
        raise PbxStirError("the password of an event socket is not one line of ASCII") from None


def send_event(subclass: str, headers: Mapping[str, str]) -> bytes:
    """Write ``sendevent CUSTOM`` with these headers. Raises ``PbxStirError``."""
    lines = [f"Event-Subclass: {subclass}", *(f"{name}: {text}" for name, text in headers.items())]
    written = b"".join(command(line)[:-1] for line in lines)
    return b"sendevent CUSTOM\n" + written + b"\n"


def set_variable(unique_id: str, name: str, value: str) -> bytes:
    """Write ``uuid_setvar``; an empty value takes the variable away.

    The caller has matched the value to a whitelist without quotes, backslashes and line ends.
    Raises ``PbxStirError`` for an id or name that is not one word.
    """
    if not _WORD.fullmatch(unique_id) or not _WORD.fullmatch(name):
        raise PbxStirError("an id or variable that is not one word")
    return command(f"api uuid_setvar {unique_id} {name} {value}".rstrip())


def _lines(octets: bytes) -> dict[str, str | list[str]]:
    """Split lines ``Name: value``; nothing is decoded but the octets themselves."""
    found: dict[str, str | list[str]] = {}
    lines = octets.split(b"\n", MAX_LINES)
    if len(lines) > MAX_LINES:
        raise MalformedFrame(f"more than {MAX_LINES} lines")
    for line in lines:
        if not line:
            continue
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise MalformedFrame("a line that is no header")
        key = name.decode("latin-1")
        text = value.strip(b" \r").decode("utf-8", "replace")
        known = found.get(key)
        if known is None:
            found[key] = text
        elif isinstance(known, list):
            known.append(text)
        else:
            found[key] = [known, text]
    return found
