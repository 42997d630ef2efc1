"""Real Redis servers for tests and measurements: without persistence, ended by their id.

Each runs in a folder of its own on free ports of 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lab.debian import LabError

START_SECONDS = 15.0
SLOTS = 16_384


def redis_server() -> str | None:
    """Where redis-server (or valkey-server) is; None where it is not installed.

    Debian's redis-tools has the same program under the name of what checks its files: called
    redis-server it is one.
    """
    names = ("redis-server", "valkey-server", "redis-check-rdb")
    return next(filter(None, map(shutil.which, names)), None)


class RedisServer:
    """One server. ``options`` are lines of redis.conf, such as ``("requirepass", "secret")``."""

    def __init__(
        self,
        folder: Path,
        *options: Sequence[str],
        tls: tuple[str, str] | None = None,
        cluster: bool = False,
    ) -> None:
        """``tls`` are the files of a certificate and its key: then it listens with TLS alone."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, bus = free_ports(2)
        lines = [
            ("bind", "127.0.0.1"),
            ("save", '""'),
            ("appendonly", "no"),
            ("dir", f'"{folder}"'),
            ("logfile", f'"{folder / "redis.log"}"'),
            *options,
        ]
        if tls is None:
            lines.append(("port", str(self.port)))
        else:
            lines += [("port", "0"), ("tls-port", str(self.port)), ("tls-auth-clients", "no")]
            lines += [("tls-cert-file", f'"{tls[0]}"'), ("tls-key-file", f'"{tls[1]}"')]
        if cluster:
            lines += [
                ("cluster-enabled", "yes"),
                ("cluster-port", str(bus)),
                ("cluster-node-timeout", "1000"),
                ("cluster-require-full-coverage", "no"),
                # A node that returns takes its slots at once.
                ("cluster-config-file", f'"{folder / "nodes.conf"}"'),
            ]
        self.bus = bus
        self._configuration = folder / "redis.conf"
        self._configuration.write_text("".join(f"{' '.join(line)}\n" for line in lines))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, without TLS."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        program = redis_server()
        if program is None:
            raise LabError("redis-server is not installed")
        self._process = subprocess.Popen(
            ["redis-server", str(self._configuration)],
            executable=program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return True
            return False

        wait_until(listens, f"redis on port {self.port} to listen")

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it without ending it: its connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """Send a command of plain words without TLS or password; give what comes first."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65_536).decode()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            self._process = None


@contextlib.contextmanager
def running_redis(
    folder: Path, *options: Sequence[str], tls: tuple[str, str] | None = None
) -> Iterator[RedisServer]:
    """Run one server as long as the context lasts."""
    server = RedisServer(folder, *options, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def running_cluster(folder: Path, masters: int = 3) -> Iterator[list[RedisServer]]:
    """Run a Redis Cluster of so many masters without replicas, their slots in equal parts."""
    servers = [RedisServer(folder / str(each), cluster=True) for each in range(masters)]
    try:
        for each, server in enumerate(servers):
            server.start()
            first, last = each * SLOTS // masters, (each + 1) * SLOTS // masters - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(each + 1))
        for server in servers[1:]:
            servers[0].ask("CLUSTER", "MEET", "127.0.0.1", str(server.port), str(server.bus))

        def is_whole() -> bool:
            told = [server.ask("CLUSTER", "INFO") for server in servers]
            return all(
                "cluster_state:ok" in one
                and f"cluster_slots_ok:{SLOTS}" in one
                and f"cluster_known_nodes:{masters}" in one
                for one in told
            )

        wait_until(is_whole, "the redis cluster to be whole")
        yield servers
    finally:
        for server in servers:
            server.kill()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody had a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Look until it is so. Raises LabError."""
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise LabError(f"waited in vain for {what}")
        time.sleep(0.02)
