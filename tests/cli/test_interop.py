"""Our tokens and those of secsipidx, another implementation of RFC 8588, verify each other's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pbx_stir.cli.main import main
from pbx_stir.stir import passport
from tests.cli.conftest import ALICE, BOB, X5U, Office

pytestmark = pytest.mark.skipif(
    shutil.which("secsipidx") is None,
    reason="secsipidx is not installed: scripts/test installs it where it runs as root on Debian",
)
ORIGID = "7f3c6bd8-1f2e-4d1c-9d39-5ed1e5a8f6a0"


def secsipidx(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What Debian's secsipidx says."""
    return subprocess.run(
        ["secsipidx", *arguments], capture_output=True, text=True, check=False, timeout=20
    )


@pytest.mark.parametrize("attest", ["A", "B", "C"])
def test_we_verify_what_secsipidx_signed(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path, attest: str
) -> None:
    """Its Identity header, as it prints it, for its call and for no other."""
    signed = secsipidx(
        *("-sign-full", "-orig-tn", ALICE, "-dest-tn", BOB, "-attest", attest, "-x5u", X5U),
        *("-k", office.file("alice.key"), "-orig-id", ORIGID),
    )
    assert signed.returncode == 0, signed.stderr
    identity = tmp_path / "identity"
    identity.write_text(signed.stdout)
    given = ["--identity-file", str(identity), "--dest", BOB, "--trust", office.trust]
    given += ["--certificates", office.map, "--json"]
    capsys.readouterr()
    assert main(["verify", *given, "--orig", ALICE]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["reason"], found["attest"], found["signer"]) == ("verified", attest, "alice")
    assert main(["verify", *given, "--orig", "12125551299"]) == 1


@pytest.mark.parametrize("attest", ["A", "B", "C"])
def test_secsipidx_verifies_what_we_signed(
    office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path, attest: str
) -> None:
    """Our header under the certificate's key; not a changed one, not under another key."""
    header = office.sign(capsys, "--attest", attest)
    identity = tmp_path / "identity"
    keys = []
    for name in ("alice", "provider"):
        certificate = x509.load_pem_x509_certificate(Path(office.file(f"{name}.pem")).read_bytes())
        keys.append(tmp_path / f"{name}.pub")
        keys[-1].write_bytes(
            certificate.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def checked(value: str, key: Path) -> bool:
        identity.write_text(value)
        done = secsipidx(
            "-check", "-fidentity", str(identity), "-fpubkey", str(key), "-expire", "60"
        )
        return done.returncode == 0 and done.stdout.strip().lower().endswith("ok")

    assert checked(header, keys[0])
    assert not checked(header, keys[1])
    other = office.sign(capsys, "--attest", attest, "--dest", "13105552001")
    taken = passport.parse_identity(header).token.split(".")
    foreign = passport.parse_identity(other).token.split(".")
    mixed = header.replace(".".join(taken), ".".join([foreign[0], foreign[1], taken[2]]))
    assert not checked(mixed, keys[0])
