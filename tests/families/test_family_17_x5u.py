"""Family 17: where an x5u leads, and what the server there does to who comes."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from pathlib import Path

import pytest

from lab.companies import tls_certificate
from pbx_stir.certificates.fetch import X5uFetcher
from pbx_stir.cli.main import main
from pbx_stir.errors import CertificateUnavailable, UrlRefused
from pbx_stir.stir.x5u import EgressRule
from tests.cli.test_verify_fetching import Server, endless, response, says
from tests.families.hostile import ALICE, BOB, Court, Judging, token

# the form alone: refused with a map too, in which each of them leads to the right chain
FORMS = [
    "http://certificates.example.com/alice.pem",
    "ftp://certificates.example.com/alice.pem",
    "file:///etc/passwd",
    "data:,x",
    "https:certificates.example.com/alice.pem",
    "//certificates.example.com/alice.pem",
    "https://",
    "https:///alice.pem",
    "https://u@certificates.example.com/alice.pem",
    "https://u:p@certificates.example.com/alice.pem",
    "https://certificates.example.com@evil.example/alice.pem",
    "https://certificates.example.com/alice.pem?a=b",
    "https://certificates.example.com/alice.pem?",
    "https://certificates.example.com/alice.pem#a",
    "https://certificates.example.com/alice.pem#",
    "https://certificates.example.com:444/alice.pem",
    "https://certificates.example.com:80/alice.pem",
    "https://certificates.example.com:0/alice.pem",
    "https://certificates.example.com:65536/alice.pem",
    "https://certificates.example.com:/alice.pem",
    "https://certificates.example.com:0443/alice.pem",
    "https://certificates.example.com:443:443/alice.pem",
    "https://certificates.example.com./alice.pem",
    "https://certificates.example.com/al ice.pem",
    "https://certificates.example.com/alice.pem ",
    "https://certificates.example.com/alice.pem\n",
    "https://certificates.example.com/alice.pem\r\nHost: evil.example",
    "https://certificates.example.com/alice.pem\u0000",
    "https://certificates.example.com\\alice.pem",
    "https://certificates.example.com/\u00e9.pem",
    "https://certific\u00e4tes.example.com/alice.pem",
    "https://certificates\u3002example.com/alice.pem",
    "https://certificates.example.com/%zz.pem",
    "https://certificates.example.com/%",
    "https://localhost/alice.pem",
    "https://certificates/alice.pem",
    "https://certificates.local/alice.pem",
    "https://metadata.google.internal/alice.pem",
    "https://-certificates.example.com/alice.pem",
    "https://certificates..example.com/alice.pem",
    "https://certificates_.example.com/alice.pem",
    "https://xn--a.example.com/alice.pem",
    "https://127.0.0.1/alice.pem",
    "https://127.1/alice.pem",
    "https://2130706433/alice.pem",
    "https://0x7f000001/alice.pem",
    "https://0177.0.0.1/alice.pem",
    "https://10.0.0.1/alice.pem",
    "https://172.16.0.1/alice.pem",
    "https://192.168.0.1/alice.pem",
    "https://100.64.0.1/alice.pem",
    "https://169.254.169.254/alice.pem",
    "https://0.0.0.0/alice.pem",
    "https://255.255.255.255/alice.pem",
    "https://224.0.0.1/alice.pem",
    "https://[::1]/alice.pem",
    "https://[::]/alice.pem",
    "https://[fe80::1]/alice.pem",
    "https://[fe80::1%25eth0]/alice.pem",
    "https://[fc00::1]/alice.pem",
    "https://[::ffff:127.0.0.1]/alice.pem",
    "https://[::ffff:7f00:1]/alice.pem",
    "https://[64:ff9b::127.0.0.1]/alice.pem",
    "https://[2002:7f00:1::]/alice.pem",
    "https://[2001:db8::1]/alice.pem",
    "https://[::127.0.0.1]/alice.pem",
    "https://[1::2::3]/alice.pem",
    "https://[v1.a]/alice.pem",
    "https://certificates.example.com/" + "a" * 2_048,
]


@pytest.mark.parametrize("x5u", FORMS, ids=range(len(FORMS)))
def test_family_17_x5u_form(court: Court, judging: Judging, x5u: str) -> None:
    """Refused for its text alone; with a map nobody is asked, and the rule is the same."""
    court.serve(x5u, court.alice, court.ca)
    judging.refuses("x5u-refused", token(court.key, header={"x5u": x5u}))


@pytest.mark.parametrize(
    "x5u",
    [
        "https://certificates.example.com/a/b/c.pem",
        "https://certificates.example.com:8443/alice.pem",
        "https://certificates.example.com:443/alice.pem",
        "https://certificates.example.com",
        "https://certificates.example.com/",
        "https://certificates.example.com//a;b=c,d/$-_.~!*'():@&=+/%41",
        "https://xn--bcher-kva.example.com/alice.pem",
        "https://93.184.215.14/alice.pem",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/alice.pem",
        "https://a-b.c1.example.com/alice",
        "https://1.example.com/alice.pem",
        "https://certificates.example.com/" + "a" * 2_000,
    ],
)
def test_family_17_x5u_form_honest(court: Court, judging: Judging, x5u: str) -> None:
    """Ports 443 and 8443, any path, addresses and A-labels that are public."""
    court.serve(x5u, court.alice, court.ca)
    judging.passes(token(court.key, header={"x5u": x5u}))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Certificate, key and CA of a server at 127.0.0.1."""
    return tls_certificate(tmp_path_factory.mktemp("tls"), "server", ["127.0.0.1"])


