"""A CPS that logs all it can see, and its log.

The log is what a curious CPS, or whoever watches its line, could keep. It serves TLS over sockets;
the time is a number that goes when told.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from lab.companies import tls_certificate
from pbx_stir.stir import jws
from pbx_stir.stir.signed_request import TOKEN_REQUEST, read_request
from pbx_stir.tokens import storage_token
from pbx_stir.tokens.epochs import format_key_list

from .minting import EPOCH, NOW, Mint, key_list


@dataclass(frozen=True)
class Seen:
    """One request as the CPS sees it. ``number`` counts requests, ``connection`` connections."""

    number: int
    at: float
    head: bytes
    body: bytes
    answer: bytes
    address: str
    port: int
    connection: int
    tls_session: bytes
    tls_resumed: bool

    @property
    def fields(self) -> dict[str, str]:
        """The header fields, in their order."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name: value for name, _, value in (line.partition(": ") for line in lines if line)}


@dataclass(frozen=True)
class Issued:
    """A batch that a sender, who is known by name, obtained."""

    seen: Seen
    sender: int
    iat: int
    blinded: tuple[int, ...]
    signatures: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """A store, and (what the CPS does not know) whose it was."""

    seen: Seen
    token: storage_token.StorageToken
    proof: storage_token.Proof
    sender: int = field(repr=False)


@dataclass
class Log:
    """All that was seen."""

    issued: list[Issued] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    lists: list[Seen] = field(default_factory=list)


class Clock:
    """The time of all; a sender's own may be wrong."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> float:
        """Tell it."""
        return self.moment


class CuriousCps:
    """Issues and takes stores as a CPS does, and keeps everything."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        certificate, key, ca = tls_certificate(folder, "cps", ["127.0.0.1"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.ca = ca
        self.clock = clock
        self.log = Log()
        self.mints = [Mint(EPOCH, 0, "127.0.0.1"), Mint(EPOCH + 1, 1, "127.0.0.1")]
        self.whose: dict[bytes, int] = {}
        self.url = ""
        self._connections = 0
        self._requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._connections += 1
        connection = self._connections
        address, port = writer.get_extra_info("peername")[:2]
        tls = writer.get_extra_info("ssl_object")
        session = tls.session.id if tls.session is not None else b""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                body = await reader.readexactly(int(length or 0))
                status, answer = self._answer(head, body)
                self._requests += 1
                seen = Seen(
                    self._requests,
                    self.clock(),
                    head,
                    body,
                    answer,
                    address,
                    port,
                    connection,
                    session,
                    tls.session_reused,
                )
                self._note(seen)
                date = email.utils.formatdate(self.clock(), usegmt=True)
                said = f"HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {len(answer)}\r\n\r\n"
                writer.write(said.encode() + answer)
                await writer.drain()
        writer.close()

    def _answer(self, head: bytes, body: bytes) -> tuple[str, bytes]:
        if head.startswith(b"GET /cps/token-keys "):
            return "200 OK", format_key_list("127.0.0.1", key_list(*self.mints).keys)
        if head.startswith(b"GET /cps/tokens "):
            return "200 OK", json.dumps({"nonce": os.urandom(16).hex()}).encode()
        if head.startswith(b"POST /cps/tokens "):
            request = json.loads(body)
            mint = next(one for one in self.mints if one.epoch == request["epoch"])
            signed = [mint.sign(jws.decode_segment(one)) for one in request["blinded"]]
            texts = [jws.encode_segment(one) for one in signed]
            return "201 Created", json.dumps({"signatures": texts}).encode()
        return "201 Created", b""

    def _note(self, seen: Seen) -> None:
        if seen.head.startswith(b"GET /cps/token-keys "):
            self.log.lists.append(seen)
        elif seen.head.startswith(b"POST /cps/tokens "):
            signed = read_request(seen.fields["Authorization"], TOKEN_REQUEST)
            name = signed.statement.chain[0].subject.rfc4514_string()
            sender = int(name.partition("sender ")[2].partition(",")[0])
            blinded = _integers(json.loads(seen.body)["blinded"])
            signatures = _integers(json.loads(seen.answer)["signatures"])
            self.log.issued.append(Issued(seen, sender, signed.iat, blinded, signatures))
        elif b"/ppts " in seen.head:
            token, proof = storage_token.parse_authorization(seen.fields["Authorization"])
            self.log.stored.append(Stored(seen, token, proof, self.whose[token.key]))


def _integers(texts: list[str]) -> tuple[int, ...]:
    return tuple(int.from_bytes(jws.decode_segment(one), "big") for one in texts)
