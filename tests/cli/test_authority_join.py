"""Tests of pbx_stir.cli.authority_join: one file is taken up, and nothing else is touched."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from pbx_stir import config, configured
from pbx_stir.certificates.group import parse_group
from pbx_stir.checks import unit
from pbx_stir.cli.main import main

ALICE, BOB, CAROL = "+12125551200-+12125551299", "+16465550100-+16465550119", "+13105550000"
CPS = "https://cps.example.com:8443"


@dataclass(frozen=True)
class Desk:
    """An authority with Alice and Bob in its group, and Bob's folder."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca"

    @property
    def bob(self) -> Path:
        return self.folder / "bob"

    @property
    def file(self) -> Path:
        return self.authority / "group.toml"

    @property
    def configuration(self) -> Path:
        return self.bob / "pbx-stir.toml"

    @property
    def fingerprint(self) -> str:
        authority = parse_group(self.file.read_bytes()).authority
        return authority.fingerprint(hashes.SHA256()).hex()

    def admit(self, name: str, numbers: str, *options: str) -> None:
        """Ask, where that was not done before, and certify."""
        out = self.folder / name.lower() / "company"
        if not out.with_suffix(".key").exists():
            asked = ["request", "--name", name, "--numbers", numbers, "--out", str(out)]
            assert main(["authority", *asked]) == 0
        given = ["--request", f"{out}.request", "--numbers", numbers, "--cps", CPS]
        assert main(["authority", "issue", str(self.authority), *given, *options]) == 0

    def join(self, *options: str) -> int:
        """Bob takes the file up."""
        return main(["authority", "join", str(self.file), str(self.bob), *options])

    def join_first(self, *options: str) -> int:
        """With the fingerprint that Bob was told."""
        return self.join("--fingerprint", self.fingerprint, *options)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """The operator has certified both."""
    made = Desk(tmp_path)
    assert main(["authority", "init", str(made.authority), "--name", "Our Group"]) == 0
    made.admit("Alice", ALICE)
    made.admit("Bob", BOB)
    capsys.readouterr()
    return made


