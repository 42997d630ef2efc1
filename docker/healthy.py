#!/usr/bin/env python3
"""The images' health check: exit status 0 where the service that this container runs is in order.

It reads what process 1 runs. A call placement service must answer ``GET /health`` on its own port.
Of a listener with ``[metrics]`` each PBX must have taken a heartbeat just now; of one without there
must be a connection to each PBX. It sends nothing to any PBX and needs no program but Python.
"""

from __future__ import annotations

import http.client
import math
import re
import socket
import ssl
import struct
import sys
from pathlib import Path

from pbx_stir import config
from pbx_stir.errors import PbxStirError

DEFAULT_CONFIG = "/etc/pbx-stir/pbx-stir.toml"
SECONDS = 3
OLDEST_HEARTBEAT = 5.0
LARGEST = 1 << 20
Pbx = config.AsteriskSection | config.FreeSwitchSection
ESTABLISHED = "01"


def main() -> int:
    """Say what is wrong, if anything."""
    words = Path("/proc/1/cmdline").read_bytes().decode(errors="replace").split("\0")
    file = words[words.index("--config") + 1] if "--config" in words else ""
    try:
        wrong = _cps(words, file) if "cps" in words else _listener(file or DEFAULT_CONFIG)
    except (OSError, PbxStirError, http.client.HTTPException, ValueError) as error:
        wrong = str(error) or type(error).__name__
    print(wrong or "healthy")
    return 1 if wrong else 0


def _cps(words: list[str], file: str) -> str:
    """Ask it on loopback, with the host that it was told to listen on where that is one."""
    listen, tls = "127.0.0.1:8480", "--no-tls" not in words
    if file:
        section = config.load(Path(file)).values.cps
        listen, tls = section.listen, tls and section.tls
    if "--listen" in words:
        listen = words[words.index("--listen") + 1]
    host, port = _loopback(listen)
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    if tls:
        # its certificate has another name than loopback's, and clients check it
        unchecked = ssl.create_default_context()
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=unchecked)
    connection.request("GET", "/health")
    status = connection.getresponse().status
    return "" if status == http.client.OK else f"GET /health: {status}"


def _listener(file: str) -> str:
    """Ask its metrics, else find a connection to each PBX among those of this container."""
    values = config.load(Path(file)).values
    pbxs: tuple[Pbx, ...] = (*values.asterisk, *values.freeswitch)
    if values.metrics.listen:
        ages = _heartbeat_ages(values.metrics.listen)
        late = [pbx for pbx in pbxs if ages.get(_name(pbx), math.inf) > OLDEST_HEARTBEAT]
    else:
        there = _connections()
        late = [
            pbx
            for pbx in pbxs
            if not any((address, pbx.port) in there for address in _addresses(pbx.host, pbx.port))
        ]
    return f"not connected to {', '.join(map(_name, late))}" if late else ""


def _name(pbx: Pbx) -> str:
    return pbx.name or f"{pbx.host}:{pbx.port}"


def _heartbeat_ages(listen: str) -> dict[str, float]:
    """Seconds since each PBX took a heartbeat, by its name; those that are connected alone."""
    connection = http.client.HTTPConnection(*_loopback(listen), timeout=SECONDS)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read(LARGEST).decode()
    found = re.findall(
        r'^pbx_stir_heartbeat_age_seconds\{pbx="([^"]*)"\} (\S+)$', text, re.MULTILINE
    )
    return {name: float(age) for name, age in found}


def _loopback(listen: str) -> tuple[str, int]:
    """Where to ask who listens at ``HOST:PORT``: on loopback, where he listens everywhere."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def _addresses(host: str, port: int) -> set[bytes]:
    """Give what the name stands for, as octets in network order; none where nobody knows it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {socket.inet_pton(family, str(where[0])) for family, _, _, _, where in found}


def _connections() -> set[tuple[bytes, int]]:
    """Give the peers of established TCP connections, as the kernel lists them (proc_net_tcp)."""
    peers = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        rows = Path(table).read_text().splitlines()[1:] if Path(table).exists() else []
        for row in rows:
            _, _, peer, state, *_ = row.split()
            if state == ESTABLISHED:
                address, _, port = peer.partition(":")
                words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
                octets = struct.pack(f"={len(words)}I", *words)
                peers.add((octets.removeprefix(bytes(10) + b"\xff\xff"), int(port, 16)))
    return peers


if __name__ == "__main__":
    sys.exit(main())
