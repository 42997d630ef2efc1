"""``pbx-stir verify`` refuses what is revoked, by lists in files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.cli.main import main
from tests.cli.conftest import ALICE, BOB, X5U, Office
from tests.stir import revoking
from tests.stir.conftest import DAY, Forge, Issued

FORGE = Forge()
NOW = int(time.time())
TIMES: dict[str, Any] = {"this_update": NOW - 60, "next_update": NOW + DAY}


class Company:
    """Alice under a root of her own, with whatever her certificate says of revocation."""

    def __init__(self, folder: Path, office: Office, *extra: tuple[x509.ExtensionType, bool]):
        lasts: dict[str, Any] = {"not_before": NOW - 30 * DAY, "not_after": NOW + 30 * DAY}
        self.folder = folder
        self.office = office
        self.root = FORGE.root(**lasts)
        self.leaf = FORGE.leaf(self.root, extra=extra, **lasts)
        (folder / "root.pem").write_bytes(self.root.pem)
        (folder / "leaf.pem").write_bytes(self.leaf.pem)
        (folder / "map.json").write_text(json.dumps({X5U: "leaf.pem"}))

    def token(self) -> str:
        """A PASSporT of Alice's."""
        from pbx_stir.stir import passport

        key: Any = self.leaf.key
        signed = passport.sign(orig=ALICE, dest=[BOB], iat=NOW, x5u=X5U, key=key)
        return passport.identity_header(signed)

    def lists(self, *serials: int, name: str = "all.crl", signer: Issued | None = None) -> str:
        """A file with a list."""
        file = self.folder / name
        file.write_bytes(revoking.crl(signer or self.root, serials, **TIMES))
        return str(file)

    def verify(self, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
        """Exit status and reason."""
        (self.folder / "identity").write_text(self.token())
        given = ["--identity-file", str(self.folder / "identity"), "--orig", ALICE, "--dest", BOB]
        given += ["--trust", str(self.folder / "root.pem"), "--json", "--at", str(NOW)]
        given += ["--certificates", str(self.folder / "map.json")]
        capsys.readouterr()
        status = main(["verify", *given, *options])
        out = capsys.readouterr().out
        return status, json.loads(out)["reason"] if out else ""


@pytest.fixture
def company(tmp_path: Path, office: Office) -> Company:
    """Alice, whose certificate names no list."""
    return Company(tmp_path, office)


def test_family_16_a_revoked_certificate_is_refused(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list of the issuer with the certificate on it: revoked, under soft and hard, not off."""
    crl = company.lists(company.leaf.cert.serial_number)
    assert company.verify(capsys, "--crl", crl) == (1, "revoked")
    assert company.verify(capsys, "--crl", crl, "--revocation", "hard") == (1, "revoked")
    assert company.verify(capsys, "--crl", crl, "--revocation", "off") == (0, "verified")


def test_family_16_an_honest_neighbour_passes(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list with others on it is what hard wants; a list of another authority is not."""
    crl = company.lists(1, 2, 3)
    assert company.verify(capsys, "--crl", crl) == (0, "verified")
    assert company.verify(capsys, "--crl", crl, "--revocation", "hard") == (0, "verified")
    other = company.lists(1, name="other.crl", signer=FORGE.root("Other"))
    assert company.verify(capsys, "--crl", other) == (0, "verified")
    hard = company.verify(capsys, "--crl", other, "--revocation", "hard")
    assert hard == (1, "certificate-unavailable")
    assert company.verify(capsys, "--crl", other, "--crl", crl, "--revocation", "hard")[0] == 0


def test_family_16_without_a_list_soft_goes_on(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing known is no reason to refuse but under hard."""
    assert company.verify(capsys) == (0, "verified")
    hard = company.verify(capsys, "--revocation", "hard")
    assert hard == (1, "certificate-unavailable")


def test_family_16_no_rev_avail_is_good(
    tmp_path: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """A certificate that says that there is nothing to ask passes under hard."""
    company = Company(tmp_path, office, (revoking.NO_REV_AVAIL, False))
    assert company.verify(capsys, "--revocation", "hard") == (0, "verified")


def test_family_16_an_indirect_list_of_a_named_signer(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    """SHAKEN's one list for all, signed by whom --crl-signer names."""
    signer = FORGE.root("STI-PA", not_before=NOW - DAY, not_after=NOW + DAY)
    entry = revoking.entry(company.leaf.cert.serial_number, issuer=company.root.cert.subject)
    says = revoking.point(indirect_crl=True)
    crl = company.folder / "all.crl"
    crl.write_bytes(revoking.crl(signer, [entry], says=says, encoding=Encoding.PEM, **TIMES))
    (company.folder / "signer.pem").write_bytes(signer.pem)
    assert company.verify(capsys, "--crl", str(crl)) == (0, "verified")
    named = ("--crl-signer", str(company.folder / "signer.pem"))
    assert company.verify(capsys, "--crl", str(crl), *named) == (1, "revoked")


def test_a_file_that_is_no_list_is_wrong_use(
    company: Company, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, as for every file that cannot be read."""
    assert company.verify(capsys, "--crl", str(company.folder / "leaf.pem"))[0] == 2
    assert company.verify(capsys, "--crl", "/nowhere/all.crl")[0] == 2
