"""``pbx-stir fetch --orig``: what was opened is judged as the service would judge it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lab.companies import Authority
from pbx_stir.cli.fetch_judged import judged
from pbx_stir.cli.main import main
from pbx_stir.stir.sealing import Opened
from pbx_stir.stir.tnauthlist import TnAuthList
from tests.cli.conftest import ALICE, BOB, X5U


@dataclass(frozen=True)
class Desk:
    """Bob's configuration, and a PASSporT of Alice's for a call to him."""

    config: Path
    opened: Opened

    def judge(self, orig: str, *opened: Opened) -> int:
        """What the command says of a call from ``orig``."""
        args = argparse.Namespace(config=str(self.config), orig=orig)
        return judged(args, opened or [self.opened], BOB)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Bob trusts the authority that has certified Alice."""
    authority = Authority.new(tmp_path, "Lab")
    certificate, key = authority.issue(tmp_path, "alice", TnAuthList(numbers=(ALICE,)))
    config = tmp_path / "pbx-stir.toml"
    config.write_text(f'[verification]\ntrust = ["{authority.anchor.name}"]\n')
    call = ["--orig", ALICE, "--dest", BOB, "--key", str(key), "--x5u", X5U]
    assert main(["sign", *call, "--passport"]) == 0
    token = capsys.readouterr().out.strip()
    leaf = x509.load_pem_x509_certificate(certificate.read_bytes())
    return Desk(config, Opened(token, (leaf.public_bytes(Encoding.DER),)))


def test_a_good_one_verifies(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """By the certificate that was sealed with it; nothing is fetched. What is broken beside it, or
    sealed by anybody else, changes nothing."""
    assert desk.judge(f"+{ALICE}", Opened("x.y.z", ()), desk.opened) == 0
    assert "TN-Validation-Passed" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["caller", "certificate", "anchor", "nothing"])
def test_what_does_not_hold_is_said(
    desk: Desk, capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    """Exit status 1, and the reason's word: as for a call."""
    opened, orig = [desk.opened], ALICE
    if kind == "caller":
        orig, wanted = "12125559999", "orig-mismatch"
    elif kind == "certificate":
        # its x5u is at a host that the configuration does not name
        opened, wanted = [Opened(desk.opened.passport, ())], "x5u-refused"
    elif kind == "anchor":
        other = Authority.new(tmp_path, "Other")
        desk.config.write_text(f'[verification]\ntrust = ["{other.anchor.name}"]\n')
        wanted = "certificate-untrusted"
    else:
        opened, wanted = [Opened("x.y.z", ())], "malformed"
    assert desk.judge(orig, *opened) == 1
    assert wanted in capsys.readouterr().out


def test_whose_anchors_decide_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a configuration there is no verdict."""
    options = ["--cps", "https://cps.example", "--dest", BOB, "--orig", ALICE]
    assert main(["fetch", *options]) == 2
    assert "--config" in capsys.readouterr().err
