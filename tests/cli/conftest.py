"""An office for the commands: an authority, who signs, and the files that an administrator has."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.companies import Authority, tls_certificate
from lab.processes import Service
from pbx_stir.cli.main import main
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.call_log.written import octets
from tests.cli.call_logs import NONE, OUT, write

ALICE = "12125551234"
BOB = "13105552000"
X5U = "https://certificates.example.com/alice.pem"

Cps = tuple[str, ...]


@dataclass(frozen=True)
class Office:
    """Files: alice has numbers, provider a code; the anchor is the root of both."""

    folder: Path
    authority: Authority

    @property
    def trust(self) -> str:
        """The anchor's file."""
        return str(self.authority.anchor)

    @property
    def map(self) -> str:
        """Where x5u URLs lead, relative to the map."""
        return str(self.folder / "maps/map.json")

    def file(self, name: str) -> str:
        """A file of the office."""
        return str(self.folder / name)

    def sign(self, capsys: pytest.CaptureFixture[str], *options: str) -> str:
        """What ``pbx-stir sign`` prints for Alice calling Bob."""
        capsys.readouterr()
        given = ["--orig", ALICE, "--dest", BOB, "--key", self.file("alice.key"), "--x5u", X5U]
        assert main(["sign", *given, *options]) == 0
        return capsys.readouterr().out.rstrip("\n")


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """The files, made once."""
    folder = tmp_path_factory.mktemp("office")
    authority = Authority.new(folder, "Lab Authority")
    authority.issue(folder, "alice", TnAuthList(ranges=(("12125551200", 100),)))
    authority.issue(folder, "provider", TnAuthList(spcs=("1234",)))
    Authority.new(folder, "Other Authority")
    (folder / "maps").mkdir()
    (folder / "maps/map.json").write_text(
        json.dumps(
            {
                X5U: "../alice.pem",
                "https://certificates.example.com/provider.pem": str(folder / "provider.pem"),
                "https://certificates.example.com/gone.pem": "gone.pem",
                "https://certificates.example.com/key.pem": "../alice.key",
                "https://certificates.example.com/zero.pem": "a\0b",
                "http://certificates.example.com/alice.pem": "../alice.pem",
                "https://certificates.example.com:444/alice.pem": "../alice.pem",
                "https://certificates.example.com/alice.pem?a": "../alice.pem",
                "https://u@certificates.example.com/alice.pem": "../alice.pem",
                "https://10.0.0.1/alice.pem": "../alice.pem",
            }
        )
    )
    return Office(folder, authority)


def running(arguments: list[str], folder: Path) -> Iterator[str]:
    """Run a CPS; gives its URL."""
    with Service("cps", ["cps", "--listen", "127.0.0.1:0", *arguments], folder) as service:
        service.wait_until(lambda: "listening on http" in service.said, "listening")
        line = next(one for one in service.said.splitlines() if one.startswith("listening on"))
        yield line.split()[-1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cps]:
    """Options for a CPS without TLS."""
    for url in running(["--no-tls", "--no-tokens"], tmp_path_factory.mktemp("plain")):
        yield "--cps", url


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, office: Office) -> Iterator[Cps]:
    """Options for a CPS with TLS that takes records."""
    folder = tmp_path_factory.mktemp("secure")
    certificate, key, ca = tls_certificate(folder, "cps", ["127.0.0.1"])
    config = folder / "cps.toml"
    config.write_text(
        f'state_dir = "state"\n[cps]\ntokens = false\ntrust = ["{office.trust}"]\n'
        f'certificate = "{certificate.name}"\nkey = "{key.name}"\n'
    )
    for url in running(["--config", str(config)], folder):
        yield "--cps", url, "--tls-ca", str(ca)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two older files, and the current one."""
    path = tmp_path / "calls.jsonl"
    old = tmp_path / "calls.jsonl-20261120.gz"
    older = octets(id="aaaa000011112222", time="2026-11-20T08:00:00Z", **OUT)
    old.write_bytes(gzip.compress(older + b"\n"))
    os.utime(old, (1_795_160_000, 1_795_160_000))
    write(
        path,
        octets(id="bbbb000011112222", reason="stale", **NONE),
        octets(id="cccc000011112222", trunk="carrier-2", orig="13105550000"),
        b"half a li",
    )
    return path
