"""Who may read what is ours alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.checks import configuration, private
from pbx_stir.checks.private import private_files
from pbx_stir.used_database import UsedDatabase
from tests.checks.setups import Setup, files_of


def test_every_private_file_is_known(tmp_path: Path) -> None:
    """Keys and secrets of all sections, whatever is added to them."""
    file = tmp_path / "pbx-stir.toml"
    file.write_text("""
[[asterisk]]
secret_file = "a"
[[freeswitch]]
password_file = "b"
[[credential]]
certificate = "no"
key = "c"
x5u = "https://a.example/a.pem"
[verification.redis]
url = "redis://a"
password_file = "d"
[outgoing]
bare_key = "e"
store_proxy_password_file = "f"
[cps]
key = "g"
[cps.redis]
url = "redis://a"
password_file = "h"
[cps.bare]
key = "i"
""")
    found = dict(private_files(config.load(file).values))
    assert found["credential[0].key"] == "c"
    assert found["cps.bare.key"] == "i"
    assert sorted(found.values()) == list("abcdefghi")


def test_secrets_that_everybody_may_read(setup: Setup) -> None:
    """A PBX's secret has one finding, and so has the configuration that everybody may write."""
    secret = setup.folder / "pbx.secret"
    secret.chmod(0o604)
    [found] = files_of(setup.loaded)
    assert (found.code, f"chmod 600 {secret}" in found.hint) == ("secret-readable-by-all", True)
    secret.chmod(0o600)
    setup.company.config.chmod(0o666)
    assert setup.offline() == ["config-writable"]


def test_secrets_that_a_group_may_read(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good to know; but root's with the service's group is the usual way."""
    secret = setup.folder / "pbx.secret"
    secret.chmod(0o640)
    monkeypatch.setattr(private, "owner_of", lambda path: 0)
    assert setup.offline() == []
    monkeypatch.setattr(private, "owner_of", lambda path: 1000)
    [found] = files_of(setup.loaded)
    assert (found.code, found.severity.value) == ("private-file-group", "note")


def test_the_state_folder(setup: Setup) -> None:
    """That others may enter it, and that they may read what is in it."""
    state = setup.folder / "state"
    state.chmod(0o755)
    assert setup.offline() == ["state-dir-open"]
    state.chmod(0o700)
    (state / "keys").chmod(0o755)
    [found] = files_of(setup.loaded)
    assert (found.code, str(state / "keys") in found.what) == ("state-file-open", True)
    (state / "keys").chmod(0o700)
    UsedDatabase(state / "used.sqlite").close()
    assert setup.offline() == []
    (state / "used.sqlite").chmod(0o644)
    assert setup.offline() == ["state-file-open"]


def test_what_others_keep_in_the_state_folder_is_theirs(setup: Setup) -> None:
    """Nor is a link followed out of it, nor does a large folder take long."""
    state = setup.folder / "state"
    (state / "notes").touch(mode=0o644)
    (state / "wallet").mkdir(mode=0o700)
    os.symlink("/etc", state / "wallet" / "etc")
    assert setup.offline() == []
    for number in range(6):
        (state / "keys" / f".x{number}").touch(mode=0o604)
    [found] = files_of(setup.loaded)
    assert "and 3 more" in found.what


def test_files_of_another_user(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root's commands left there the service could not use."""
    [key] = (setup.folder / "state/keys").glob("*.key")
    monkeypatch.setattr(private, "owner_of", lambda path: 7 if path == key else 0)
    [found] = files_of(setup.loaded)
    assert (found.code, str(key) in found.what) == ("state-file-owner", True)


def test_a_call_log_that_only_root_may_write(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """By root's rights anything can be written: it is looked at as the service's user."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(configuration, "owner_of", lambda path: 4711)
    [found] = files_of(setup.loaded)
    assert (found.code, "user 4711" in found.what) == ("call-log-wrong", True)
    setup.folder.chmod(0o770)
    assert setup.offline() == []
