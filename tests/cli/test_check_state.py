"""What ``pbx-stir check`` finds in the state folder and in what is revoked."""

from __future__ import annotations

import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from pbx_stir import config
from pbx_stir.errors import ConfigurationError
from pbx_stir.used_database import UsedDatabase
from tests.cli.test_check import Setup, setup

__all__ = ["setup"]


def test_a_memory_that_works_is_no_finding(setup: Setup) -> None:
    """A file that the service has made is as it should be."""
    before = setup.offline()
    UsedDatabase(setup.folder / "state/used.sqlite").close()
    assert setup.offline() == before
    assert "used-wrong" not in before


def test_a_damaged_memory_is_found(setup: Setup) -> None:
    """Without it no call can pass, and the service does not start."""
    (setup.folder / "state/used.sqlite").write_bytes(b"no database at all, and long" * 50)
    assert "used-wrong" in setup.offline()


def test_a_full_disk_is_found(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before no call can pass."""
    UsedDatabase(setup.folder / "state/used.sqlite").close()
    usage = namedtuple("usage", "total used free")(1 << 30, 1 << 30, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "disk-full" in setup.offline()


@pytest.mark.parametrize(
    "line", ['crls = ["/nonexistent/*.crl"]', 'crls = ["ftp://x"]', 'crl_signers = ["nope.pem"]']
)
def test_what_the_service_would_not_start_with_is_found(setup: Setup, line: str) -> None:
    """Revocation lists that are not there, or no URL that is fetched."""
    setup.change("[verification]", f"[verification]\n{line}")
    assert "revocation-wrong" in setup.offline()


def test_every_code_is_explained() -> None:
    """A finding that an administrator looks up is in docs/check.md."""
    root = Path(__file__).resolve().parents[2]
    sources = [*(root / "pbx_stir/checks").glob("*.py"), root / "pbx_stir/cli/check.py"]
    text = "".join(path.read_text() for path in sources)
    codes = set(re.findall(r'(?:error|warning|note|make)\(\s*"([a-z0-9-]+)"', text))
    explained = set(re.findall(r"`([a-z0-9-]+)`", (root / "docs/check.md").read_text()))
    assert len(codes) > 30
    assert codes <= explained


def test_a_url_is_no_host(setup: Setup) -> None:
    """x5u_hosts takes names; a URL would match none, silently."""
    setup.change('certificates.example.com"]', 'https://x"]')
    with pytest.raises(ConfigurationError, match="x5u_hosts"):
        config.load(setup.company.config)
