"""Places the demo's calls and prints what the PBXs' call detail records say of them.

A genuine one: a phone of company A calls company B. A spoofed one: a stranger calls company B with
a number of company A. Exit status 0 where the first is verified and the second is not. It speaks to
the PBXs by their manager interfaces, over TLS.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

FILES = Path("/etc/demo")
PORT = 5039
READY_SECONDS = 60
CDR_SECONDS = 20
ATTEMPTS = 10
LARGEST = 1 << 20
Event = dict[str, str]
T = TypeVar("T")


class Manager:
    """A logged-in connection to one PBX's manager interface."""

    def __init__(self, host: str) -> None:
        """Connect and log in. Raises OSError, and RuntimeError where the login is refused."""
        self.host = host
        tls = ssl.create_default_context(cafile=FILES / "tls-ca.pem")
        plain = socket.create_connection((host, PORT), timeout=5)
        self._socket = tls.wrap_socket(plain, server_hostname=host)
        self._lines = self._socket.makefile("r")
        self._lines.readline(100)
        secret = (FILES / "demo.secret").read_text().strip()
        answer = self.ask(Action="Login", Username="demo", Secret=secret)
        if answer.get("Response") != "Success":
            raise RuntimeError(f"{host} refuses the login")

    def ask(self, **fields: str) -> Event:
        """Send an action; give its response, whatever events come before."""
        text = "".join(f"{key}: {value}\r\n" for key, value in fields.items())
        self._socket.sendall(f"{text}\r\n".encode())
        return next(one for one in self._messages() if "Response" in one)

    def originate(self, dialled: str) -> None:
        """Have a phone of this PBX dial ``NUMBER*CALLER ID``."""
        self.ask(
            Action="Originate",
            Channel=f"Local/{dialled}@office/n",
            Application="Wait",
            Data="3",
            Async="true",
        )

    def cdr(self, matches: Callable[[Event], bool]) -> Event:
        """Wait for the call detail record that matches; without one the program ends."""
        self._socket.settimeout(CDR_SECONDS)
        try:
            cdrs = (one for one in self._messages() if one.get("Event") == "Cdr")
            return next(one for one in cdrs if matches(one))
        except TimeoutError:
            sys.exit(f"no such call detail record of {self.host} in {CDR_SECONDS} s")

    def hears_its_listener(self) -> bool:
        """Tell whether this PBX knows that a listener is there."""
        return bool(self.ask(Action="Getvar", Variable="STIR_HEARTBEAT").get("Value"))

    def _messages(self) -> Iterator[Event]:
        found: Event = {}
        for line in iter(lambda: self._lines.readline(8192), ""):
            name, colon, value = line.strip().partition(":")
            if colon:
                found[name] = value.strip()
            elif found:
                yield found
                found = {}
        raise ConnectionError(f"{self.host} closed the connection")


def main() -> int:
    """Place both calls; print a line for each side of them."""
    a, b, stranger = (_until(partial(Manager, host), host) for host in _HOSTS)
    for pbx in (a, b):
        _until(pbx.hears_its_listener, f"the listener of {pbx.host}")
    _until(lambda: b"eyJ" in _cps("/cps/16465554000/keys"), "B's encryption keys at the CPS")
    print(f"{'call':<10}{'CDR of':<12}what it says")
    verified = _genuine(a, b)
    dest, orig = "16465554050", "12125551250"
    stranger.originate(f"{dest}*{orig}")
    found = _inbound(b, dest)
    print(f"{'spoofed':<10}{'company B':<12}{found}", flush=True)
    as_expected = verified and found.startswith("verstat=No-TN-Validation reason=no-passport")
    print("as expected" if as_expected else "NOT as expected")
    return 0 if as_expected else 1


_HOSTS = ("pbx-a", "pbx-b", "stranger")


def _genuine(a: Manager, b: Manager) -> bool:
    """Company A calls company B; again while A's listener still obtains its storage tokens."""
    for attempt in range(ATTEMPTS):
        dest, orig = str(16465554000 + attempt), str(12125551200 + attempt)
        a.originate(f"{dest}*{orig}")
        stored, found = _outbound(a, dest), _inbound(b, dest)
        if "reason=no-tokens" not in stored:
            break
        time.sleep(1)
    print(f"{'genuine':<10}{'company A':<12}{stored}")
    print(f"{'genuine':<10}{'company B':<12}{found}", flush=True)
    return found.startswith("verstat=TN-Validation-Passed reason=verified")


def _outbound(pbx: Manager, dest: str) -> str:
    """What the calling PBX's record says of it."""
    row = pbx.cdr(lambda one: _said(one, "status=") and dest in one["Destination"])
    return row["UserField"]


def _inbound(pbx: Manager, dest: str) -> str:
    """What the called PBX's record says of the call to that number."""
    row = pbx.cdr(lambda one: _said(one, "verstat=") and one["Destination"] == dest)
    return row["UserField"]


def _said(row: Event, start: str) -> bool:
    return row.get("UserField", "").startswith(start)


def _cps(path: str) -> bytes:
    tls = ssl.create_default_context(cafile=FILES / "tls-ca.pem")
    with urllib.request.urlopen(f"https://cps:8443{path}", context=tls, timeout=5) as answer:
        octets: bytes = answer.read(LARGEST)
        return octets


def _until(made: Callable[[], T], what: str) -> T:
    """Try until it is there."""
    give_up_at = time.monotonic() + READY_SECONDS
    while True:
        try:
            if found := made():
                return found
            wrong = "not there"
        except OSError as error:
            wrong = str(error)
        if time.monotonic() > give_up_at:
            sys.exit(f"waited in vain for {what}: {wrong}")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
