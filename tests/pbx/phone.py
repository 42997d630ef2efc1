"""A SIP telephone of a few lines: answers, calls, and transfers by REFER.

Speaks over UDP with one PBX, without media. Like the phones on desks, it can hold one call, make
another, and ask the PBX to join the two (RFC 3515, RFC 3891).
"""

from __future__ import annotations

import asyncio
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import unquote

_SDP = (
    "v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
)


@dataclass(slots=True)
class Dialog:
    """One call of the phone: ``ours`` and ``theirs`` as the From and To of what it sends."""

    call_id: str
    ours: str
    theirs: str
    target: str
    sequence: int = 1

    @property
    def replaces(self) -> str:
        """What a Replaces header says of it, escaped for a URI."""
        tags = [one.partition(";tag=")[2] for one in (self.theirs, self.ours)]
        return f"{self.call_id}%3Bto-tag%3D{tags[0]}%3Bfrom-tag%3D{tags[1]}"


@dataclass(slots=True)
class Phone(asyncio.DatagramProtocol):
    """``async with`` it: it is at ``host`` and ``port``.

    ``answered`` has the calls that came, ``notified`` what it was told of its transfers. As
    ``asserted``, where there is one, it answers calls (P-Asserted-Identity, RFC 3325).
    """

    host: str
    port: int
    pbx: tuple[str, int]
    answered: asyncio.Queue[Dialog] = field(default_factory=asyncio.Queue)
    replies: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    notified: list[str] = field(default_factory=list)
    asserted: str = ""
    _transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Phone:
        """Open the socket."""
        loop = asyncio.get_running_loop()
        address = (self.host, self.port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=address)
        return self

    async def __aexit__(self, *of: object) -> None:
        """Close the socket; what is up the PBX ends."""
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer each request; a call is taken at once."""
        text = data.decode("utf-8", "replace")
        method = text.partition(" ")[0]
        if method == "SIP/2.0":
            self.replies.put_nowait(text)
        elif method == "INVITE" and ";tag=" not in _header(text, "To"):
            ours = f"{_header(text, 'To')};tag={secrets.token_hex(4)}"
            dialog = Dialog(_header(text, "Call-ID"), ours, _header(text, "From"), _contact(text))
            self._reply(text, ours, _SDP.format(host=self.host))
            self.answered.put_nowait(dialog)
        elif method == "INVITE":
            self._reply(text, _header(text, "To"), _SDP.format(host=self.host))
        elif method != "ACK":
            if method == "NOTIFY":
                self.notified.append(text.rpartition("\r\n\r\n")[2].strip())
            self._reply(text, _header(text, "To"))

    async def call(self, number: str, caller: str, instead_of: Dialog | None = None) -> Dialog:
        """Call a number, or take the place of a call that is up, and wait until it is answered."""
        uri = f"sip:{number}@{self.pbx[0]}:{self.pbx[1]}"
        ours = f"<sip:{caller}@{self.host}:{self.port}>;tag={secrets.token_hex(4)}"
        dialog = Dialog(secrets.token_hex(8), ours, f"<{uri}>", uri)
        place = "" if instead_of is None else f"Replaces: {unquote(instead_of.replaces)}\r\n"
        self._request("INVITE", dialog, place, body=_SDP.format(host=self.host))
        answer = await self._final(dialog)
        dialog.theirs, dialog.target = _header(answer, "To"), _contact(answer)
        self._request("ACK", dialog)
        return dialog

    async def transfer(self, dialog: Dialog, number: str, to: Dialog | None = None) -> str:
        """Let the PBX transfer a call, to a number or to who is at the other end of ``to``.

        The status line of what it says to that.
        """
        target = f"sip:{number}@{self.pbx[0]}:{self.pbx[1]}"
        if to is not None:
            target += f"?Replaces={to.replaces}"
        dialog.sequence += 1
        self._request("REFER", dialog, f"Refer-To: <{target}>\r\nReferred-By: <sip:phone@lab>\r\n")
        return (await self._final(dialog)).partition("\r\n")[0]

    async def say_again(self, method: str, dialog: Dialog, asserted: str) -> str:
        """Say in the middle of a call, by UPDATE or INVITE, who is calling: the PBX's answer.

        ``asserted`` is the value of P-Asserted-Identity.
        """
        dialog.sequence += 1
        said = f"P-Asserted-Identity: {asserted}\r\n"
        body = _SDP.format(host=self.host) if method == "INVITE" else ""
        self._request(method, dialog, said, body)
        answer = await self._final(dialog)
        if method == "INVITE":
            self._request("ACK", dialog)
        return answer.partition("\r\n")[0]

    async def _final(self, dialog: Dialog) -> str:
        wanted = f"{dialog.sequence} "
        async with asyncio.timeout(10):
            while True:
                text = await self.replies.get()
                is_final = not text.startswith("SIP/2.0 1")
                of_dialog = _header(text, "Call-ID") == dialog.call_id
                if is_final and of_dialog and _header(text, "CSeq").startswith(wanted):
                    return text

    def _request(self, method: str, dialog: Dialog, more: str = "", body: str = "") -> None:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        place = f"{self.host}:{self.port}"
        self._send(
            f"{method} {dialog.target} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {place};branch=z9hG4bK{secrets.token_hex(6)};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: {dialog.ours}\r\nTo: {dialog.theirs}\r\n"
            f"Call-ID: {dialog.call_id}\r\nCSeq: {dialog.sequence} {method}\r\n"
            f"Contact: <sip:phone@{place}>\r\n{more}{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def _reply(self, request: str, to: str, body: str = "") -> None:
        via = "".join(f"{one}\r\n" for one in re.findall(r"(?mi)^Via:.*?(?=\r?$)", request))
        same = "".join(f"{name}: {_header(request, name)}\r\n" for name in _SAME)
        kind = "Content-Type: application/sdp\r\n" if body else ""
        if body and self.asserted:
            kind += f"P-Asserted-Identity: <sip:{self.asserted}@{self.host}>\r\n"
        self._send(
            f"SIP/2.0 200 OK\r\n{via}{same}To: {to}\r\n"
            f"Contact: <sip:phone@{self.host}:{self.port}>\r\n{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )

    def _send(self, text: str) -> None:
        assert self._transport is not None
        self._transport.sendto(text.encode(), self.pbx)


_SAME = ("From", "Call-ID", "CSeq")


def _header(text: str, name: str) -> str:
    found = re.search(rf"(?mi)^{name}:\s*(.*?)\r?$", text)
    return found[1] if found else ""


def _contact(text: str) -> str:
    found = re.search(r"<([^>]*)>", _header(text, "Contact"))
    return found[1] if found else ""
