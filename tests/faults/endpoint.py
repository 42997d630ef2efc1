"""A SIP endpoint over UDP that says what no phone would say, and keeps what it is told.

It answers by itself, so that the other side goes on: 180 to an INVITE, ACK to a final response, 200
to every other request.
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from lab.debian import LabError

# of a phone that FreeSWITCH sends a changed name to, if it lets it have UPDATE
PHONE = "User-Agent: Yealink\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, INFO\r\n"
SECONDS = 10.0


@dataclass(slots=True)
class Call:
    """A dialog that an endpoint began; ``to`` and ``target`` become what the other side said."""

    call_id: str
    caller: str
    to: str
    target: str
    cseq: int = 1

    @property
    def replaces(self) -> str:
        """The header of an INVITE that takes this call's place."""
        to_tag, from_tag = _tag(self.to), _tag(self.caller)
        return f"Replaces: {self.call_id};to-tag={to_tag};from-tag={from_tag}\r\n"


class Endpoint:
    """``with Endpoint(address) as endpoint:`` talks with the PBX at that address."""

    def __init__(self, pbx: tuple[str, int]) -> None:
        self.heard: list[str] = []
        self._pbx = pbx
        self._calls: dict[str, Call] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join(5)
        self._socket.close()

    def call(self, name: str, number: str, called: str, headers: str = "") -> Call:
        """INVITE; ``headers`` are whole lines."""
        host = f"{self._pbx[0]}:{self._pbx[1]}"
        caller = f'"{name}" <sip:{number}@{self.address}>;tag={secrets.token_hex(4)}'
        target = f"sip:{called}@{host}"
        call = Call(secrets.token_hex(8), caller, f"<{target}>", target)
        self._calls[call.call_id] = call
        self._request("INVITE", call, headers, self._sdp())
        return call

    def ask(self, call: Call, method: str, headers: str = "") -> None:
        """A request in the dialog, and wait for its final response."""
        call.cseq += 1
        self._request(method, call, headers, self._sdp() if method == "INVITE" else "")
        wanted = re.compile(rf"CSeq: *{call.cseq} {method}\r")
        self.until(
            lambda one: _final(one) and call.call_id in one and wanted.search(one) is not None,
            f"{method} is answered",
        )

    def answered(self, call: Call, status: int) -> None:
        """Wait for this response to the INVITE that began the call."""
        beginning = f"SIP/2.0 {status} "
        self.until(
            lambda one: one.startswith(beginning) and call.call_id in one,
            f"{status} to INVITE",
        )

    def answer(self) -> None:
        """200 to the INVITE that this endpoint was called by."""
        invite = self.until(lambda one: one.startswith("INVITE "), "called")
        self._respond(invite, "200 OK", PHONE, self._sdp())

    def until(self, true: Callable[[str], bool], what: str) -> str:
        """The first message of which that is so. Raises LabError: none comes."""
        with self._changed:
            self._changed.wait_for(lambda: any(map(true, self.heard)), SECONDS)
            for one in self.heard:
                if true(one):
                    return one
        told = [one.split("\r\n", 1)[0] for one in self.heard]
        raise LabError(f"not {what} in {SECONDS} s: {told}")

    def _sdp(self) -> str:
        version = secrets.randbelow(10_000)
        return (
            f"v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            "m=audio 40000 RTP/AVP 0\r\n"
        )

    def _request(self, method: str, call: Call, headers: str, body: str, cseq: int = 0) -> None:
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        self._send(
            f"{method} {call.target} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.address};branch={branch};rport\r\nMax-Forwards: 70\r\n"
            f"From: {call.caller}\r\nTo: {call.to}\r\nCall-ID: {call.call_id}\r\n"
            f"CSeq: {cseq or call.cseq} {method}\r\nContact: <sip:caller@{self.address}>\r\n"
            f"{headers}",
            body,
        )

    def _respond(self, request: str, status: str, headers: str = "", body: str = "") -> None:
        copied = re.findall(r"(?m)^(?:Via|From|Call-ID|CSeq|Record-Route): .*\r\n", request)
        to = _value(request, "To")
        tag = "" if "tag=" in to else f";tag=t{_value(request, 'Call-ID')[:8]}"
        self._send(
            f"SIP/2.0 {status}\r\n{''.join(copied)}To: {to}{tag}\r\n"
            f"Contact: <sip:phone@{self.address}>\r\n{headers}",
            body,
        )

    def _send(self, head: str, body: str) -> None:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = f"{head}{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        self._socket.sendto(text.encode(), self._pbx)

    def _run(self) -> None:
        while not self._ended:
            try:
                text = self._socket.recv(65_535).decode(errors="replace")
            except TimeoutError:
                continue
            self._react(text)
            with self._changed:
                self.heard.append(text)
                self._changed.notify_all()

    def _react(self, text: str) -> None:
        if text.startswith("INVITE "):
            self._respond(text, "180 Ringing", PHONE)
        elif not text.startswith("SIP/2.0 "):
            if not text.startswith("ACK "):
                self._respond(text, "200 OK")
        elif (call := self._calls.get(_value(text, "Call-ID"))) is not None:
            number, method = _value(text, "CSeq").split()
            if "tag=" in _value(text, "To"):
                call.to = _value(text, "To")
            if method == "INVITE" and _final(text):
                contact = re.search(r"<([^>]+)>", _value(text, "Contact"))
                call.target = contact[1] if contact else call.target
                self._request("ACK", call, "", "", int(number))


def _value(message: str, name: str) -> str:
    found = re.search(rf"(?mi)^{name}: *(.*?)\r$", message)
    return found[1] if found else ""


def _tag(address: str) -> str:
    found = re.search(r";tag=([^;]+)", address)
    return found[1] if found else ""


def _final(message: str) -> bool:
    return re.match(r"SIP/2\.0 [2-6]\d\d ", message) is not None
