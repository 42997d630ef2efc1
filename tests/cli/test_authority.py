"""An authority in a folder issues what it is told to, and overwrites nothing by accident."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pbx_stir.cli.main import main
from pbx_stir.stir import credential
from pbx_stir.stir.certificate import Anchors, find_path


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An authority."""
    folder = tmp_path / "ca"
    assert main(["authority", "init", str(folder), "--name", "Lab"]) == 0
    capsys.readouterr()
    return folder


def issue(folder: Path, *options: str) -> int:
    """Issue for Alice."""
    out = str(folder.parent / "alice")
    return main(["authority", "issue", str(folder), "--name", "Alice", "--out", out, *options])


def test_what_is_issued_is_a_credential(folder: Path) -> None:
    """Certificate and key load as a credential, under a path to the authority, for the numbers."""
    options = ["--numbers", "+12125551200-+12125551299, +16465550000", "--numbers", "13105551234"]
    assert issue(folder, *options) == 0
    leaf = x509.load_pem_x509_certificate((folder.parent / "alice.pem").read_bytes())
    root = x509.load_pem_x509_certificate((folder / "authority.pem").read_bytes())
    now = leaf.not_valid_before_utc.timestamp() + 600
    path = find_path([leaf], Anchors.of([root]), now)
    assert path.tn_auth_list.ranges == (("12125551200", 100),)
    assert path.tn_auth_list.numbers == ("13105551234", "16465550000")
    loaded = credential.load(
        (folder.parent / "alice.pem").read_bytes(),
        (folder.parent / "alice.key").read_bytes(),
        x5u="https://cert.example.com/alice.pem",
    )
    assert loaded.covers("12125551250")


def test_a_provider_code_is_certified(folder: Path) -> None:
    """--spc makes a provider's certificate."""
    assert issue(folder, "--spc", "709J") == 0
    leaf = x509.load_pem_x509_certificate((folder.parent / "alice.pem").read_bytes())
    assert b"709J" in leaf.public_bytes(Encoding.DER)


def test_private_keys_are_for_their_owner(folder: Path) -> None:
    """Key files have mode 0600, and nothing of them is printed."""
    issue(folder, "--numbers", "+12125551234")
    for path in (folder / "authority.key", folder.parent / "alice.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_overwritten_without_force(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second init or issue says what is there, and --force replaces it."""
    before = (folder / "authority.key").read_bytes()
    assert main(["authority", "init", str(folder), "--name", "Lab"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "authority.key").read_bytes() == before
    assert main(["authority", "init", str(folder), "--name", "Lab", "--force"]) == 0
    assert (folder / "authority.key").read_bytes() != before
    assert issue(folder, "--spc", "1") == 0
    assert issue(folder, "--spc", "1") == 2
    assert issue(folder, "--spc", "1", "--force") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to certify"),
        (["--numbers", "1212*"], "prefixes"),
        (["--numbers", "abc"], "--numbers"),
        (["--numbers", "+19-+12"], "range"),
        (["--spc", "\u00e9"], "SPC"),
    ],
)
def test_what_cannot_be_certified_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    """Wrong use has exit status 2, names the reason, and writes no file."""
    assert issue(folder, *options) == 2
    assert said in capsys.readouterr().err
    assert not (folder.parent / "alice.key").exists()


@pytest.mark.parametrize("name", ["", " ", "x\x01", "x\x1b[31m", "x\u202ey", "x" * 65])
def test_a_name_is_one_that_is_seen(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Of an authority, of who is certified, and of who asks to be; nothing is written otherwise."""
    for action in (
        ["init", str(folder.parent / "x")],
        ["issue", str(folder), "--numbers", "+12125551234", "--out", str(folder.parent / "x")],
        ["request", "--numbers", "+12125551234", "--out", str(folder.parent / "x")],
    ):
        assert main(["authority", *action, "--name", name]) == 2
        assert "name" in capsys.readouterr().err
    assert [one.name for one in folder.parent.iterdir()] == [folder.name]


def test_without_an_authority_it_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that holds none is named, with the command that helps."""
    assert issue(tmp_path / "none", "--spc", "1") == 2
    assert "authority init" in capsys.readouterr().err


def test_a_foreign_key_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """authority.key must be the key of authority.pem, else every certificate would be worthless."""
    other = folder.parent / "other"
    main(["authority", "init", str(other), "--name", "Lab"])
    (folder / "authority.key").write_bytes((other / "authority.key").read_bytes())
    assert issue(folder, "--spc", "1") == 2
    assert "not the key" in capsys.readouterr().err


def test_help_tells_of_revocation(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done yet is said."""
    with pytest.raises(SystemExit):
        main(["authority", "--help"])
    assert "revocation" in capsys.readouterr().out.lower()


def test_numbers_without_a_plus(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What they were taken for is said: a national number is another country's number."""
    assert issue(folder, "--numbers", "2125551200,+12125551201") == 0
    said = capsys.readouterr().out
    assert said.count("is taken as") == 1
    assert "2125551200 is taken as +2125551200" in said
