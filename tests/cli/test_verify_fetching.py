"""``pbx-stir verify`` fetching certificates: only from whom it may, and never for long."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.companies import tls_certificate
from pbx_stir.cli.main import main
from tests.cli.conftest import ALICE, BOB, Office

Answer = Callable[[ssl.SSLSocket, threading.Event], None]


class Server:
    """A TLS server on loopback: each connection is answered by ``answer``, in a thread."""

    def __init__(self, certificate: tuple[Path, Path], answer: Answer) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*certificate)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._listen)]

    def __enter__(self) -> Server:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(plain,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(10)
        try:
            with self._tls.wrap_socket(plain, server_side=True) as stream:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    octets = stream.recv(4096)
                    if not octets:
                        return
                    asked += octets
                self.requests.append(asked)
                self.answer(stream, self.over)
        except OSError:
            pass
        finally:
            plain.close()


def response(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    """An HTTP answer."""
    length = f"Content-Length: {len(body)}\r\n" if "Transfer-Encoding" not in headers else ""
    return f"HTTP/1.1 {status}\r\n{length}{headers}\r\n".encode() + body


def says(octets: bytes) -> Answer:
    """Answer with ``octets``."""
    return lambda stream, _: stream.sendall(octets)


def endless(stream: ssl.SSLSocket, over: threading.Event) -> None:
    """A body that never ends."""
    stream.sendall(response(b"", headers="Transfer-Encoding: chunked\r\n"))
    while not over.is_set():
        stream.sendall(b"1000\r\n" + bytes(4096) + b"\r\n")


def slow(stream: ssl.SSLSocket, over: threading.Event) -> None:
    """An octet now and then."""
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not over.wait(0.2):
        stream.sendall(b"-")


def silent(stream: ssl.SSLSocket, over: threading.Event) -> None:
    """Nothing at all."""
    over.wait(10)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Certificate, key and CA of a server at 127.0.0.1."""
    return tls_certificate(tmp_path_factory.mktemp("tls"), "server", ["127.0.0.1"])


class Fetching:
    """Verifies a token whose x5u is at a server of ours."""

    def __init__(
        self,
        office: Office,
        capsys: pytest.CaptureFixture[str],
        folder: Path,
        tls: tuple[Path, Path, Path],
    ) -> None:
        self.office, self.capsys, self.folder, self.tls = office, capsys, folder, tls
        self.chain = Path(office.file("alice.pem")).read_bytes()

    @contextmanager
    def serving(self, answer: Answer) -> Iterator[Server]:
        """A server for as long as the block lasts."""
        with Server(self.tls[:2], answer) as server:
            yield server

    def verify(self, x5u: str, *options: str) -> tuple[int, dict[str, Any], float]:
        """Exit status, JSON object and seconds."""
        token = self.office.sign(self.capsys, "--x5u", x5u, "--attest", "A")
        identity = self.folder / "identity"
        identity.write_text(token)
        given = ["--identity-file", str(identity), "--orig", ALICE, "--dest", BOB, "--json"]
        began = time.monotonic()
        status = main(["verify", *given, "--trust", self.office.trust, *options])
        took = time.monotonic() - began
        return status, json.loads(self.capsys.readouterr().out), took

    def allowed(self, server: Server) -> tuple[str, ...]:
        """The options that let a server of ours be asked."""
        return "--x5u-allow", f"127.0.0.1:{server.port}", "--tls-ca", str(self.tls[2])


@pytest.fixture
def fetching(
    office: Office,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tls: tuple[Path, Path, Path],
) -> Fetching:
    """A verifier that fetches."""
    return Fetching(office, capsys, tmp_path, tls)


def test_a_chain_that_is_served_is_believed(fetching: Fetching) -> None:
    """With --x5u-allow and --tls-ca, from loopback and any port."""
    with fetching.serving(says(response(fetching.chain))) as server:
        x5u = f"https://127.0.0.1:{server.port}/alice.pem"
        status, found, _ = fetching.verify(x5u, *fetching.allowed(server))
    assert (status, found["reason"], found["signer"]) == (0, "verified", "alice")
    assert len(server.requests) == 1
    assert server.requests[0].startswith(b"GET /alice.pem HTTP/1.1\r\n")
    for name in (b"cookie", b"authorization", ALICE.encode(), BOB.encode()):
        assert name not in server.requests[0].lower()


