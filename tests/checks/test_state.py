"""The state folder: its keys, and the memory of used PASSporTs."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest

from pbx_stir import config
from pbx_stir.errors import ConfigurationError
from pbx_stir.used_database import UsedDatabase
from tests.checks.setups import Setup


def test_a_folder_that_is_none(setup: Setup) -> None:
    """A file stands where it should be; or a key in it is broken."""
    setup.change('state_dir = "state"', 'state_dir = "pbx-stir.toml/state"')
    assert setup.offline() == ["state-dir"]
    setup.change('state_dir = "pbx-stir.toml/state"', 'state_dir = "state"')
    [key] = (setup.folder / "state/keys").glob("*.key")
    key.write_bytes(b"junk")
    assert setup.offline() == ["state-dir"]


def test_a_folder_that_the_service_has_yet_to_make(setup: Setup) -> None:
    """Is only to be known."""
    setup.change('state_dir = "state"', 'state_dir = "other"')
    assert setup.offline() == ["no-encryption-key"]


def test_a_memory_that_works_is_no_finding(setup: Setup) -> None:
    """A file that the service has made is as it should be."""
    UsedDatabase(setup.folder / "state/used.sqlite").close()
    assert setup.offline() == []


def test_a_damaged_memory_is_found(setup: Setup) -> None:
    """Without it no call can pass, and the service does not start."""
    path = setup.folder / "state/used.sqlite"
    path.touch(mode=0o600)
    path.write_bytes(b"no database at all, and long" * 50)
    assert setup.offline() == ["used-wrong"]


def test_a_full_disk_is_found(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before no call can pass."""
    UsedDatabase(setup.folder / "state/used.sqlite").close()
    usage = namedtuple("usage", "total used free")(1 << 30, 1 << 30, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert setup.offline() == ["disk-full"]


def test_a_url_is_no_host(setup: Setup) -> None:
    """x5u_hosts takes names; a URL would match none, silently."""
    setup.change("[verification]", '[verification]\nx5u_hosts = ["https://x"]')
    with pytest.raises(ConfigurationError, match="x5u_hosts"):
        config.load(setup.company.config)