class Asking:
    """Verifies a token whose x5u is at a server on loopback that was allowed."""

    def __init__(self, court: Court, judging: Judging, tls: tuple[Path, Path, Path]) -> None:
        self.court, self.judging, self.tls = court, judging, tls
        self.body = court.alice.pem + court.ca.pem

    def __call__(self, answer: object, path: str = "/alice.pem") -> tuple[str, Server]:
        """The reason, and the server that was asked."""
        with Server(self.tls[:2], answer) as server:  # type: ignore[arg-type]
            host = f"127.0.0.1:{server.port}"
            text = token(self.court.key, header={"x5u": f"https://{host}{path}"})
            options = ["--x5u-allow", host, "--tls-ca", str(self.tls[2])]
            return self.judging(text, options=options, mapped=False).reason, server


@pytest.fixture
def asking(court: Court, judging: Judging, tls: tuple[Path, Path, Path]) -> Asking:
    """Somebody who asks."""
    return Asking(court, judging, tls)


def test_family_17_x5u_served(asking: Asking) -> None:
    """A chain in PEM, whatever its type, its line ends, and how its length is told."""
    body = asking.body
    crlf = body.replace(b"\n", b"\r\n")
    chunked = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    for octets in (
        response(body),
        response(body, headers="Content-Type: text/html\r\n"),
        response(body, headers="Content-Type: application/octet-stream\r\n"),
        response(crlf, headers="Content-Type: application/pem-certificate-chain\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body,
        b"HTTP/1.0 200 OK\r\n\r\n" + body,
        response(body, headers="Content-Encoding: identity\r\n"),
        response(body, headers="Set-Cookie: a=b\r\nLocation: https://a.example/\r\n"),
    ):
        assert asking(says(octets))[0] == "verified"


REDIRECTS = [
    (status, target)
    for status in (301, 302, 303, 307, 308)
    for target in ("https://169.254.169.254/", "http://127.0.0.1/", "/other.pem")
]


@pytest.mark.parametrize(("status", "target"), REDIRECTS)
def test_family_17_x5u_redirect(asking: Asking, status: int, target: str) -> None:
    """No redirect is followed, wherever it leads; its body is not looked at."""
    octets = response(asking.body, status=f"{status} X", headers=f"Location: {target}\r\n")
    reason, server = asking(says(octets))
    assert reason == "certificate-unavailable"
    assert len(server.requests) == 1


def _answers(body: bytes) -> dict[str, tuple[bytes, str]]:
    zipped = gzip.compress(body)
    bomb = gzip.compress(bytes(10**7))
    gone = "certificate-unavailable"
    return {
        "404": (response(body, status="404 Not Found"), gone),
        "500": (response(body, status="500 Oops"), gone),
        "204": (response(b"", status="204 No Content"), gone),
        "206": (response(body, status="206 Partial Content"), gone),
        "203": (response(body, status="203 Non-Authoritative"), gone),
        "HTML": (response(b"<html>log in</html>"), "certificate-untrusted"),
        "nothing": (response(b""), "certificate-untrusted"),
        "gzip": (response(zipped, headers="Content-Encoding: gzip\r\n"), gone),
        "a bomb": (response(bomb, headers="Content-Encoding: gzip\r\n"), gone),
        "gzip unsaid": (response(zipped), "certificate-untrusted"),
        "10 MB announced": (response(bytes(10**7)), gone),
        "64 KiB and one": (response(body.ljust(65_537)), gone),
        "64 KiB": (response(body.ljust(65_536)), "verified"),
        "a length that lies": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + body, gone),
        "a negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + body, gone),
        "headers without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, gone),
        "a header of 1 MB": (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**6 + b"\r\n\r\n", gone),
        "no HTTP": (b"220 mail.example ESMTP\r\n", gone),
        "a private key beside it": (
            response(body + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "certificate-untrusted",
        ),
    }


@pytest.mark.parametrize("name", list(_answers(b"")))
def test_family_17_x5u_answers(asking: Asking, name: str) -> None:
    """Oversized, compressed, broken and lying answers are no certificate."""
    octets, reason = _answers(asking.body)[name]
    assert asking(says(octets))[0] == reason


def test_family_17_x5u_endless(asking: Asking) -> None:
    """A body without an end is left at 64 KiB."""
    assert asking(endless)[0] == "certificate-unavailable"


def test_family_17_x5u_no_answer_at_all(asking: Asking) -> None:
    """Closed before a word, and in the midst of TLS."""
    assert asking(says(b""))[0] == "certificate-unavailable"

    def broken(stream: ssl.SSLSocket, _: threading.Event) -> None:
        plain = socket.socket(fileno=stream.detach())
        plain.sendall(b"\x17\x03\x03\xff\xff junk")
        plain.close()

    assert asking(broken)[0] == "certificate-unavailable"


def test_family_17_x5u_tls_of_another(
    court: Court, judging: Judging, asking: Asking, tmp_path: Path
) -> None:
    """A server of another name, or vouched for by nobody we know."""
    body = response(asking.body)
    other = tls_certificate(tmp_path, "other", ["127.0.0.2"])
    for certificate, ca in ((other[:2], other[2]), (other[:2], asking.tls[2])):
        with Server(certificate, says(body)) as server:
            host = f"127.0.0.1:{server.port}"
            text = token(court.key, header={"x5u": f"https://{host}/a"})
            options = ["--x5u-allow", host, "--tls-ca", str(ca)]
            judging.refuses("certificate-unavailable", text, options=options, mapped=False)
        assert server.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_family_17_x5u_not_allowed(court: Court, judging: Judging, host: str) -> None:
    """Without --x5u-allow, and with that of another pair, nobody is connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        text = token(court.key, header={"x5u": f"https://{host}:{port}/a"})
        for allow in (
            [],
            ["--x5u-allow", "127.0.0.1:1"],
            ["--x5u-allow", f"127.0.0.2:{port}"],
            ["--x5u-allow", f"certificates.example.com:{port}"],
        ):
            judging.refuses("x5u-refused", text, options=allow, mapped=False)
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3", "192.168.1.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a9fe:a9fe"],
        ["fd00:ec2::254"],
    ],
)
async def test_family_17_x5u_name_that_leads_home(addresses: list[str]) -> None:
    """DNS may say anything: a name is worth no more than the address behind it."""
    fetcher = X5uFetcher(rule=EgressRule(), hosts=None, lookup=lambda *_: addresses)
    try:
        with pytest.raises(UrlRefused):
            await fetcher.fetch("https://rebinding.example.com/a.pem")
        addresses.clear()
        with pytest.raises(CertificateUnavailable):
            await fetcher.fetch("https://rebinding.example.com/b.pem")
    finally:
        await fetcher.close()


async def test_family_17_x5u_hosts_not_named() -> None:
    """A daemon fetches from those alone that its administrator named."""
    asked: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    fetcher = X5uFetcher(
        rule=EgressRule(), hosts=frozenset({"certificates.example.com"}), lookup=lookup
    )
    try:
        with pytest.raises(UrlRefused):
            await fetcher.fetch("https://evil.example.com/a.pem")
        assert asked == []
        with pytest.raises(UrlRefused):
            await fetcher.fetch("https://certificates.example.com/a.pem")
        assert asked == ["certificates.example.com"]
    finally:
        await fetcher.close()


def test_family_17_x5u_map_of_odd_files(court: Court, judging: Judging, tmp_path: Path) -> None:
    """A map that leads to a folder, nowhere, in a ring, or out of this world."""
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    (tmp_path / "link.pem").symlink_to(tmp_path / "chain.pem")
    (tmp_path / "chain.pem").write_bytes(court.alice.pem + court.ca.pem)
    x5u = "https://certificates.example.com/mapped.pem"
    text = token(court.key, header={"x5u": x5u})

    def reason(target: str) -> str:
        (tmp_path / "map.json").write_text(json.dumps({x5u: target}))
        options = ["--certificates", str(tmp_path / "map.json")]
        return judging(text, options=options, mapped=False).reason

    gone = "certificate-unavailable"
    for target in (".", "", "..", "ring", "none", "a\0b", "/dev/null/x", "x" * 5_000, "\ud800"):
        assert reason(target) == gone, target
    assert reason("/dev/zero") == gone
    assert reason("/dev/null") == "certificate-untrusted"
    for target in ("chain.pem", "./chain.pem", "link.pem", str(tmp_path / "chain.pem")):
        assert reason(target) == "verified"


def test_family_17_x5u_map_that_says_two_things(
    court: Court, judging: Judging, tmp_path: Path
) -> None:
    """A URL that stands twice in a map is wrong use: nobody can tell which file is meant."""
    url = "https://certificates.example.com/alice.pem"
    (tmp_path / "map.json").write_text(f'{{"{url}": "a.pem", "{url}": "b.pem"}}')
    given = ["--orig", ALICE, "--dest", BOB, "--trust", str(tmp_path / "trust.pem")]
    judging.passes(token(court.key))
    given += ["--identity-file", str(tmp_path / "identity")]
    assert main(["verify", *given, "--certificates", str(tmp_path / "map.json")]) == 2
    assert "twice" in judging.capsys.readouterr().err
