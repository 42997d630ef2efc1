"""Tests of pbx_stir.cli.authority_members: a request goes out, a group's file comes back."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pbx_stir.certificates.group import Group, parse_group
from pbx_stir.certificates.requests import parse_request
from pbx_stir.cli.main import main

ALICE, BOB = "+12125551200-+12125551299", "+16465550100-+16465550199"
CPS = "https://cps.example.com:8443"


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An authority, and the requests of Alice and Bob beside it."""
    folder = tmp_path / "ca"
    assert main(["authority", "init", str(folder), "--name", "Our Group"]) == 0
    for name, numbers in (("Alice", ALICE), ("Bob", BOB)):
        assert request(tmp_path, name, numbers) == 0
    capsys.readouterr()
    return folder


def request(folder: Path, name: str, numbers: str, *options: str) -> int:
    """Ask for a certificate."""
    out = str(folder / name.lower())
    names = ["--name", name, "--numbers", numbers, "--out", out]
    return main(["authority", "request", *names, *options])


def admit(folder: Path, name: str, numbers: str, *options: str) -> int:
    """Certify what was asked for, or something else."""
    asked = str(folder.parent / f"{name.lower()}.request")
    return main(
        ["authority", "issue", str(folder), "--request", asked, "--numbers", numbers, *options]
    )


def group(folder: Path) -> Group:
    """What everybody gets."""
    return parse_group((folder / "group.toml").read_bytes()).group


def test_a_key_stays_where_it_was_made(folder: Path) -> None:
    """A request has the public half; the key's file is for its owner alone, and never printed."""
    key_file = folder.parent / "alice.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    key = load_pem_private_key(key_file.read_bytes(), None)
    asked = parse_request((folder.parent / "alice.request").read_bytes())
    assert asked.public_key == key.public_key()
    assert asked.name == "Alice"


