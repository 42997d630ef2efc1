"""Tests of pbx_stir.cli.authority_register: what was issued can be taken back, all of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cryptography import x509

from pbx_stir.cli.main import main
from pbx_stir.stir.revocation_list import parse_lists


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An authority."""
    folder = tmp_path / "ca"
    assert main(["authority", "init", str(folder), "--name", "Lab"]) == 0
    capsys.readouterr()
    return folder


def issue(folder: Path, name: str, *options: str) -> x509.Certificate:
    """Issue for somebody."""
    out = folder.parent / "issued-here"
    given = ["--name", name, "--numbers", "+12125551234", "--out", str(out), "--force", *options]
    assert main(["authority", "issue", str(folder), *given]) == 0
    return x509.load_pem_x509_certificate(out.with_suffix(".pem").read_bytes())


def revoked(folder: Path) -> set[int]:
    """The serial numbers on the list, which must hold."""
    octets = (folder / "revoked.pem").read_bytes()
    (listed,) = parse_lists(octets)
    now = time.time()
    assert listed.has_begun(now)
    assert not listed.is_over(now + 300 * 86_400)
    root = x509.load_pem_x509_certificate((folder / "authority.pem").read_bytes())
    key = root.public_key()
    assert x509.load_pem_x509_crl(octets).is_signature_valid(key)  # type: ignore[arg-type]
    return {serial for one in listed.entries.values() for serial in one}


def test_nobody_is_revoked_at_first(folder: Path) -> None:
    """The list is there from the beginning, so that configurations can name its file."""
    assert revoked(folder) == set()


def test_all_that_a_name_has_is_taken_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Renewed certificates and those before them; nobody else's, and it stays so."""
    alice = {issue(folder, "Alice").serial_number for _ in range(2)}
    bob = issue(folder, "Bob").serial_number
    assert main(["authority", "revoke", str(folder), "--name", "Alice"]) == 0
    assert "2 certificates of Alice" in capsys.readouterr().out
    assert revoked(folder) == alice
    assert main(["authority", "revoke", str(folder), "--name", "Bob"]) == 0
    assert revoked(folder) == alice | {bob}


def test_what_has_ended_is_not_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name of which nothing is good any more is said, as is one that nobody has."""
    issue(folder, "Alice", "--days", "-0.001")
    for name in ("Alice", "Nobody"):
        assert main(["authority", "revoke", str(folder), "--name", name]) == 2
        assert f"issued to '{name}'" in capsys.readouterr().err
    assert revoked(folder) == set()


@pytest.mark.parametrize(("file", "said"), [("issued", "not a line"), ("revoked.pem", "no revoc")])
def test_damaged_files_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str], file: str, said: str
) -> None:
    """What cannot be read is not written over: whom would the new list forget?"""
    issue(folder, "Alice")
    (folder / file).write_text("hello\n")
    assert main(["authority", "revoke", str(folder), "--name", "Alice"]) == 2
    assert said in capsys.readouterr().err
    assert (folder / file).read_text() == "hello\n"


def test_a_key_is_taken_back_under_all_its_names(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Renewed under another name it is the same key: whoever has it has nothing left."""
    out = str(tmp_path / "alpha")
    asked = ["--name", "Alpha Ltd", "--numbers", "+12125551200-+12125551299", "--out", out]
    assert main(["authority", "request", *asked]) == 0
    for name, numbers in (
        ("Alpha Ltd", "+12125551200-+12125551299"),
        ("Alpha Inc", "+12125551200"),
    ):
        options = ["--name", name, "--numbers", numbers, "--cps", "https://cps.example.com"]
        request = ["--request", f"{out}.request", *options]
        assert main(["authority", "issue", str(folder), *request]) == 0
    bob = issue(folder, "Bob").serial_number
    capsys.readouterr()
    assert main(["authority", "revoke", str(folder), "--name", "Alpha Inc"]) == 0
    said = capsys.readouterr().out
    assert "2 certificates of Alpha Inc" in said
    assert "for the same key: Alpha Ltd" in said
    assert len(revoked(folder)) == 2
    assert bob not in revoked(folder)


def test_lines_without_a_fingerprint_are_read(folder: Path) -> None:
    """Those that an earlier version has written."""
    serial = issue(folder, "Alice Ltd").serial_number
    path = folder / "issued"
    first, end, _, name = path.read_text().split(" ", 3)
    path.write_text(f"{first} {end} {name}")
    assert main(["authority", "revoke", str(folder), "--name", "Alice Ltd"]) == 0
    assert revoked(folder) == {serial}
