"""The machine's own log as the call log's place: systemd's journal, or syslog.

Takes lines, sends each as one datagram; the message is the line itself, so that whatever gives it
back can be read as a call log. The journal also has the fields that calls are looked for by
(``STIR_REASON=`` and others). Source: systemd, "Native Journal Protocol".

RFC 5424 has a header for syslog messages, but the socket of syslog(3) has another form: rsyslog,
syslog-ng and the journal read that one there unless configured otherwise, and so it is sent, with
the mark ``@cee:`` by which they know JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Final

JOURNAL: Final = "/run/systemd/journal/socket"
SYSLOG: Final = "/dev/log"
IDENTIFIER: Final = "pbx-stir-calls"
# RFC 5424 section 6.2.1: facility local0, severity informational
PRIORITY: Final = 16 * 8 + 6
MONTHS: Final = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())  # noqa: SIM905
SEND_SECONDS: Final = 5.0
LONGEST_FIELD: Final = 256
# the line's keys that the journal has as fields
FIELDS: Final = (
    "event",
    "id",
    "pbx",
    "uniqueid",
    "linkedid",
    "direction",
    "mode",
    "trunk",
    "orig",
    "dest",
    "reason",
    "verstat",
    "status",
    "attest",
    "signer",
    "ms",
    "claimed_by",
)


class _Datagrams:
    """A socket of the system log, connected when it is needed and again when its server was."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._socket: socket.socket | None = None

    def tidy(self, *, idle: bool) -> bool:
        """Nothing to do besides."""
        return False

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, octets: bytes) -> None:
        """Send one datagram; a server that was started anew has another socket. Raises OSError."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError, FileNotFoundError):
                self._socket.send(octets)
                return
            self.close()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.settimeout(SEND_SECONDS)
            made.connect(self.name)
            made.send(octets)
        except OSError:
            made.close()
            raise
        self._socket = made


class Journal(_Datagrams):
    """Lines in systemd's journal, with fields."""

    def __init__(self, path: str = JOURNAL) -> None:
        super().__init__(path)

    def write(self, line: bytes, *, more: bool) -> None:
        """Send one line. Raises OSError, ValueError."""
        self._send(journal_entry(line))


class Syslog(_Datagrams):
    """Lines at the socket of syslog(3), facility local0."""

    def __init__(self, path: str = SYSLOG, now: Callable[[], float] = time.time) -> None:
        super().__init__(path)
        self._now = now

    def write(self, line: bytes, *, more: bool) -> None:
        """Send one line. Raises OSError."""
        # month names are the protocol's, whatever the locale
        at = time.localtime(self._now())
        month = MONTHS[at.tm_mon - 1]
        moment = f"{month} {at.tm_mday:2} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
        head = f"<{PRIORITY}>{moment} {IDENTIFIER}[{os.getpid()}]: @cee: "
        self._send(head.encode() + line.rstrip(b"\n"))


def journal_entry(line: bytes) -> bytes:
    """``line`` in the journal's own protocol. Raises ValueError where it is no JSON."""
    said = json.loads(line)
    fields = [
        b"MESSAGE=" + line.rstrip(b"\n"),
        b"PRIORITY=6",
        b"SYSLOG_FACILITY=16",
        b"SYSLOG_IDENTIFIER=" + IDENTIFIER.encode(),
    ]
    for key in FIELDS:
        value = said.get(key)
        if value in (None, ""):
            continue
        # a line feed would begin another field
        text = "".join(one if one.isprintable() else "?" for one in str(value)[:LONGEST_FIELD])
        fields.append(f"STIR_{key.upper()}={text}".encode())
    return b"\n".join(fields) + b"\n"