def test_nothing_is_overwritten_without_force(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that is in use is not lost to a second request."""
    before = (folder.parent / "alice.key").read_bytes()
    assert request(folder.parent, "Alice", ALICE) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder.parent / "alice.key").read_bytes() == before
    assert request(folder.parent, "Alice", ALICE, "--force") == 0
    assert (folder.parent / "alice.key").read_bytes() != before


def test_members_are_named_in_one_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with numbers, CPS and certificate; a later one may share the CPS of the first."""
    assert admit(folder, "Alice", ALICE, "--cps", CPS) == 0
    assert "fingerprint: " in capsys.readouterr().out
    assert admit(folder, "Bob", BOB) == 0
    alice, bob = group(folder).member
    assert (alice.name, alice.numbers, alice.cps) == ("Alice", (ALICE,), (CPS,))
    assert (bob.name, bob.numbers, bob.cps) == ("Bob", (BOB,), (CPS,))
    assert not (folder.parent / "alice.pem").exists()


def test_the_operator_decides_about_numbers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is asked for is granted to nobody; where it differs, that is said."""
    assert admit(folder, "Bob", "+16465550100", "--cps", CPS) == 0
    assert f"asked for were {BOB}" in capsys.readouterr().out
    (bob,) = group(folder).member
    assert bob.numbers == ("+16465550100",)
    leaf = x509.load_pem_x509_certificate(bob.certificate.encode())
    assert b"16465550199" not in leaf.tbs_certificate_bytes


def test_one_number_is_one_members(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What somebody has is certified to nobody else, and the file stays as it was."""
    assert admit(folder, "Alice", ALICE, "--cps", CPS) == 0
    before = (folder / "group.toml").read_bytes()
    assert admit(folder, "Bob", "+12125551250") == 2
    assert "is Alice's" in capsys.readouterr().err
    assert (folder / "group.toml").read_bytes() == before


def test_a_renewal_replaces(folder: Path) -> None:
    """The same request again: a later end, the same key, numbers and CPS as they are given now."""
    assert admit(folder, "Alice", ALICE, "--cps", CPS, "--days", "10") == 0
    first = group(folder)
    assert admit(folder, "Alice", ALICE, "--days", "90") == 0
    second = group(folder)
    assert len(second.member) == 1
    assert second.made > first.made
    assert second.member[0].cps == (CPS,)
    old, new = (
        x509.load_pem_x509_certificate(one.member[0].certificate.encode())
        for one in (first, second)
    )
    assert new.public_key() == old.public_key()
    assert new.not_valid_after_utc > old.not_valid_after_utc


def test_tls_certificates_are_gathered(folder: Path) -> None:
    """Those of several CPSs, each once."""
    pem = folder / "authority.pem"
    for _ in range(2):
        assert admit(folder, "Alice", ALICE, "--cps", CPS, "--tls-ca", str(pem)) == 0
    assert group(folder).tls_ca == pem.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "at which CPS"),
        (["--cps", "http://cps.example.com"], "https"),
        (["--cps", CPS, "--name", 'A"'], "name"),
        (["--cps", CPS, "--spc", "709J"], "for numbers"),
        (["--cps", CPS, "--out", "x"], "for numbers"),
        (["--cps", CPS, "--tls-ca", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    """Wrong use has exit status 2, names the reason, and leaves no file behind."""
    assert admit(folder, "Alice", ALICE, *options) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "group.toml").exists()


def test_a_damaged_request_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its file's name."""
    (folder.parent / "alice.request").write_text("hello")
    assert admit(folder, "Alice", ALICE, "--cps", CPS) == 2
    assert "alice.request" in capsys.readouterr().err


def test_a_file_of_another_authority_is_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After ``init --force`` the old group is not signed anew by accident; nor is a changed one."""
    assert admit(folder, "Alice", ALICE, "--cps", CPS) == 0
    assert main(["authority", "init", str(folder), "--name", "Our Group", "--force"]) == 0
    assert admit(folder, "Bob", BOB) == 2
    assert "another authority" in capsys.readouterr().err
    text = (folder / "group.toml").read_text()
    (folder / "group.toml").write_text(text.replace("cps.example.com", "cps.example.net"))
    assert admit(folder, "Bob", BOB) == 2
    assert "changed" in capsys.readouterr().err


def test_a_members_name_is_his(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks under a member's name with another key gets nothing, unless he is to."""
    assert admit(folder, "Alice", ALICE, "--cps", CPS) == 0
    before = (folder / "group.toml").read_bytes()
    assert request(folder.parent, "Alice", BOB, "--force") == 0
    capsys.readouterr()
    assert admit(folder, "Alice", BOB) == 2
    assert "in this group already, with another key" in capsys.readouterr().err
    assert (folder / "group.toml").read_bytes() == before
    assert admit(folder, "Alice", BOB, "--replace") == 0
    said = capsys.readouterr().out
    assert "takes the place of Alice, key " in said
    assert "stays good until its end" in said
    assert [one.numbers for one in group(folder).member] == [(BOB,)]


def test_what_an_earlier_certificate_had_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A renewal with other numbers leaves the first certificate good: that needs a word."""
    assert admit(folder, "Alice", ALICE, "--cps", CPS) == 0
    capsys.readouterr()
    assert admit(folder, "Alice", ALICE) == 0
    assert "stays good" not in capsys.readouterr().out
    assert admit(folder, "Alice", "+12125551200") == 0
    assert f"issued for {ALICE}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Soci\u00e9t\u00e9\u00a0Nord", "a\tb", "a\u202eb", " ", "a" * 65])
def test_a_name_is_seen_as_it_is(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be read out or typed again could not be revoked."""
    asked = str(folder.parent / "alice.request")
    options = ["--request", asked, "--numbers", ALICE, "--cps", CPS, "--name", name]
    assert main(["authority", "issue", str(folder), *options]) == 2
    assert "not a name" in capsys.readouterr().err


def test_numbers_of_another_member_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A certificate outside the group's file for a member's number: so that nobody errs."""
    admit(folder, "Alice", "+12125551200-+12125551299", "--cps", "https://cps.example.net")
    capsys.readouterr()
    words = ["authority", "issue", str(folder), "--name", "Bob", "--out", str(tmp_path / "other")]
    assert main([*words, "--numbers", "+12125551250"]) == 0
    assert "note: Alice has some of these numbers" in capsys.readouterr().out
    assert main([*words, "--force", "--numbers", "+12125551300"]) == 0
    assert "note:" not in capsys.readouterr().out
