"""What the service's user may not read, as root finds it."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.checks import service_user, unit
from pbx_stir.checks.finding import Finding
from pbx_stir.checks.service_user import Account, account_of, check_readable

ACCOUNT = Account("stir", 65_000, frozenset({65_001}))
FILES = ("pbx-stir.toml", "company.pem", "company.key", "anchors/a.pem", "tls.pem", "ami.secret")
NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root gives files to others: run the tests as root"
)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration with its files, all of which everybody may read; looked at as root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(service_user, "account_of", lambda loaded: ACCOUNT)
    with tempfile.TemporaryDirectory(prefix="pbx-stir-test-") as name:
        made = Path(name).resolve()
        (made / "anchors").mkdir()
        for file in FILES:
            (made / file).write_text("x\n")
            (made / file).chmod(0o644)
        (made / "pbx-stir.toml").write_text("""
[[asterisk]]
secret_file = "ami.secret"
[[credential]]
certificate = "company.pem"
key = "company.key"
x5u = "https://a.example/a.pem"
[verification]
trust = ["anchors/*.pem", "none/*.pem"]
crls = ["https://a.example/list.crl"]
[outgoing]
tls_ca = "tls.pem"
""")
        for one in (made, made / "anchors"):
            one.chmod(0o755)
        yield made


def found(folder: Path) -> list[Finding]:
    """What is found about the folder's configuration."""
    return list(check_readable(config.load(folder / "pbx-stir.toml")))


@pytest.mark.parametrize("name", FILES)
def test_each_file_that_the_service_may_not_read(folder: Path, name: str) -> None:
    """One that is its owner's alone is an error with a remedy; whoever has it is well."""
    assert found(folder) == []
    (folder / name).chmod(0o600)
    [one] = found(folder)
    assert one.code == "file-not-for-service"
    assert f"may not read {folder / name}" in one.what
    assert f"chown stir {folder / name}" in one.hint


def test_a_folder_that_the_service_may_not_enter(folder: Path) -> None:
    """The folder above is named, with the file that it is about."""
    (folder / "anchors").chmod(0o700)
    [one] = found(folder)
    assert f"may not enter {folder / 'anchors'}, and so not read {folder}/anchors/a.pem" in one.what


@NEEDS_ROOT
def test_owners_and_groups(folder: Path) -> None:
    """The user's own file, and one of his group, are read by their own rights."""
    key = folder / "company.key"
    key.chmod(0o640)
    os.chown(key, 0, 65_001)
    assert found(folder) == []
    os.chown(key, 65_000, 0)
    assert found(folder) == []
    # for the owner his own rights count, and no others
    key.chmod(0o044)
    assert [one.code for one in found(folder)] == ["file-not-for-service"]


def test_what_a_link_leads_to(folder: Path) -> None:
    """A link is as good as the file that it leads to; one that leads nowhere is said elsewhere."""
    key = folder / "company.key"
    key.rename(folder / "other.key")
    key.symlink_to("other.key")
    assert found(folder) == []
    (folder / "other.key").chmod(0o600)
    [one] = found(folder)
    assert str(folder / "other.key") in one.what
    (folder / "other.key").unlink()
    assert found(folder) == []


def test_only_root_looks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody else sees by reading what he may not read."""
    (folder / "company.key").chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert found(folder) == []


def test_the_user_of_the_unit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the unit that says who runs the service, and which files are handed to it."""
    monkeypatch.setattr(service_user, "account_of", account_of)
    monkeypatch.setattr(unit, "FOLDERS", (folder,))
    (folder / "pbx-stir.service").write_text(
        f"[Service]\nExecStart=/x run --config {folder}/pbx-stir.toml\nUser=nobody\n"
        "LoadCredential=ami.secret:/etc/pbx-stir/ami.secret\n"
    )
    (folder / "ami.secret").chmod(0o600)
    (folder / "tls.pem").chmod(0o600)
    if os.stat(folder).st_uid == pwd.getpwnam("nobody").pw_uid:
        pytest.skip("these files are nobody's already: run the tests as another user")
    [one] = found(folder)
    assert f"user nobody, who runs the service, may not read {folder}/tls.pem" in one.what


@NEEDS_ROOT
def test_who_runs_the_service(folder: Path) -> None:
    """Without a unit it is whose the state folder is; root needs no looking after."""
    file = folder / "pbx-stir.toml"
    file.write_text(f'state_dir = "state"\n{file.read_text()}')
    (folder / "state").mkdir()
    assert account_of(config.load(file)) is None
    os.chown(folder / "state", 65_000, 65_001)
    account = account_of(config.load(file))
    assert account is not None
    assert account.user == 65_000