HOSTILE: dict[str, Answer] = {
    "redirect": says(response(b"", status="302 Found", headers="Location: https://a.example/\r\n")),
    "not found": says(response(b"", status="404 Not Found")),
    "error": says(response(b"", status="500 Oops")),
    "oversized": says(response(bytes(64 * 1024 + 1))),
    "a lie": says(response(b"x", headers="Content-Length: 99\r\n")),
    "compressed": says(
        response(zlib.compress(bytes(10**6)), headers="Content-Encoding: deflate\r\n")
    ),
    "no http": says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "nothing": says(b""),
    "endless": endless,
    "slow": slow,
    "silent": silent,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_servers_cost_seconds_at_most(fetching: Fetching, name: str) -> None:
    """Whatever it answers: no certificate, within 3 s, and nobody else is asked."""
    with fetching.serving(HOSTILE[name]) as server:
        x5u = f"https://127.0.0.1:{server.port}/alice.pem"
        status, found, took = fetching.verify(x5u, *fetching.allowed(server))
    assert (status, found["reason"]) == (1, "certificate-unavailable")
    assert found["verdict"] == "No-TN-Validation"
    assert took < 3
    # one whose connection was closed without a word may be asked once more
    assert server.connections <= 2
    assert server.connections == 1 or name == "nothing"


@pytest.mark.parametrize("body", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_is_not_trusted(fetching: Fetching, body: bytes) -> None:
    """A body that came, but is no chain."""
    with fetching.serving(says(response(body))) as server:
        x5u = f"https://127.0.0.1:{server.port}/alice.pem"
        status, found, _ = fetching.verify(x5u, *fetching.allowed(server))
    assert (status, found["reason"]) == (1, "certificate-untrusted")


def test_a_server_of_another_name_is_not_asked(fetching: Fetching) -> None:
    """TLS must be for the host of the x5u, and by a CA that was given."""
    with fetching.serving(says(response(fetching.chain))) as server:
        allow = ["--x5u-allow", f"localhost:{server.port}", "--tls-ca", str(fetching.tls[2])]
        status, found, _ = fetching.verify(f"https://localhost:{server.port}/a", *allow)
        assert (status, found["reason"]) == (1, "certificate-unavailable")
        # without --tls-ca the system's CAs count
        allow = ["--x5u-allow", f"127.0.0.1:{server.port}"]
        status, found, _ = fetching.verify(f"https://127.0.0.1:{server.port}/a", *allow)
        assert (status, found["reason"]) == (1, "certificate-unavailable")
    assert server.requests == []


def test_nobody_listens(fetching: Fetching) -> None:
    """A refused connection is a certificate that cannot be had."""
    with fetching.serving(silent) as server:
        port = server.port
    options = ["--x5u-allow", f"127.0.0.1:{port}"]
    status, found, _ = fetching.verify(f"https://127.0.0.1:{port}/a", *options)
    assert (status, found["reason"]) == (1, "certificate-unavailable")


@pytest.mark.parametrize(
    "x5u",
    [
        "https://127.0.0.1:PORT/a",
        "https://localhost:PORT/a",
        "https://127.0.0.2:PORT/a",
        "https://[::ffff:127.0.0.1]:PORT/a",
        "http://127.0.0.1:PORT/a",
        "https://2130706433:PORT/a",
        "https://u@127.0.0.1:PORT/a",
        "https://127.0.0.1:PORT/a?q",
    ],
)
def test_loopback_is_not_asked_unless_allowed(fetching: Fetching, x5u: str) -> None:
    """Refused without any connection: the socket that listens sees nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        status, found, _ = fetching.verify(x5u.replace("PORT", str(port)))
        assert (status, found["reason"]) == (1, "x5u-refused")
        # another pair does not allow this one
        allow = ["--x5u-allow", f"127.0.0.1:{port + 1 if port < 65535 else 1024}"]
        status, found, _ = fetching.verify(x5u.replace("PORT", str(port)), *allow)
        assert (status, found["reason"]) == (1, "x5u-refused")
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_name_that_leads_home_is_refused(fetching: Fetching) -> None:
    """On a port that is allowed, the address behind the name decides."""
    status, found, _ = fetching.verify("https://localhost/alice.pem")
    assert (status, found["reason"]) == (1, "x5u-refused")


def test_nothing_is_fetched_for_another_call(fetching: Fetching) -> None:
    """Numbers and freshness come first: a stranger's x5u does not learn when we look."""
    with fetching.serving(says(response(fetching.chain))) as server:
        x5u = f"https://127.0.0.1:{server.port}/alice.pem"
        allowed = fetching.allowed(server)
        for options in (["--orig", "12125550000"], ["--dest", "13105550000"], ["--at", "1"]):
            status, _, _ = fetching.verify(x5u, *allowed, *options)
            assert status == 1
    assert server.connections == 0