def test_a_new_configuration_is_whole(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """It loads: a credential that covers our numbers, the anchor, routes to the others alone."""
    assert desk.join_first("--state-dir", "state") == 0
    loaded = config.load(desk.configuration)
    (credential,) = configured.credentials(loaded)
    assert credential.covers("16465550119")
    assert not credential.covers("12125551200")
    assert len(configured.anchors(loaded, "x", loaded.values.verification.trust).current().digest)
    assert [one.prefix for one in loaded.values.route] == ["+121255512"]
    assert loaded.values.publish.numbers == (BOB,)
    assert loaded.values.publish.cps == (CPS,)
    assert loaded.values.state_dir == "state"
    assert loaded.values.trunk[0].numbers == (BOB,)
    said = capsys.readouterr().out
    assert "calls to Alice will be signed" in said
    assert "[[asterisk]]" in said


def test_an_unknown_authority_is_not_believed(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the fingerprint, or with another one, nothing is written."""
    assert desk.join() == 2
    assert "--fingerprint" in capsys.readouterr().err
    assert desk.join("--fingerprint", "00" * 32) == 2
    assert "another one" in capsys.readouterr().err
    assert sorted(one.name for one in desk.bob.iterdir()) == ["company.key", "company.request"]


def test_a_known_authority_needs_no_fingerprint(desk: Desk) -> None:
    """Whoever joined once takes up later files of the same authority, and of no other."""
    assert desk.join_first() == 0
    desk.admit("Carol", CAROL)
    assert desk.join() == 0
    assert [one.prefix for one in config.load(desk.configuration).values.route] == [
        "+121255512",
        "+13105550000",
    ]
    assert main(["authority", "init", str(desk.authority), "--name", "Our Group", "--force"]) == 0
    desk.file.unlink()
    desk.admit("Bob", BOB)
    assert desk.join() == 2


def test_what_was_written_by_hand_stays(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Octet for octet, around the lines between the marks; a second join changes nothing more."""
    own = '# ours\nstate_dir = "s"\r\n[verification]\ntrust = ["anchors/*.pem"]  # all\n'
    own += 'crls = ["anchors/*.crl"]\n'
    desk.configuration.write_bytes(own.encode())
    assert desk.join_first() == 0
    first = desk.configuration.read_bytes()
    assert first.startswith(own.encode().rstrip())
    edited = (
        first.replace(b"# country_code", b"country_code") + b'[[asterisk]]\nsecret_file = "x"\n'
    )
    desk.configuration.write_bytes(edited)
    capsys.readouterr()
    assert desk.join() == 0
    assert desk.configuration.read_bytes() == edited
    assert "to do" not in capsys.readouterr().out


def test_what_tables_lack_is_said(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that is there already is not touched; what the group needs of it is printed."""
    desk.admit("Bob", BOB, "--tls-ca", str(desk.authority / "authority.pem"))
    desk.configuration.write_text(
        '[verification]\ntrust = ["other/*.pem"]\ncrls = []\n[publish]\nnumbers = ["+1"]\n'
        'cps = []\n[outgoing]\ntls_ca = "other.pem"\n'
    )
    assert desk.join_first() == 0
    said = capsys.readouterr().out
    for wanted in (
        '[verification] trust must name "anchors/our-group.pem"',
        '[verification] crls must name "anchors/our-group.crl"',
        f'[publish] numbers = ["{BOB}"]',
        f'[publish] cps = ["{CPS}"]',
        '[outgoing] tls_ca must have the certificates in "our-group-tls.pem"',
    ):
        assert wanted in said
    assert (desk.bob / "our-group-tls.pem").exists()


def test_keys_that_are_missing_are_added(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Into a table that is there without them, below its heading; all around it stays."""
    own = (
        '# ours\n[verification]  # whom to trust\n#trust = []\nspc = "refuse"\n\n'
        '[[trunk]]\nname = "t"\n'
    )
    desk.configuration.write_text(own)
    assert desk.join_first() == 0
    text = desk.configuration.read_text()
    added = 'trust = ["anchors/our-group.pem"]\ncrls = ["anchors/our-group.crl"]\n'
    assert text.startswith(own.replace("trust\n#", f"trust\n{added}#").rstrip())
    values = config.load(desk.configuration).values
    assert values.verification.trust == ("anchors/our-group.pem",)
    assert values.verification.spc == "refuse"
    assert [one.name for one in values.trunk] == ["t"]
    assert "[verification]" not in capsys.readouterr().out


def test_what_install_wrote_is_completed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """After ``pbx-stir install`` without a certificate nothing is left to do but the dialplan."""
    root = desk.folder / "root"
    (root / "etc/asterisk").mkdir(parents=True)
    (root / "etc/asterisk/manager.conf").write_text("[general]\nenabled = yes\n")
    (root / "etc/asterisk/extensions.conf").write_text("[globals]\n")
    wishes = ["--trunk", "carrier-1", "--country-code", "1", "--numbers", BOB]
    done = ["install", "asterisk", "--root", str(root), "--no-start", *wishes, "--apply"]
    assert main(done) == 0
    etc = root / "etc/pbx-stir"
    (desk.bob / "company.key").rename(etc / "company.key")
    given = [str(desk.file), str(etc), "--fingerprint", desk.fingerprint]
    capsys.readouterr()
    assert main(["authority", "join", *given]) == 0
    assert "to do" not in capsys.readouterr().out
    values = config.load(etc / "pbx-stir.toml").values
    assert values.verification.trust == ("anchors/our-group.pem",)
    assert values.publish.numbers == (BOB,)


def test_our_credential_is_not_named_twice(desk: Desk) -> None:
    """Where the configuration has it already only its certificate's file is renewed."""
    credential = '[[credential]]\ncertificate = "company.pem"\nkey = "company.key"\n'
    desk.configuration.write_text(credential + 'x5u = "https://cert.example.com/bob.pem"\n')
    assert desk.join_first() == 0
    loaded = config.load(desk.configuration)
    assert [one.x5u for one in configured.credentials(loaded)] == [
        "https://cert.example.com/bob.pem"
    ]


def test_an_older_file_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever keeps an old file cannot bring back what has changed since."""
    old = desk.file.read_bytes()
    desk.admit("Carol", CAROL)
    assert desk.join_first() == 0
    desk.file.write_bytes(old)
    assert desk.join() == 2
    assert "older" in capsys.readouterr().err
    assert desk.join("--force") == 0


def test_who_is_revoked_is_out(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """With the next file: his route is gone, and what he signs is refused, fresh as it is."""
    assert desk.join_first() == 0
    call = ["--orig", "+12125551200", "--dest", "+16465550100"]
    key = str(desk.folder / "alice/company.key")
    url = "https://our-group.invalid/company.pem"
    alice = parse_group(desk.file.read_bytes()).group.member[0]
    (desk.folder / "alice.pem").write_text(alice.certificate)
    (desk.folder / "map.json").write_text(json.dumps({url: "alice.pem"}))
    capsys.readouterr()
    assert main(["sign", *call, "--key", key, "--x5u", url, "--passport"]) == 0
    (desk.folder / "passport").write_text(capsys.readouterr().out)
    judge = ["verify", "--identity-file", "passport", *call, "--certificates", "map.json"]
    judge += ["--trust", str(desk.bob / "anchors/our-group.pem")]
    judge += ["--crl", str(desk.bob / "anchors/our-group.crl")]
    assert main(judge) == 0
    assert main(["authority", "revoke", str(desk.authority), "--name", "Alice"]) == 0
    assert desk.join() == 0
    assert config.load(desk.configuration).values.route == ()
    capsys.readouterr()
    assert main(judge) == 1
    assert "revoked" in capsys.readouterr().out


def test_a_file_without_us_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody else's key, no key, and a key in another place each say what to do."""
    key = desk.bob / "company.key"
    alice = desk.folder / "alice/company.key"
    assert desk.join_first("--key", str(alice)) == 0
    loaded = config.load(desk.configuration)
    assert loaded.values.credential[0].key == str(alice)
    capsys.readouterr()
    os.rename(key, desk.folder / "gone.key")
    assert desk.join() == 2
    assert "company.key" in capsys.readouterr().err
    assert main(["authority", "request", "--name", "B", "--numbers", BOB, "--out", "b"]) == 0
    key.write_bytes(Path("b.key").read_bytes())
    assert desk.join() == 2
    assert "no certificate for the key" in capsys.readouterr().err


def test_a_key_is_never_written_over(desk: Desk) -> None:
    """A key that is called .pem keeps its file; the certificate gets another name."""
    key = desk.bob / "both.pem"
    (desk.bob / "company.key").rename(key)
    before = key.read_bytes()
    assert desk.join_first("--key", str(key)) == 0
    assert key.read_bytes() == before
    assert configured.credentials(config.load(desk.configuration))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files are relative to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)


def test_an_ended_certificate_is_refused(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """A member who is not issued again is out, and told so."""
    desk.admit("Bob", BOB, "--days", "-0.001")
    assert desk.join_first() == 2
    assert "our certificate in this file" in capsys.readouterr().err


@pytest.mark.parametrize("octets", [b"[[route]\n", b"\0", b'x = """\n', b"# \xff\n"])
def test_a_broken_configuration_is_left_alone(
    desk: Desk, capsys: pytest.CaptureFixture[str], octets: bytes
) -> None:
    """What cannot be read is not written to, and no other file either."""
    desk.configuration.write_bytes(octets)
    assert desk.join_first() == 1
    assert "not TOML" in capsys.readouterr().err
    assert desk.configuration.read_bytes() == octets
    assert not (desk.bob / "anchors").exists()


def test_a_configuration_that_would_not_load_is_not_written(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake elsewhere in the file is said with its key, and the file stays as it was."""
    desk.configuration.write_text("[verification]\ntrsut = []\n")
    assert desk.join_first() == 1
    assert "trsut" in capsys.readouterr().err
    assert desk.configuration.read_text() == "[verification]\ntrsut = []\n"
    assert not list(desk.bob.glob(".*"))


def test_mode_and_link_stay(desk: Desk) -> None:
    """The configuration keeps its mode, and a link to it stays a link."""
    real = desk.folder / "real.toml"
    real.write_text("")
    real.chmod(0o640)
    desk.configuration.symlink_to(real)
    assert desk.join_first() == 0
    assert desk.configuration.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert re.search("credential", real.read_text())


def test_a_second_group_does_not_push_out_the_first(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """A configuration has joined one group; another one's file changes nothing, and it is said."""
    assert desk.join_first() == 0
    before = desk.configuration.read_text()
    other = Desk(desk.folder / "other")
    assert main(["authority", "init", str(other.authority), "--name", "Their Group"]) == 0
    key = desk.bob / "company.request"
    given = ["--request", str(key), "--numbers", BOB, "--cps", CPS]
    assert main(["authority", "issue", str(other.authority), *given]) == 0
    capsys.readouterr()
    command = ["authority", "join", str(other.file), str(desk.bob)]
    assert main([*command, "--fingerprint", other.fingerprint]) == 2
    assert "has joined 'Our Group'" in capsys.readouterr().err
    assert desk.configuration.read_text() == before


def test_the_service_is_to_start(
    desk: Desk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a unit runs the configuration, to start it or have it read is what is left to do."""
    monkeypatch.setattr(unit, "FOLDERS", (tmp_path,))
    assert desk.join_first() == 0
    assert "systemctl" not in capsys.readouterr().out
    command = f"[Service]\nExecStart=/x/pbx-stir run --config {desk.configuration}\n"
    (tmp_path / "pbx-stir.service").write_text(command)
    assert desk.join() == 0
    assert "to do: systemctl reload-or-restart pbx-stir\n" in capsys.readouterr().out
