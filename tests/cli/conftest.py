"""An office for the commands: an authority, who signs, and the files that an administrator has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.companies import Authority
from pbx_stir.cli.main import main
from pbx_stir.stir.tnauthlist import TnAuthList

ALICE = "12125551234"
BOB = "13105552000"
X5U = "https://certificates.example.com/alice.pem"


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
